"""How a file of the lake is named: its table, its study or dataset, its role and its index.

Names are lower-case words joined by '-', so that a path means the same in a folder, a URL, SQL and on the Hub.
"""

import re
from dataclasses import dataclass
from functools import cache

from lake.errors import UsageError
from lake.tables import TABLES

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
SPLIT_WORDS = frozenset(["train", "training", "test", "testing", "validation", "valid", "val", "dev", "eval", "evaluation"])
_PATH = re.compile(r"(?P<table>[a-z]+)/(?P<key>[a-z]+)=(?P<value>[^/]+)/(?P<role>[a-z][a-z0-9-]*)-(?P<index>\d{5,})\.parquet")


@dataclass(frozen=True, order=True)
class Partition:
    """One file of a table: the unit that is built, published and mirrored. `value` is the study's or dataset's name."""

    table: str
    value: str
    role: str
    index: int

    def __post_init__(self) -> None:
        if self.table not in TABLES:
            raise UsageError(f"no table {self.table!r}; there are {', '.join(TABLES)}")
        check_name(self.value, TABLES[self.table].hive_key)
        check_name(self.role, "role")
        if not 0 <= self.index < 10**9:
            raise UsageError(f"partition index {self.index} is not between 0 and 10^9")

    @property
    def name(self) -> str:
        """`<role>-<NNNNN>`, the file name without its ending."""
        return f"{self.role}-{self.index:05d}"

    @property
    def path(self) -> str:
        """Path inside the lake: `<table>/<hive key>=<value>/<role>-<NNNNN>.parquet`."""
        return f"{self.table}/{TABLES[self.table].hive_key}={self.value}/{self.name}.parquet"


def parse_path(path: str) -> Partition | None:
    """The partition that `path` names, or None for a file that is not one of ours."""
    match = _PATH.fullmatch(path)
    if match is None or match["table"] not in TABLES or match["key"] != TABLES[match["table"]].hive_key:
        return None
    try:
        partition = Partition(match["table"], match["value"], match["role"], int(match["index"]))
    except UsageError:
        return None
    return partition if partition.path == path else None


@cache
def check_name(name: str, what: str) -> str:
    """`name`, or UsageError: names are lower-case words joined by '-', and no word is one that the Hub reads as a split.

    Words end at digits too, as they do for the Hub: `cifar10test` holds `test`.
    """
    if not NAME.fullmatch(name) or len(name) > 64:
        raise UsageError(
            f"{what} {name!r} is not allowed: use 1 to 64 of a-z, 0-9 and single '-', a letter first (such as cifar10-half)"
        )
    if words := SPLIT_WORDS.intersection(re.split(r"[^a-z]+", name)):
        raise UsageError(f"{what} {name!r} holds the word {min(words)!r}, which Hub readers take for a split: choose another")
    return name
