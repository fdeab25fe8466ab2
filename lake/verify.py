"""Whether the lake still holds what was published: every problem with its file and the way to mend it.

The plain check reads every byte once: seals, footers, names, one fingerprint a study. The deep check also decodes every row,
compares content hashes and contracts, and asks the builders to derive masks and seeds anew. Those deeper checks are found
by entry points (group `datamodels_lake.checks`), so that the lake need not know who fills it.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import entry_points

from lake import parquet
from lake.content import content_hash
from lake.errors import CorruptError, LakeError, UsageError
from lake.parquet import Facts
from lake.partition import Partition, parse_path
from lake.store import Lake, validate
from lake.tables import TABLES

DeepCheck = Callable[[Lake, dict[Partition, Facts]], Iterator["Problem"]]
"""A check of all partitions of one study or dataset at once."""


@dataclass(frozen=True)
class Problem:
    """Something wrong with one file."""

    path: str
    what: str
    advice: str

    def __str__(self) -> str:
        path = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in self.path)  # a file's name may be any bytes
        return f"{path}: {self.what}. {self.advice}"


THREADS = min(8, os.cpu_count() or 1)
"""Files that are checked at once."""

SET_ASIDE = "Set it aside with `make verify QUARANTINE=1`, then `make build-missing` makes it anew"


def unusable(partition: Partition, what: str) -> CorruptError:
    """The error of who reads a partition, sealed and all, whose rows cannot be: `what` it is that it holds."""
    return CorruptError(
        f"{partition.path} {what}: `make verify DEEP=1 QUARANTINE=1` sets it aside, then the same command goes on"
    )


def verify(lake: Lake, deep: bool = False, tell: Callable[[str, int], None] = lambda path, size: None) -> list[Problem]:
    """Every problem found, by path. `tell` hears of each file and its size before it is read.

    UsageError when there is no lake, CorruptError when a link or a device stands in it.
    """
    if not lake.files.there():
        raise UsageError(f"there is no lake in {lake.root}: `make build-missing` makes one, LAKE=... names another")
    problems, facts, listed = [], {}, lake.files.list()
    partitions = {path: parse_path(path) for path in listed}
    with ThreadPoolExecutor(THREADS) as pool:  # hashing lets other threads run
        checked = {}
        for path, partition in partitions.items():
            tell(path, listed[path].size)
            if partition is not None:
                checked[partition] = pool.submit(_check_file, lake, partition, deep)
            elif path.split("/")[0] in TABLES:
                problems.append(Problem(path, *_foreign(lake, path)))
        for partition, check in checked.items():
            found = check.result()
            if isinstance(found, Problem):
                problems.append(found)
            else:
                facts[partition] = found
    problems.sort(key=lambda problem: problem.path)
    problems += _mixed_fingerprints(facts)
    return problems + (list(_deep_checks(lake, facts)) if deep else [])


def quarantine(lake: Lake, problems: list[Problem]) -> dict[str, str]:
    """Move the damaged partitions among `problems` aside; return where the bytes of each are kept, by path."""
    damaged = {p.path: parse_path(p.path) for p in problems if p.advice == SET_ASIDE}
    return {path: lake.quarantine(partition) for path, partition in damaged.items() if partition is not None}


def _check_file(lake: Lake, partition: Partition, deep: bool) -> Facts | Problem:
    try:
        with lake.files.open(partition.path) as source:
            facts = parquet.read_sealed(source)
        if facts is None:
            return Problem(partition.path, *_unsealed(lake, partition.path))
    except CorruptError as error:
        return Problem(partition.path, str(error), SET_ASIDE)
    except LakeError as error:  # a newer format, and nothing wrong with it
        return Problem(partition.path, str(error), "The file is whole: leave it where it is")
    except OSError as error:
        return Problem(partition.path, f"cannot be read ({error.strerror})", "See to the disk and the permissions")
    if facts.partition != partition:
        return Problem(partition.path, f"holds {facts.partition.path}, so it was copied or renamed", SET_ASIDE)
    wrong = _wrong_rows(lake, partition, facts) if deep else ""
    return Problem(partition.path, wrong, SET_ASIDE) if wrong else facts


def _wrong_rows(lake: Lake, partition: Partition, facts: Facts) -> str:
    """What is wrong with the rows of a sealed file; empty when nothing is."""
    try:
        rows = lake.read(partition)
        validate(partition, rows)
    except LakeError as error:
        return str(error).removeprefix(f"{partition.path}: ").split(". Set it aside")[0]
    same = content_hash(rows) == facts.content and rows.num_rows == facts.rows
    return "" if same else "its rows are not those that its footer describes"


def _unsealed(lake: Lake, path: str) -> tuple[str, str]:
    """What is wrong with a file whose bytes are not the sealed ones, and what to do."""
    with lake.files.open(path) as source:
        head = source.read(200)
    if head.startswith(b"version https://git-lfs"):
        return (
            "is a Git LFS pointer, not the file",
            "Fetch the file itself with `git lfs pull`, or set the pointer aside",
        )
    if not head:
        return "is empty", SET_ASIDE
    if head[:4] != b"PAR1":
        return "is not a parquet file", SET_ASIDE
    return "its bytes are not those that were published (damaged or cut short)", SET_ASIDE


def _foreign(lake: Lake, path: str) -> tuple[str, str]:
    with lake.files.open(path) as source:
        whole = source.read(4) == b"PAR1"
    what = "no partition has such a name" if whole or not path.endswith(".parquet") else _unsealed(lake, path)[0]
    return (
        f"unknown name in a table's folder ({what})",
        "Readers that scan the folder may fail on it: move it out of the lake",
    )


def _mixed_fingerprints(facts: dict[Partition, Facts]) -> Iterator[Problem]:
    first: dict[tuple[str, str], tuple[Partition, str]] = {}
    for partition, found in facts.items():
        owner = (TABLES[partition.table].hive_key, partition.value)
        known, print_ = first.setdefault(owner, (partition, found.fingerprint))
        if found.fingerprint != print_:
            yield Problem(
                partition.path,
                f"fingerprint {found.fingerprint} differs from {print_} of {known.path}",
                "Two studies share a name: keep the one you mean and move the other's files out",
            )


def _deep_checks(lake: Lake, facts: dict[Partition, Facts]) -> Iterator[Problem]:
    checks: list[DeepCheck] = [point.load() for point in entry_points(group="datamodels_lake.checks")]
    for value in sorted({p.value for p in facts}):
        own = {p: f for p, f in facts.items() if p.value == value}
        for check in checks:
            yield from check(lake, own)
