"""Masks and margins of the removals: models trained on everything but a set, each coupled to a model trained on everything.

Repeat r of every removal starts from the same weights and visits the examples that remain in the same order as repeat r of
the base, removal 0, because orders are keyed by example. The difference of the two then shows the removal and hardly the
chance of training: its variance is a small fraction of that between independent models (query `coupling`).
"""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from builders import datasets, masks, removals
from builders.margins import train_rows
from builders.orders import coupled
from builders.study import Study
from builders.unit import Unit
from lake.partition import Partition
from lake.store import Lake

NAME: str = "counterfactuals"
BUILDS: tuple[str, ...] = ("masks", "margins")


def plan(study: Study) -> list[Unit]:
    """A unit a partition of models: its masks and margins; the study's own learning algorithm first."""
    if not study.removals.targets:
        return []
    sizes = np.bincount(_indices(study), weights=[r.repeats for r in removals.planned(study)]).astype(int)
    units = []
    for first in removals.plan(study)[0].partitions:
        for index, n_models in enumerate(sizes.tolist()):
            pair = tuple(Partition(table, study.name, first.role, index) for table in BUILDS)
            units.append(Unit(NAME, pair, (first,), n_models))
    return units


def build(lake: Lake, study: Study, unit: Unit) -> Iterator[tuple[Partition, pa.Table]]:
    """The masks of one partition, then the margins of the models trained on them."""
    of_masks, of_margins = unit.partitions
    ids = np.flatnonzero(_indices(study) == of_masks.index)
    drawn = without(lake, unit.needs[0], ids, len(datasets.load(study.dataset).train_labels))
    yield of_masks, masks.rows_of(of_masks, ids, drawn, drawn.mean(1), "fixed")
    mask_of, repeats = keys(study, ids)
    group = coupled(study, drawn[mask_of - ids[0]], repeats)
    trained = study.model_copy(update={"algorithm": removals.roles(study)[of_margins.role]})
    yield of_margins, train_rows(trained, of_margins.role, group, _first_models(study)[mask_of] + repeats, mask_of, repeats)


def without(lake: Lake, partition: Partition, ids: NDArray[np.int64], n_train: int) -> NDArray[np.bool_]:
    """Masks [n_masks, n_train] of the removals with these ids, from the table removals; all examples for one without a row."""
    rows = lake.read(partition, ["removal_id", "removed"])
    numbers, first = np.unique(rows["removal_id"].to_numpy(), return_index=True)
    removed = dict(zip(numbers.tolist(), rows["removed"].take(pa.array(first)).to_pylist(), strict=True))
    drawn = np.ones((len(ids), n_train), bool)
    for row, removal_id in enumerate(ids.tolist()):
        drawn[row, removed.get(removal_id, [])] = False
    return drawn


def keys(study: Study, ids: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(mask_id, repeat) of each model [n_models] trained on the masks `ids`: all repeats of a mask in a row."""
    repeats = np.array([r.repeats for r in removals.planned(study)])[ids]
    return np.repeat(ids, repeats), np.concatenate([np.arange(n) for n in repeats])


def _first_models(study: Study) -> NDArray[np.int64]:
    """model_id of the first repeat of each removal [n_removals]."""
    repeats = np.array([r.repeats for r in removals.planned(study)])
    return np.cumsum(repeats) - repeats


@lru_cache(maxsize=4)
def _indices(study: Study) -> NDArray[np.int64]:
    """Partition of each removal [n_removals]: that of its first model."""
    return _first_models(study) // study.partition_models
