"""A lake of an older format as a new lake of today's: every partition read, brought up to date, and published elsewhere.

Never in place: the old lake is only read, so a stop at any moment leaves it as it was, and the same command goes on, since a
partition that is in the new lake already is equal and done. A step in `STEPS` brings the rows of one format to the next; the
facts of a partition are kept, only its format and content hash change.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from lake import parquet
from lake.errors import CorruptError, UsageError
from lake.parquet import Facts
from lake.partition import Partition
from lake.store import Lake
from lake.tables import FORMAT, TABLES

Step = Callable[[str, pa.Table], pa.Table]

STEPS: dict[int, Step] = {}
"""For each older format: table name and rows in it -> rows in the next format. Format 1 is the first, so there is none yet."""


def migrate(old: Lake, new: Lake, tell: Callable[[str], None] = lambda path: None) -> tuple[int, int]:
    """Publish every partition of `old` in `new`, in today's format; (partitions added, partitions that were there).

    UsageError when `new` is `old` or `old` is not there, CorruptError when a file of `old` is damaged: what was published
    before stays, and after `make verify QUARANTINE=1` the same command goes on.
    """
    if not old.files.there():
        raise UsageError(f"there is no lake in {old.root}")
    if _place(old) == _place(new):
        raise UsageError(f"{new.root} is the lake itself: a lake is migrated into another folder, and stays as it is")
    added = there = 0
    for table in TABLES:
        for partition in old.present(table):
            tell(partition.path)
            published = new.publish(partition, *_brought_up(old, partition))
            added, there = added + published.new, there + (not published.new)
    return added, there


def _place(lake: Lake) -> str:
    return str(lake.root.resolve() if isinstance(lake.root, Path) else lake.root)


def _brought_up(old: Lake, partition: Partition) -> tuple[pa.Table, Facts]:
    """Rows and facts of a partition of any format up to today's, in today's."""
    with old.files.open(partition.path) as source:
        if not parquet.seal_holds(source):
            raise CorruptError(f"{partition.path}: its bytes are not those that were published. See `make verify`")
        source.seek(0)
        facts = parquet.read_facts(source)
        source.seek(0)
        rows = parquet.read_rows(source)
    for format in range(facts.format, FORMAT):
        rows = STEPS[format](partition.table, rows)
    return rows, replace(facts, format=FORMAT)
