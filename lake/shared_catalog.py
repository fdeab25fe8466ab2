"""The catalog that a mirror carries: a DuckDB file of views over its partitions by hf:// address, which anybody can attach.

It holds no data, and names patterns, so it stays right while partitions are added; it changes with the tables that have files
and with the views themselves. DuckDB writes other bytes each time, so a key over its contents says whether it is the same.
Its views are bound, here, to the schemas of lake/tables.py: neither network nor the extension httpfs is needed to make it.
"""

import io
import json
from collections.abc import Iterable
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import fsspec
import pyarrow.parquet as pq

from lake.dictionary import markdown
from lake.store import Lake
from lake.tables import TABLES

FILE = "lake.duckdb"
OLDEST = "v1.2.0"
"""DuckDB whose storage is written, so that older ones can attach it; macros need 1.3."""


def key(repo: str, tables: Iterable[str]) -> str:
    """Twelve hex digits that change with what the catalog of `repo` holds when these tables have files."""
    from lake.catalog import DERIVED, MACROS

    steps = [path.read_text("utf-8") for path in sorted((Path(__file__).parent / "macros").glob("*.sql"))]
    return sha256(json.dumps([repo, sorted(tables), markdown(), DERIVED, MACROS, steps]).encode()).hexdigest()[:12]


def make(lake: Lake, repo: str, tables: Iterable[str]) -> bytes:
    """A DuckDB file of views and macros over `repo`, of whose tables these have files."""
    import duckdb

    from lake.catalog import create_views

    having = set(tables)
    patterns = {name: [f"hf://datasets/{repo}/{name}/*/*.parquet"] if name in having else [] for name in TABLES}
    with lake.files.staging() as staged:
        with duckdb.connect(str(staged), config={"storage_compatibility_version": OLDEST}) as connection:
            connection.register_filesystem(_Schemas())
            create_views(connection, patterns)
        return staged.read_bytes()


class _Schemas(fsspec.AbstractFileSystem):
    """A Hub in which each table has one file without rows: enough to bind a view."""

    protocol = "hf"
    cachable: ClassVar[bool] = False

    def glob(self, path: str, maxdepth: int | None = None, **options: Any) -> list[str]:
        """The one file of a pattern."""
        return [path.replace("*", "any")]

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        """Name, size and type of a file."""
        return {"name": path, "size": len(self._data(path)), "type": "file"}

    def modified(self, path: str) -> datetime:
        """The same time for every file."""
        return datetime(2000, 1, 1, tzinfo=UTC)

    def open(self, path: str, mode: str = "rb", **options: Any) -> BinaryIO:
        """The file for reading."""
        return io.BytesIO(self._data(path))

    def _data(self, path: str) -> bytes:
        table, packed = path.split("/")[-3], io.BytesIO()
        pq.write_table(TABLES[table].schema.empty_table(), packed)
        return packed.getvalue()
