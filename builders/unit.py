"""What a builder is: a table's plan, and the computation of one unit of it.

A builder is a module with `NAME`, `plan(study) -> list[Unit]`, which looks at nothing but the study, and
`build(lake, study, unit) -> Iterator[(partition, rows)]`, which only computes. Skipping, order, retries, timing, footers and
publishing belong to the one loop in builders/loop.py.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from builders.study import Study
from lake.partition import Partition
from lake.store import Lake


@dataclass(frozen=True)
class Unit:
    """Partitions that are computed together, and those that must be there first."""

    builder: str
    partitions: tuple[Partition, ...]
    needs: tuple[Partition, ...] = ()
    rows: int = 1
    """Rows it works through (images, masks, models or targets): what seconds are predicted from."""

    @property
    def label(self) -> str:
        """How the unit is called in messages."""
        return self.partitions[-1].path


class Builder(Protocol):
    """A module that builds one or more tables."""

    NAME: str
    BUILDS: tuple[str, ...]

    def plan(self, study: Study) -> list[Unit]:
        """Every unit of the study, in order."""
        ...

    def build(self, lake: Lake, study: Study, unit: Unit) -> Iterator[tuple[Partition, pa.Table]]:
        """Rows of the unit's partitions; a partition that the unit does not list is never yielded."""
        ...
