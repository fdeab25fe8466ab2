"""The page with SQL in the browser, and what it reads: the lake's own files and a description of tables, steps and queries.

Files are copied as they are, the study's own first, as many as fit into `MOST_BYTES`; a page reads of them, by range
requests, the columns that a statement names. The views `partitions` and `studies` come from footers and JSON, which need an
extension there, so their rows are written as two small parquet files.
"""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet

from lake.catalog import DERIVED, MACROS, STEPS
from lake.partition import Partition
from lake.store import Lake
from lake.tables import TABLES
from queries.header import Query
from queries.report.answers import Answers
from queries.report.engine import Engine, unpack
from queries.report.render import write
from queries.report.tables import portable
from queries.run import CHECKS, shipped

MOST_BYTES = 1_000_000_000
"""What a free static Space holds."""

FIELD = """create macro "->>"(object, field) as
    nullif(regexp_extract(object::varchar, '"' || field || '":\\s*"?([^",}]*)', 1), '')"""
"""A field of a JSON object by its name, the first of that name: stands in for JSON, which is an extension there."""

MADE = ("partitions", "studies")
"""Views that the page gets as files of rows."""


def write_sql(answers: Answers, site: Path, lake: Lake, engine: Engine, **common: Any) -> None:
    """Write `sql.html`; with an engine also `vendor/`, the files of the lake and `data/catalog.json`."""
    if engine.archives:
        unpack(engine, site / "vendor")
        files, left = _copy_files(lake, answers.study, site / "data")
        for name in MADE:
            files[name] = [_write_rows(answers, site / "data", name)]
        catalog = {"tables": _described(answers, files), "steps": _steps(), "queries": _queries()}
        (site / "data" / "catalog.json").write_text(json.dumps(catalog, indent=1) + "\n", "utf-8")
        write(site, "sql.html", "sql.html", missing="", left=left, queries=_by_theme(), **common)
    else:
        write(site, "sql.html", "sql.html", missing=engine.missing, left=[], queries={}, **common)


def _copy_files(lake: Lake, study: str, folder: Path) -> tuple[dict[str, list[dict[str, Any]]], list[str]]:
    """Copy partitions below `folder`, the study's first; return the files by table, and the paths left out."""
    present = {p: stat for table in TABLES for p, stat in lake.present(table).items()}
    ordered = sorted(present, key=lambda p: (p.value != study and p.table != "examples", p.table == "margins"))
    files: dict[str, list[dict[str, Any]]] = {table: [] for table in TABLES}
    left, room = [], MOST_BYTES
    for partition in ordered:
        size = present[partition].size
        if size > room:
            left.append(partition.path)
            continue
        room -= size
        files[partition.table].append(_copy(lake, partition, folder))
    return files, left


def _copy(lake: Lake, partition: Partition, folder: Path) -> dict[str, Any]:
    target = folder / partition.path
    target.parent.mkdir(parents=True, exist_ok=True)
    with lake.files.open(partition.path) as source:
        data = source.read()
    target.write_bytes(data)
    return {"path": partition.path, "bytes": len(data)}


def _write_rows(answers: Answers, folder: Path, name: str) -> dict[str, Any]:
    """Write the rows of a view as `data/NAME.parquet`, JSON as text."""
    types = answers.connection.execute(f"describe {name}").fetchall()
    columns = ", ".join(f"{column}::varchar as {column}" if kind == "JSON" else column for column, kind, *_ in types)
    rows = portable(answers.connection.sql(f"select {columns} from {name} order by all").to_arrow_table())
    path = folder / f"{name}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(rows, path, compression="zstd", store_schema=False)
    return {"path": path.name, "bytes": path.stat().st_size}


def _described(answers: Answers, files: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Columns with DuckDB's types, and files, of each table."""
    return {
        name: {
            "columns": {
                column: "VARCHAR" if kind == "JSON" else kind
                for column, kind, *_ in answers.connection.execute(f"describe {name}").fetchall()
            },
            "files": found,
        }
        for name, found in files.items()
    }


def _steps() -> list[dict[str, str]]:
    """Statements that make the derived views and macros, in order, with the name that each makes."""
    steps = [{"name": "->>", "sql": FIELD}]
    steps += [{"name": name, "sql": f"create view {name} as {body}"} for name, (_, body) in DERIVED.items() if name not in MADE]
    steps += [{"name": sign.partition("(")[0], "sql": f"create macro {sign} as {body}"} for sign, body in MACROS.items()]
    for step in STEPS:
        text = (Path(str(lake_macros())) / f"{step}.sql").read_text("utf-8")
        kind, _, signature = text.splitlines()[0].removeprefix("-- ").partition(": ")
        steps.append({"name": step, "sql": f"create {kind} {signature} as {'table ' if kind == 'macro' else ''}{text}"})
    return steps


def lake_macros() -> Path:
    """Folder of the catalog's longer steps."""
    import lake

    return Path(lake.__file__).parent / "macros"


def _queries() -> dict[str, Any]:
    return {
        query.name: {
            "question": query.question,
            "sql": query.sql,
            "params": [{"name": p.name, "type": p.type, "default": p.default, "meaning": p.meaning} for p in query.params],
        }
        for query in shipped().values()
    }


def _by_theme() -> dict[str, list[Query]]:
    themes: dict[str, list[Query]] = {}
    for query in sorted(shipped().values(), key=lambda query: query.theme == CHECKS):
        themes.setdefault(query.theme, []).append(query)
    return themes
