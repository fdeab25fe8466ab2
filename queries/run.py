"""Run a shipped query: find its file, bind typed parameters, check what came back against its header.

Values reach DuckDB as bound parameters only, on a connection that reads the lake and nothing else. A result whose columns
are not those of the header, by name and type, is a bug of the query and raises.
"""

import difflib
import shlex
from functools import lru_cache
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from lake.catalog import connect, naming_damage
from lake.errors import LakeError, UsageError
from lake.reading import only_reads
from queries.header import COLUMN_TYPES, Column, Query, parse

FOLDER = Path(__file__).parent
CHECKS = "checks"
"""Theme of the queries that return failing rows."""


@lru_cache(maxsize=1)
def shipped() -> dict[str, Query]:
    """Every shipped query by name, sorted by theme and name."""
    return {path.stem: parse(path) for path in sorted(FOLDER.glob("*/*.sql"))}


def find(name: str) -> Query:
    """The query of that name (`lds` or `evaluation/lds`); UsageError suggests the nearest."""
    known = shipped()
    theme, _, stem = name.removesuffix(".sql").rpartition("/")
    if stem in known and theme in ("", known[stem].theme):
        return known[stem]
    near = difflib.get_close_matches(stem, known, 1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise UsageError(f"no query {name!r}: {hint}`make queries` lists them")


def bind(query: Query, given: dict[str, str]) -> dict[str, Any]:
    """Values of all parameters of the query; UsageError for one that is missing, unknown or of the wrong type."""
    known = {param.name: param for param in query.params}
    for name in given.keys() - known.keys():
        near = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise UsageError(f"query {query.name} has no parameter {name!r}: {hint}it takes {', '.join(known)}")
    missing = [param for param in query.params if param.default is None and param.name not in given]
    if missing:
        names = ", ".join(param.name for param in missing)
        example = " ".join(f"{param.name}={'digits' if param.type == 'text' else 0}" for param in missing)
        raise UsageError(f'query {query.name} needs {names}: for example `make query Q={query.name} PARAMS="{example}"`')
    return {name: param.value(given.get(name, param.default or "")) for name, param in known.items()}


def assignments(texts: list[str]) -> dict[str, str]:
    """`name=value` texts as a dict; UsageError for one without `=` or a name given twice."""
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"parameter {text!r}: write name=value, for example k=20")
        if name in found:
            raise UsageError(f"parameter {name} is given twice: {found[name]!r} and {value!r}")
        found[name] = value
    return found


def words(text: str) -> list[str]:
    """The words of a `--params` text, quotes as in a shell; UsageError for a quote that does not end."""
    try:
        return shlex.split(text)
    except ValueError as error:
        raise UsageError(f"--params {text!r}: {error}") from error


def run(connection: duckdb.DuckDBPyConnection, query: Query, given: dict[str, str]) -> pa.Table:
    """Rows of the query [n_rows, n_columns], NULL where a number is not finite; `given` holds parameters as text.

    Raises UsageError for parameters, CorruptError for a damaged file, LakeError when the columns are not those promised.
    """
    values = bind(query, given)
    with naming_damage():
        relation = connection.sql(only_reads(connection, query.sql), params=values)
        got = list(zip(relation.columns, map(str, relation.types), strict=True))
        promised = [(column.name, COLUMN_TYPES[column.type]) for column in query.columns]
        if got != promised:
            raise LakeError(f"query {query.theme}/{query.name} returned {got}, its header promises {promised}: report this")
        return relation.project(", ".join(map(_finite, query.columns))).to_arrow_table()


def ask(name: str, given: dict[str, str] | None = None, lake: str | Path = "data") -> pa.Table:
    """Rows of the shipped query `name` on the lake, for scripts and notebooks: `ask("proponents", {"target_id": "12"})`."""
    return run(connect(lake, locked=True), find(name), given or {})


def hint(connection: duckdb.DuckDBPyConnection, given: dict[str, str]) -> str:
    """Why a query may have returned nothing, and the next command."""
    found = connection.execute("select distinct study_id from partitions order by study_id").fetchall()
    studies, asked = [row[0] for row in found], given.get("study", "null")
    if not studies:
        return "nothing there yet: make build-missing"
    if asked not in ("null", *studies):
        return f"no study {asked!r} in this lake; there are {', '.join(studies)}"
    return "no row answers this: `make status` says what the lake still lacks"


def _finite(column: Column) -> str:
    """The column in SQL, with NULL in place of NaN and infinity."""
    name = f'"{column.name}"'
    return f"if(isfinite({name}), {name}, null) as {name}" if column.type in ("double", "float") else name
