"""The table interventions: sets at either end of a component are removed, and models trained again without them.

Ilyas et al. 2022 section 4 (PCA of datamodels): without the training examples of one end, targets of that end should lose and
those of the other end gain or keep their margins, and the rest should hardly notice. The gauge is the same number of random
examples. Retrains are coupled to models trained on everything as in builders/counterfactuals.py; few enough for one partition.
"""

from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from builders import datasets, masks, orders, structure
from builders.margins import train_rows
from builders.removals import RANDOM_SETS, random_set
from builders.study import Study
from builders.unit import Unit
from lake.errors import UsageError
from lake.fingerprint import fingerprint
from lake.partition import Partition
from lake.store import Lake
from lake.tables import TABLES

NAME: str = "interventions"
BUILDS: tuple[str, ...] = ("interventions", "masks", "margins")

RULES = 1
"""Version of the rules that turn a plan into sets."""


class Intervention(NamedTuple):
    """One set to remove: an end of a component, or the `number`-th random one."""

    side: str
    number: int


def role(study: Study) -> str:
    """Role of the partitions: `component-` and eight hex digits that change with the plan and with the components."""
    asked = {name: getattr(study.structure, name) for name in ("interventions", "size", "repeats")}
    return f"component-{fingerprint({'rules': RULES, 'of': structure.role(study), 'random': RANDOM_SETS, **asked})[:8]}"


def planned(study: Study) -> list[Intervention]:
    """Every set by removal_id - 1: random ones, then both ends of each component."""
    random = [Intervention("random", number) for number in range(RANDOM_SETS)]
    return random + [Intervention(side, c) for c, side in product(range(study.structure.interventions), ("high", "low"))]


def plan(study: Study) -> list[Unit]:
    """One unit: the sets, their masks and the margins of their retrains; none without structure.interventions."""
    if not study.structure.interventions:
        return []
    partitions = tuple(Partition(table, study.name, role(study), 0) for table in BUILDS)
    needs = (Partition("components", study.name, structure.role(study), 0),)
    return [Unit(NAME, partitions, needs, study.structure.repeats * (1 + len(planned(study))))]


def build(lake: Lake, study: Study, unit: Unit) -> Iterator[tuple[Partition, pa.Table]]:
    """The sets, then everything but each of them, then the models trained on that; number 0 is everything."""
    sets, of_masks, of_margins = unit.partitions
    n_train, n_sets = len(datasets.load(study.dataset).train_labels), 1 + len(planned(study))
    removed = _removed(lake, study, unit.needs[0], n_train)
    yield sets, _table(study, sets, removed)
    drawn = np.ones((n_sets, n_train), bool)
    for removal_id, ids in enumerate(removed, 1):
        drawn[removal_id, ids] = False
    yield of_masks, masks.rows_of(of_masks, np.arange(n_sets), drawn, drawn.mean(1), "fixed")
    mask_of, repeats = np.divmod(np.arange(n_sets * study.structure.repeats), study.structure.repeats)
    group = orders.coupled(study, drawn[mask_of], repeats)
    yield of_margins, train_rows(study, of_margins.role, group, np.arange(len(mask_of)), mask_of, repeats)


def _removed(lake: Lake, study: Study, components: Partition, n_train: int) -> list[NDArray[np.int64]]:
    """Training examples of each set [size]."""
    asked, size = study.structure, study.structure.size
    rows = lake.read(components, ["embedding", "component", "train_loading"]).to_pylist()
    kept = [r for r in rows if r["embedding"] == "weights" and len(r["train_loading"] or ()) == n_train]
    loadings = {r["component"]: r["train_loading"] for r in kept}
    if size >= n_train or not loadings.keys() >= set(range(asked.interventions)):
        raise UsageError(
            f"study {study.name} asks for {size} examples of either end of {asked.interventions} components; there are "
            f"{n_train} training examples and {len(loadings)} components"
        )
    ends = {"high": -1, "low": 1}
    return [
        random_set(study, size, each.number, n_train)
        if each.side == "random"
        else np.argsort(ends[each.side] * np.array(loadings[each.number]), kind="stable")[:size]
        for each in planned(study)
    ]


def _table(study: Study, partition: Partition, removed: list[NDArray[np.int64]]) -> pa.Table:
    every, n = planned(study), len(removed)
    columns = {
        "study_id": [study.name] * n,
        "role": [partition.role] * n,
        "removal_id": np.arange(1, n + 1, dtype=np.int32),
        "component": pa.array([None if each.side == "random" else each.number for each in every], pa.int32()),
        "side": [each.side for each in every],
        "k": np.array([len(ids) for ids in removed], np.int32),
        "removed": [ids.tolist() for ids in removed],
        "fit": [orders.fit_partition(study).name] * n,
    }
    return pa.table(columns, schema=TABLES["interventions"].schema)
