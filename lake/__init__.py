"""The lake: tables, partitions, publishing, reading and checking. Imports neither builders nor queries."""

from lake.catalog import connect
from lake.store import Lake

__all__ = ["Lake", "connect"]
