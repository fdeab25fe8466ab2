"""Command line of the queries: `python -m queries run | list | show | summary | report | check`. Make calls the same."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from lake.catalog import connect
from lake.cli import run as run_app
from lake.errors import CorruptError, UsageError
from queries import output
from queries.provenance import provenance, stamped
from queries.run import CHECKS, assignments, find, hint, run, shipped, words
from queries.summary import study_name, summarize

app = typer.Typer(
    help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None
)

LakeOption = Annotated[str, typer.Option(help="Folder of the lake.")]


@app.command("run")
def run_query(
    name: Annotated[str, typer.Argument(help="Name of a query, as `list` prints it.")],
    param: Annotated[list[str] | None, typer.Option("--param", help="A parameter as name=value; may be given again.")] = None,
    params: Annotated[str, typer.Option("--params", help='Several parameters in one text: "k=20 target_id=12".')] = "",
    lake: LakeOption = "data",
    format: Annotated[
        str, typer.Option(help="table, json, csv or parquet; the last three print nothing else on stdout.")
    ] = "table",
    file: Annotated[str, typer.Option("--output", help="Write to this file in place of standard output.")] = "",
) -> None:
    """Run a query and print its rows.

    Examples:

      python -m queries run lds

      python -m queries run proponents --param target_id=12 --param k=20

      python -m queries run influence --params "target_id=12 split=train" --format csv --output influence.csv
    """
    given, query = assignments([*words(params), *(param or [])]), find(name)
    if format not in output.FORMATS:
        raise UsageError(f"--format {format!r}: choose {', '.join(output.FORMATS)}")
    connection = connect(lake, locked=True)
    rows = run(connection, query, given)
    found = provenance(connection, given.get("study"))
    output.write(stamped(rows, found), format, file)
    nothing = "nothing fails this check" if query.theme == CHECKS else hint(connection, given)
    print(found if rows.num_rows else nothing, file=sys.stderr)


@app.command("list")
def list_queries(format: Annotated[str, typer.Option(help="table or json.")] = "table") -> None:
    """List the queries with the questions they answer and the parameters they take.

    Example:

      python -m queries list --format json
    """
    if format not in ("table", "json"):
        raise UsageError(f"--format {format!r}: choose table or json")
    if format == "json":
        print(json.dumps([_described(name) for name in shipped()], indent=1))
        return
    for name, query in shipped().items():
        params = " ".join(f"{param.name}={param.default or '?'}" for param in query.params)
        print(f"{query.theme}/{name} {params}\n    {query.question}")


@app.command("show")
def show_query(name: Annotated[str, typer.Argument(help="Name of a query, as `list` prints it.")]) -> None:
    """Print the SQL of a query with its header: what each parameter and column means.

    Example:

      python -m queries show lds
    """
    print(find(name).sql, end="")


@app.command("summary")
def print_summary(
    study: Annotated[str, typer.Option(help="Name of a study, or the path of its TOML file.")] = "digits",
    lake: LakeOption = "data",
) -> None:
    """Print how accurate the models of a study are and how well its datamodels predict, beside the ceiling.

    Example:

      python -m queries summary --study digits
    """
    summarize(connect(lake, locked=True), study, Console())


@app.command("report")
def write_report(
    study: Annotated[str, typer.Option(help="Name of a study, or the path of its TOML file.")] = "digits",
    lake: LakeOption = "data",
    out: Annotated[
        Path, typer.Option(help="Folder of the site; a report that is there is replaced, anything else refused.")
    ] = Path("site"),
    pages: Annotated[int, typer.Option(min=1, help="Most images that get a page of their own.")] = 5_000,
    offline: Annotated[
        bool, typer.Option("--offline", help="Fetch nothing: without SQL in the browser unless an earlier report fetched it.")
    ] = False,
) -> None:
    """Write a static site about a study: overview, galleries, a page an image, a page a query, SQL in the browser.

    Examples:

      python -m queries report --lake data --out site

      python -m queries report --study tiny --out site-tiny --offline
    """
    from queries.report.site import build, say

    say(build(lake, out, study_name(study), pages, offline))


@app.command("check")
def run_checks(lake: LakeOption = "data") -> None:
    """Run every query of the theme checks, print the rows that fail, and exit 4 when there are any.

    Example:

      python -m queries check
    """
    connection, failed = connect(lake, locked=True), []
    for query in (q for q in shipped().values() if q.theme == CHECKS):
        rows = run(connection, query, {})
        print(f"{'fails' if rows.num_rows else 'holds':<6} {query.name}: {query.question}", flush=True)
        if rows.num_rows:
            failed.append(query.name)
            output.write(rows, "table")
    if failed:
        raise CorruptError(f"{len(failed)} check(s) found failing rows, printed above: {', '.join(failed)}")


def _described(name: str) -> dict[str, object]:
    """A query as plain values."""
    query = shipped()[name]
    return {
        "name": name,
        "theme": query.theme,
        "question": query.question,
        "source": query.source,
        "params": [
            {"name": p.name, "type": p.type, "default": p.default, "allowed": p.allowed, "meaning": p.meaning}
            for p in query.params
        ],
        "columns": [{"name": c.name, "type": c.type, "unit": c.unit, "meaning": c.meaning} for c in query.columns],
        "rows": query.rows,
    }


if __name__ == "__main__":
    run_app(app)
