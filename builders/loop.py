"""The one loop that fills a lake: plan, minus present, built in order, published one partition at a time.

All builders share it, so each of them is resumable, idempotent and safe to run twice at once for the same reason: what is
missing is computed from the plan and the files alone, and a publish is exclusive. A partition that fails does not stop the
others; the loop ends with the first failure's message and a non-zero exit.
"""

import platform
import random
import time
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.metadata import version

from threadpoolctl import threadpool_limits

from builders import comparisons, datamodels, datasets, engines, structure, turns
from builders.engines import Window
from builders.plan import BUILDERS, identity, present, take_inventory
from builders.progress import Progress
from builders.regression import device
from builders.study import Study
from builders.unit import Unit
from lake.errors import IncompleteError, LakeError
from lake.fingerprint import fingerprint
from lake.parquet import Facts
from lake.store import Lake

TRAINING = ("margins", "counterfactuals", "supports", "interventions")
"""Builders whose units train models."""

PARTITIONED = ("margins", "masks", *TRAINING[1:])
"""Builders whose units a shard divides, in the order in which a turn looks for what is missing."""

ON_CPU = ("patchnet", "sklearn", "logistic")
"""Learning algorithms that leave a GPU alone; a model of any other, and regression, get one where there are any."""

QUICK_SECONDS = 1.0
"""Work expected to be shorter is done in this process: starting a worker takes about as long."""


@dataclass(frozen=True)
class Options:
    """How to build; nothing here changes a number."""

    workers: int = 1
    """Processes; 1 builds in this one. On a cluster: units at once, 0 for as many as it has room for."""
    seconds: float | None = None
    """Budget: no unit is started that is not expected to end within it."""
    shard: tuple[int, int] = (1, 1)
    """(i, n): build the masks and margins whose partition index is i - 1 modulo n."""
    turn: bool = False
    """Only one turn among machines that share a mirror (builders/turns.py): those masks and margins, or others' of them."""
    engine: str = "local"
    """Where: `local`, `ray` or `slurm` (builders/engines)."""


@dataclass
class Report:
    """What a build did and what it left."""

    added: dict[str, int] = field(default_factory=dict)
    """Partitions published, by table."""
    models: int = 0
    seconds: float = 0.0
    predicted: float = 0.0
    """Wall seconds that were expected for what was missing."""
    failures: list[str] = field(default_factory=list)
    left: int = 0
    """Units not built: out of budget, in another shard, or waiting for one of those."""


def build_missing(lake: Lake, study: Study, options: Options, progress: Progress) -> Report:
    """Build and publish what is missing, builder by builder; the report counts what was done and what is left.

    A failure of one unit is listed in the report and does not stop the others. ConflictError when the lake holds another
    study under this name, before anything is built.
    """
    started, report = time.monotonic(), Report()
    inventory = take_inventory(lake, study)
    todo = {builder.NAME: inventory.missing(builder.NAME) for builder in BUILDERS}
    if not any(todo.values()):
        return report
    lake.files.sweep()
    work = partial(build_unit, engines.address(lake), study)
    with engines.start(options.engine, lake, work, options.workers) as engine:
        turn = _turn(todo, options, engine.workers)
        report.predicted = sum(inventory.predicted_seconds(name, study) for name in todo) / engine.workers
        for name, units in todo.items():
            there = set(present(lake, study)) if units else set()
            ready = [u for u in units if there.issuperset(u.needs) and (_key(u) in turn if turn else _mine(u, options.shard))]
            rate, rows = inventory.seconds_a_row(name, study), sum(u.rows for u in ready)
            deadline = started + options.seconds if options.seconds is not None else float("inf")
            progress.begin(name, len(ready), rows, unit_name="models" if name in TRAINING else "rows")
            latest = started + turns.SECONDS if turn else float("inf")
            window, done = Window(rate, deadline, latest), 0
            for unit, outcome in engine.run(ready, window, rate * rows < QUICK_SECONDS, _on_gpu(study, name)):
                done += 1
                _note(report, unit, outcome)
                progress.advance(name, unit, outcome)
            report.left += len(units) - done
    if report.added and lake.files.local:
        from lake.catalog import write_catalog  # DuckDB takes a tenth of a second to import

        write_catalog(lake.root)
    report.seconds = time.monotonic() - started
    return report


def check(report: Report) -> None:
    """Raise what the exit code should say: LakeError for failures, IncompleteError for work that is left."""
    if report.failures:
        raise LakeError(f"{len(report.failures)} piece(s) of work failed, the others are safe; first: {report.failures[0]}")
    if report.left:
        raise IncompleteError(f"{report.left} piece(s) of work remain: run the same command again to go on")


def build_unit(root: str, study: Study, unit: Unit) -> list[Facts]:
    """Compute and publish one unit: all that a worker does. Returns the facts of the partitions that this call added.

    On one thread: the order of a matrix product's sums, and so its last bits, depend on how many there are.
    """
    with threadpool_limits(1):
        return _build_unit(root, study, unit)


def _build_unit(root: str, study: Study, unit: Unit) -> list[Facts]:
    lake, digest = Lake(root), datasets.digest(study.dataset)
    builder = next(b for b in BUILDERS if unit.builder == b.NAME)
    there = set(present(lake, study))
    added = []
    wall, cpu = time.perf_counter(), time.process_time()
    for partition, rows in builder.build(lake, study, unit):
        described = identity(study, partition.table, digest)
        spent = time.perf_counter() - wall, time.process_time() - cpu
        facts = Facts(
            *(partition.table, partition.value, partition.role, partition.index),
            fingerprint=fingerprint(described),
            identity=described,
            n_failed=sum(s != "ok" for s in rows["status"].to_pylist()) if "status" in rows.column_names else 0,
            seconds=round(spent[0], 4),
            cpu_seconds=round(spent[1], 4),
        )
        if partition not in there:
            published = lake.publish(partition, rows, replace(facts, **provenance(_on_gpu(study, unit.builder))))
            added += [published.facts] if published.new else []
        wall, cpu = time.perf_counter(), time.process_time()
    return added


def provenance(gpu: bool = False) -> dict[str, object]:
    """Device (the card's name, if `gpu` and there is one), version of this software and of the libraries that compute."""
    libraries = {name: version(name) for name in ("numpy", "numba", "pyarrow", "scikit-learn", "torch")}
    computed_on = device.card() if gpu and device.cuda() else f"cpu {platform.machine()}"
    return {"device": computed_on, "code": version("datamodels-lake"), "libraries": libraries}


def _on_gpu(study: Study, name: str) -> bool:
    """Whether the units of a builder use a GPU where there is one."""
    trained = [study.algorithm, *study.removals.transfer] if name in (*TRAINING, structure.NAME) else []
    return name in (datamodels.NAME, comparisons.NAME) or any(algorithm.name not in ON_CPU for algorithm in trained)


def _mine(unit: Unit, shard: tuple[int, int]) -> bool:
    i, n = shard
    return unit.builder not in PARTITIONED or unit.partitions[0].index % n == i - 1


def _turn(todo: dict[str, list[Unit]], options: Options, workers: int) -> set[tuple[str, str | int]]:
    """Keys of the units that this turn may build; empty when turns are not taken, or only the last units are missing."""
    missing = next((todo[name] for name in PARTITIONED if todo[name]), [])
    if not options.turn or not missing:
        return set()
    taken = turns.take([(u.partitions[0].index, _key(u)) for u in missing], options.shard, random.Random(), workers)
    return {*taken, *(_key(u) for name, units in todo.items() if name not in PARTITIONED for u in units)}


def _key(unit: Unit) -> tuple[str, str | int]:
    """Role and index, equal for a unit of masks and the unit of margins on them; the label of any other unit."""
    first = unit.partitions[0]
    return (first.role, first.index) if unit.builder in PARTITIONED else (unit.builder, unit.label)


def _note(report: Report, unit: Unit, outcome: list[Facts] | Exception) -> None:
    if isinstance(outcome, Exception):
        report.failures.append(f"{unit.label}: {outcome}")
        return
    for facts in outcome:
        report.added[facts.table] = report.added.get(facts.table, 0) + 1
        report.models += facts.rows if facts.table == "margins" else 0
