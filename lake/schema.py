"""What a table and a column are: lake/tables.py declares each with these.

Encodings are explicit because every reader we support must open every file: DuckDB cannot read BYTE_STREAM_SPLIT on
float16, fixed-size binary of two widths cannot be read as one dataset by pyarrow, and dictionary pages cost bytes on ids.
"""

import math
from dataclasses import dataclass, field

import pyarrow as pa


@dataclass(frozen=True)
class Column:
    """One column: Arrow type, what it means, its unit, and the Parquet encoding where the default is not best."""

    name: str
    type: pa.DataType
    meaning: str
    unit: str = ""
    nullable: bool = False
    encoding: str | None = None
    span: tuple[float, float] = (-math.inf, math.inf)
    """Least and greatest value that may stand in it."""
    words: tuple[str, ...] = ()
    """The only texts that may stand in it; any when empty."""

    @property
    def field(self) -> pa.Field:
        """The Arrow field, meaning left out: metadata would change the schema between versions."""
        return pa.field(self.name, self.type, self.nullable)


@dataclass(frozen=True)
class Table:
    """One table: what a row is, its columns, its sort key, and the hive key that its folders carry."""

    name: str
    row: str
    columns: tuple[Column, ...]
    sort: tuple[str, ...]
    hive_key: str = "study"
    row_group: int = 122_880
    schema: pa.Schema = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "schema", pa.schema([c.field for c in self.columns]))
