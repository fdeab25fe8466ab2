"""The lake: tables, partitions, publishing, reading and checking. Imports neither builders nor queries."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lake.catalog import connect
    from lake.store import Lake

__all__ = ["Lake", "connect"]


def __getattr__(name: str) -> Any:
    """`Lake` or `connect`, imported when they are first asked for: DuckDB takes a tenth of a second that `status` can spare."""
    if name == "Lake":
        from lake.store import Lake

        return Lake
    if name == "connect":
        from lake.catalog import connect

        return connect
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
