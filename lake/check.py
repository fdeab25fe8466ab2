"""Whether a partition that somebody else made may be adopted: it is what it says, and one of its models comes out the same.

The deep check of the lake judges its seal, rows, masks, seeds and distribution; then the builders train one model of it again,
chosen at random here, so that nobody can know beforehand which. They are found by entry points (group
`datamodels_lake.retrains`), as the deep checks are.
"""

from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import entry_points

from lake.errors import UsageError
from lake.partition import Partition, parse_path
from lake.store import Lake
from lake.verify import Problem, verify

Retrain = Callable[[Lake, Partition, str], Iterator[Problem]]
"""Trains a model of a partition again; the text names its study, empty for a shipped one."""


def check(lake: Lake, paths: Iterable[str], study: str = "") -> list[Problem]:
    """Every problem of the partitions at `paths`; UsageError for a path that names none in the lake."""
    wanted = {path: _partition(lake, path) for path in paths}
    problems = [problem for problem in verify(lake, deep=True) if problem.path in wanted]
    bad = {problem.path for problem in problems}
    retrains: list[Retrain] = [point.load() for point in entry_points(group="datamodels_lake.retrains")]
    for path in sorted(wanted.keys() - bad):
        for retrain in retrains:
            problems += retrain(lake, wanted[path], study)
    return problems


def _partition(lake: Lake, path: str) -> Partition:
    partition = parse_path(path)
    if partition is None or partition not in lake.present(partition.table, partition.value):
        raise UsageError(f"{path} is no partition of {lake.root}: name one such as masks/study=digits/fit-00003.parquet")
    return partition
