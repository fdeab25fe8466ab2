"""Command line of the builders: `python -m builders build-missing | status | studies | adopt | export | import-scores`."""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from builders import exchange_cli, hosted, loop, study
from builders.plan import take_inventory
from builders.progress import Progress
from builders.status import as_table, duration, size, status
from lake.cli import run
from lake.errors import UsageError
from lake.machine import cores
from lake.store import Lake

app = typer.Typer(
    help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None
)

StudyOption = Annotated[str, typer.Option(help="A shipped study, or the path of a TOML file of yours.")]
LakeOption = Annotated[str, typer.Option(help="Folder of the lake.")]
ModelsOption = Annotated[int | None, typer.Option(help="Models to fit on, in place of the study's own number; more only adds.")]
FormatOption = Annotated[str, typer.Option(help="table or json; json prints nothing else on stdout.")]


@app.command("build-missing")
def build_missing(
    study_name: Annotated[
        str, typer.Option("--study", help="A shipped study, or the path of a TOML file of yours.")
    ] = "digits",
    lake: LakeOption = "data",
    models: ModelsOption = None,
    budget: Annotated[str, typer.Option(help="Stop before a partition that would end later than this: 90s, 30m, 2h.")] = "",
    shard: Annotated[str, typer.Option(help="i/n: build the i-th of n shares of the models (1 <= i <= n).")] = "1/1",
    workers: Annotated[
        int, typer.Option(min=0, help="Processes, or units at once on a cluster; 0 means one a core, or all that it has.")
    ] = 0,
    engine: Annotated[
        str, typer.Option(help="local, ray (RAY_ADDRESS=host:port) or slurm: where to build; the lake must be in reach there.")
    ] = "local",
    mirror: Annotated[str, typer.Option(help="owner/name: share the work with other machines through this Hub repo.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and build nothing.")] = False,
) -> None:
    """Build every partition that the study asks for and the lake does not have.

    Examples:

      python -m builders build-missing

      python -m builders build-missing --study tiny --models 384 --budget 10m

      python -m builders build-missing --study my-study.toml --shard 2/4

      python -m builders build-missing --shard 2/4 --mirror ada/digits-lake

      python -m builders build-missing --engine slurm --lake /shared/lake --workers 64
    """
    chosen, target = study.load(study_name, models=models), Lake(lake)
    if mirror and engine != "local":
        raise UsageError(f"--mirror is for machines that share nothing else: with --engine {engine} build first, then push")
    options = loop.Options(workers or (cores() if engine == "local" else 0), seconds_of(budget), shard_of(shard), engine=engine)
    if dry_run:
        _print_plan(target, chosen, max(1, options.workers))
        return
    with Progress() as progress:
        report, finish = _build(target, chosen, options, mirror, progress)
    print(_summary(report, chosen, target), flush=True)
    loop.check(report)
    finish()


@app.command("status")
def print_status(
    study_name: Annotated[
        str, typer.Option("--study", help="A shipped study, or the path of a TOML file of yours.")
    ] = "digits",
    lake: LakeOption = "data",
    models: ModelsOption = None,
    format: FormatOption = "table",
) -> None:
    """Show what is planned, present, missing and failed in each table, and what the rest will cost.

    Example:

      python -m builders status --study digits --format json
    """
    if format not in ("table", "json"):
        raise UsageError(f"--format {format!r}: choose table or json")
    found = status(Lake(lake), study.load(study_name, models=models))
    if format == "json":
        print(json.dumps(found))
        return
    Console().print(as_table(found))
    for failure in found["failures"]:
        print(f"{failure['status']}: model {failure['model_id']} in {failure['partition']}")


@app.command("studies")
def print_studies() -> None:
    """List the shipped studies with the first line of each file.

    Example:

      python -m builders studies
    """
    for name in study.shipped():
        first = (study.SHIPPED / f"{name}.toml").read_text().splitlines()[0]
        print(f"{name:<14} {first.removeprefix('# ')}")


@app.command("import-scores")
def import_other_scores(
    name: Annotated[str, typer.Argument(help="Study in the lake.")],
    path: Annotated[Path, typer.Argument(help=".parquet (split, target_id, train_id, score), or .npy [targets, training].")],
    method: Annotated[str, typer.Option(help="Name of the tool or method, such as trak.")],
    trainings: Annotated[int, typer.Option(min=0, help="Models that it trained or was given: its cost.")],
    sign: Annotated[int, typer.Option(help="-1 when the tool's positive scores lower the margin or raise the loss.")] = 1,
    lake: LakeOption = "data",
) -> None:
    """Bring the scores of another attribution tool into the lake, to be judged beside our fits.

    Example:

      python -m builders import-scores digits trak.parquet --method trak --trainings 10
    """
    from builders import scores

    done = scores.import_scores(Lake(lake), name, scores.Source(path, method, trainings, sign))
    told = f"their sums correlate {done.correlation:+.3f} with the fit models' margins (chance: {done.bound:.3f})"
    if not done.correlation > done.bound:
        print(f"warning: the sign of {method} cannot be told: {told}; check its convention", file=sys.stderr)
    print(f"study {name}: {len(done.added)} partition(s) of {method} added; {told}")


for command in (exchange_cli.adopt, exchange_cli.export):
    app.command()(command)


def _build(
    lake: Lake, chosen: study.Study, options: loop.Options, mirror: str, progress: Progress
) -> tuple[loop.Report, Callable[[], None]]:
    """Build alone or shared through a mirror: the report, and what raises if the last push is not whole."""
    if not mirror:
        hosted.warn(lake, progress)
        return loop.build_missing(lake, chosen, options, progress), lambda: None
    from builders.sharing import build_shared  # the Hub's client takes half a second to import
    from lake.hub import Hub

    report, pushed = build_shared(lake, chosen, options, Hub(mirror, say=progress.say), progress, progress.say)
    return report, pushed.finish


def seconds_of(budget: str) -> float | None:
    """Seconds of a text such as 90s, 30m or 2h; None for an empty one; UsageError otherwise."""
    if not budget:
        return None
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*(s|m|h)", budget.strip())
    if not match:
        raise UsageError(f"budget {budget!r}: write a number and a unit, such as 90s, 30m or 2h")
    return float(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]]


def shard_of(text: str) -> tuple[int, int]:
    """(i, n) of the text `i/n`; UsageError unless 1 <= i <= n."""
    match = re.fullmatch(r"([0-9]+)/([0-9]+)", text.strip())
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise UsageError(f"shard {text!r}: write i/n with 1 <= i <= n, such as 2/4")
    return int(match[1]), int(match[2])


def _print_plan(lake: Lake, chosen: study.Study, workers: int) -> None:
    found = status(lake, chosen)
    Console().print(as_table(found))
    seconds = sum(row["predicted_seconds"] for row in found["tables"])
    units = take_inventory(lake, chosen)
    waiting = sum(len(units.missing(name)) for name in units.units)
    needed = size(sum(row["predicted_bytes"] for row in found["tables"]))
    measured = any(partition.table == "margins" for partition in units.facts)
    guess = "" if measured else " (a guess until models were trained here)"
    expected = f"about {duration(seconds / workers)} on {workers} worker(s){guess}, {needed}"
    print(f"dry run: {waiting} piece(s) of work missing, {expected}; nothing was built")


def _summary(report: loop.Report, chosen: study.Study, lake: Lake) -> str:
    if not report.added and not report.failures and not report.left:
        return f"study {chosen.name}: nothing to do, every partition is in {lake.root}"
    added = ", ".join(f"{n} {table}" for table, n in report.added.items()) or "nothing"
    spent = f"{duration(report.seconds)} (planned {duration(report.predicted)})"
    return f"study {chosen.name}: added {added} partition(s), {report.models:,} models trained, in {spent}; lake: {lake.root}"


if __name__ == "__main__":
    run(app)
