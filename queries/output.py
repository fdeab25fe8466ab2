"""Write the rows of a query: a table for people, JSON, CSV or parquet for programs.

Standard output carries the rows and nothing else, so that it can be piped; hints and logs go to standard error.
"""

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as parquet
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from lake.errors import UsageError

TABLE_ROWS = 40
"""Rows that a printed table shows."""

_UPRIGHT_ROWS = 8
_PLAIN_WIDTH = 100_000


def write(rows: pa.Table, form: str, file: str = "") -> None:
    """Write `rows` as table, json, csv or parquet to `file`, or to standard output when it is empty.

    Raises UsageError for another form, a file that cannot be written, or parquet for a screen.
    """
    if form not in FORMATS:
        raise UsageError(f"--format {form!r}: choose {', '.join(FORMATS)}")
    if not file:
        if form == "parquet" and sys.stdout.isatty():
            raise UsageError("parquet is not for a screen: add --output FILE, or pipe it on")
        FORMATS[form](rows, sys.stdout.buffer)
        sys.stdout.buffer.flush()
        return
    try:
        with Path(file).open("wb") as sink:
            FORMATS[form](rows, sink)
    except OSError as error:
        raise UsageError(f"cannot write {file}: {error.strerror}; choose another file with --output") from error


def cell(value: Any) -> str:
    """A value as people read it: four significant digits, nothing for NULL."""
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _table(rows: pa.Table, sink: BinaryIO) -> None:
    """At most TABLE_ROWS rows, then how many more; a few rows that are too wide for a terminal stand upright."""
    screen = Console()
    text = io.StringIO()
    on_screen = sink is sys.stdout.buffer and screen.is_terminal
    console = Console(file=text, width=screen.width if on_screen else _PLAIN_WIDTH, force_terminal=on_screen)
    table = _flat(rows)
    if Measurement.get(console, console.options, table).maximum > console.width and rows.num_rows <= _UPRIGHT_ROWS:
        table = _upright(rows)
    console.print(table)
    if rows.num_rows > TABLE_ROWS:
        console.print(f"... and {rows.num_rows - TABLE_ROWS:,} more rows: --format csv gives all", markup=False)
    sink.write("\n".join(line.rstrip() for line in text.getvalue().splitlines()).encode() + b"\n")


def _flat(rows: pa.Table) -> Table:
    """One line a row."""
    table = Table(box=None, pad_edge=False)
    for field in rows.schema:
        table.add_column(field.name, justify="left" if pa.types.is_string(field.type) else "right", overflow="fold")
    for row in rows.slice(0, TABLE_ROWS).to_pylist():
        table.add_row(*(Text(cell(value)) for value in row.values()))
    return table


def _upright(rows: pa.Table) -> Table:
    """One line a column."""
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, values in rows.to_pydict().items():
        table.add_row(name, *(Text(cell(value)) for value in values))
    return table


def _json(rows: pa.Table, sink: BinaryIO) -> None:
    lines = ",\n".join(json.dumps(row, allow_nan=False) for row in rows.to_pylist())
    sink.write(f"[{lines}]\n".encode())


def _csv(rows: pa.Table, sink: BinaryIO) -> None:
    csv.write_csv(rows, sink)


def _parquet(rows: pa.Table, sink: BinaryIO) -> None:
    parquet.write_table(rows, sink)


FORMATS: dict[str, Callable[[pa.Table, BinaryIO], None]] = {"table": _table, "json": _json, "csv": _csv, "parquet": _parquet}
"""Writers by the name of their format."""
