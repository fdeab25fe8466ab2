"""A page of every shipped query: its question, SQL and rows, with the rows as CSV and parquet to download."""

import re
from pathlib import Path
from typing import Any

import pyarrow as pa
from markupsafe import Markup

from queries import output
from queries.header import Query
from queries.provenance import stamped
from queries.report.answers import Answers
from queries.report.render import write
from queries.run import CHECKS, shipped

ROWS = 100
"""Rows that a page shows; the download has all."""


def write_queries(answers: Answers, site: Path, **common: Any) -> None:
    """Write `queries/index.html` and a page, a CSV and a parquet file of each query."""
    (site / "queries").mkdir()
    sizes = {}
    for query in shipped().values():
        given = {param.name: "0" for param in query.params if param.default is None}
        rows = portable(answers.of(query, **given))
        fits = [fit for fit in rows["fit"].unique().to_pylist() if fit] if "fit" in rows.column_names else []
        sizes[query.name] = rows.num_rows
        for form in ("csv", "parquet"):
            output.write(stamped(rows, common["provenance"]), form, str(site / "queries" / f"{query.name}.{form}"))
        write(site, f"queries/{query.name}.html", "query.html", query=query, given=given, rows=rows.slice(0, ROWS).to_pylist(),
              total=rows.num_rows, sql=coloured(query.sql), is_check=query.theme == CHECKS, fits=fits,
              **common)  # fmt: skip
    write(site, "queries/index.html", "queries.html", themes=_themes(), sizes=sizes, **common)


def portable(rows: pa.Table) -> pa.Table:
    """The rows with paths of files as they are inside any copy of the lake, `masks/study=digits/fit-00000.parquet`."""
    if "file_name" not in rows.column_names:
        return rows
    place = rows.column_names.index("file_name")
    inside = [re.sub(r"^.*/(\w+/\w+=[^/]+/[^/]+)$", r"\1", path) for path in rows["file_name"].to_pylist()]
    return rows.set_column(place, "file_name", pa.array(inside, pa.string()))


def coloured(sql: str) -> Markup:
    """The SQL with its comments marked."""
    lines = (
        (Markup('<span class="c">{}</span>') if line.startswith("--") else Markup("{}")).format(line)
        for line in sql.splitlines()
    )
    return Markup("\n").join(lines)


def _themes() -> dict[str, list[Query]]:
    themes: dict[str, list[Query]] = {}
    for query in shipped().values():
        themes.setdefault(query.theme, []).append(query)
    return themes
