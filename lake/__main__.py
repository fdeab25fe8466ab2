"""Command line of the lake: `python -m lake verify | doctor | push | pull | diff | check | sql | catalog | migrate ...`."""

import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Annotated

import duckdb
import typer
from rich.console import Console

from lake import mirror_cli
from lake.catalog import connect, naming_lack, write_catalog
from lake.cli import run
from lake.dictionary import markdown
from lake.doctor import examine
from lake.errors import CorruptError, LakeError, UsageError
from lake.migrate import migrate as bring_up
from lake.reading import only_reads
from lake.store import Lake
from lake.verify import quarantine as set_aside
from lake.verify import verify as find_problems

app = typer.Typer(
    help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None
)

LakeOption = Annotated[str, typer.Option(help="Folder of the lake.")]


@app.command()
def verify(
    lake: LakeOption = "data",
    deep: Annotated[bool, typer.Option("--deep", help="Also decode every row and derive masks and seeds anew.")] = False,
    quarantine: Annotated[
        bool, typer.Option("--quarantine", help="Move damaged files to .quarantine/, to be built anew.")
    ] = False,
) -> None:
    """Check every file of the lake; exit 4 when one is damaged, with its name and the way to mend it.

    Examples:

      python -m lake verify

      python -m lake verify --deep --quarantine
    """
    target, started, read = Lake(lake), time.perf_counter(), [0, 0]

    def tell(path: str, size: int) -> None:
        read[0], read[1] = read[0] + 1, read[1] + size

    problems = find_problems(target, deep, tell)
    for problem in problems:
        print(problem)
    for path, kept in (set_aside(target, problems) if quarantine else {}).items():
        print(f"{path}: set aside as {kept}")
    seconds = time.perf_counter() - started
    print(f"{read[0]} files, {read[1] / 1e6:,.1f} MB read in {seconds:.1f} s: {len(problems)} problem(s)", file=sys.stderr)
    if problems:
        raise CorruptError(f"{len(problems)} problem(s) in {lake}, listed above")


@app.command()
def sql(
    query: Annotated[
        str, typer.Argument(help="One SELECT statement; left out: a prompt that reads statements up to ';'.")
    ] = "",
    lake: LakeOption = "data",
) -> None:
    """Ask the lake in SQL, on a connection that can read the lake and nothing else.

    Example:

      python -m lake sql "select status, count(*) from margins group by status"
    """
    connection, console = connect(lake, locked=True), Console()
    width = console.width if console.is_terminal else 240
    if query:
        try:
            with naming_lack():
                connection.sql(only_reads(connection, query)).show(max_width=width)
        except duckdb.Error as error:
            raise UsageError(str(error)) from error
        return
    print(
        "DuckDB on the lake: `show tables;` lists the views, `describe masks;` their columns; Ctrl-D leaves.",
        file=sys.stderr,
    )
    for statement in _statements():
        try:
            with naming_lack():
                connection.sql(only_reads(connection, statement)).show(max_width=width)
        except (LakeError, duckdb.Error) as error:
            print(f"error: {error}", file=sys.stderr)


@app.command()
def doctor(lake: LakeOption = "data") -> None:
    """Print the environment, versions, disk, device and health of the lake, and the next sensible command; changes nothing.

    Example:

      python -m lake doctor
    """
    lines, advice = examine(Lake(lake))
    for what, how in lines:
        print(f"{what:<16} {how}")
    print(f"{'next':<16} {advice}")


@app.command()
def catalog(lake: LakeOption = "data") -> None:
    """Write lake.duckdb anew: views over the tables, for any DuckDB shell.

    Example:

      python -m lake catalog
    """
    print(write_catalog(lake))


@app.command()
def migrate(
    folder: Annotated[str, typer.Argument(help="Where the new lake goes: another folder or address.")],
    lake: LakeOption = "data",
) -> None:
    """Write a lake of an older format as a new one of today's, elsewhere; the old lake stays as it is.

    Example:

      python -m lake migrate data-today --lake data
    """
    added, there = bring_up(Lake(lake), Lake(folder))
    print(f"{added} partition(s) written to {folder}, {there} there already; {lake} is as it was")


@app.command()
def tables() -> None:
    """Print the data dictionary as Markdown.

    Example:

      python -m lake tables
    """
    print(markdown())


for command in (mirror_cli.push, mirror_cli.pull, mirror_cli.diff, mirror_cli.check):
    app.command()(command)


def _statements() -> Iterator[str]:
    """Statements typed at the prompt, each up to its ';', until the input ends."""
    with suppress(ImportError):
        import readline  # noqa: F401  (its import alone gives the prompt a history and arrow keys)
    typed = ""
    while True:
        try:
            typed += input("lake> " if not typed.strip() else "  ...> ") + "\n"
        except EOFError:
            return
        if typed.rstrip().endswith(";"):
            yield typed
            typed = ""


if __name__ == "__main__":
    run(app)
