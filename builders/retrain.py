"""Train one model of a partition again and hold its margins against those that the partition tells.

On the same type of machine they are equal by bit; on another one, or a GPU, close. A model of another mask, seed or recipe is
further away than the noise between machines by an order of magnitude, so a plain bound tells them apart.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from builders import counterfactuals, datasets, interventions, margins, masks, orders, rederive_removals, removals, study
from builders.adopt import RULES as ADOPTED
from builders.plan import check_identity
from builders.study import Study
from builders.training.interface import Data, Group
from lake.errors import UsageError
from lake.partition import Partition
from lake.store import Lake
from lake.verify import SET_ASIDE, Problem

FAR = 0.1
"""Root mean square difference of the test margins, in their standard deviations, beyond which it is another model."""


def retrain(lake: Lake, partition: Partition, study_name: str = "") -> Iterator[Problem]:
    """The problem of a margins partition whose model, chosen at random, comes out otherwise; nothing for other tables.

    UsageError when the study is not shipped and no file is named; ConflictError when the partition is of another study.
    """
    if partition.table != "margins":
        return
    facts = lake.facts({partition: lake.present("margins", partition.value)[partition]})
    if facts[partition].identity.get("rules") == ADOPTED:
        yield Problem(
            partition.path, "is of an adopted study, which cannot be trained again", "Keep it if you trust its origin"
        )
        return
    chosen = study.load(study_name or partition.value)
    check_identity(chosen, facts)
    rows = lake.read(partition, ["model_id", "mask_id", "repeat", "status", "test_margin"]).to_pylist()
    ended_well = [row for row in rows if row["status"] == "ok"]
    if not ended_well:
        return
    row = ended_well[np.random.default_rng().integers(len(ended_well))]
    data = datasets.load(chosen.dataset)
    trained, group = _group(lake, chosen, partition, row, data)
    logits = trained.algorithm.prepare(data)(group)
    ours = margins.margin(logits.test, data.test_labels, chosen.margin)[0]
    apart = np.sqrt(np.mean((ours - np.array(row["test_margin"], np.float32)) ** 2)) / (ours.std() or 1.0)
    if not apart <= FAR:
        yield Problem(
            partition.path,
            f"model {row['model_id']}, trained again, has other margins ({apart:.2f} standard deviations apart)",
            SET_ASIDE,
        )


def _group(lake: Lake, chosen: Study, partition: Partition, row: dict[str, Any], data: Data) -> tuple[Study, Group]:
    """The model of a row, and the study with the algorithm that trains it."""
    n_train = len(data.train_labels)
    if partition.role in ("fit", "heldout"):
        ids = np.array([row["model_id"]])
        mask_ids, init_ids, _ = margins.keys(chosen, partition.role, ids)
        drawn = masks.draw(chosen, n_train, partition.role, mask_ids)
        return chosen, Group(chosen.seed, partition.role, drawn, init_ids, ids)
    algorithms = {**removals.roles(chosen), interventions.role(chosen): chosen.algorithm}
    there = {**lake.present("removals", partition.value), **lake.present("interventions", partition.value)}
    removed = rederive_removals.removed_by(partition, there)
    if partition.role not in algorithms or removed is None:
        raise UsageError(
            f"{partition.path} is of a plan that the study does not have: "
            "name a file with its [removals] or [structure] by --study"
        )
    drawn = counterfactuals.without(lake, removed, np.array([row["mask_id"]]), n_train)
    group = orders.coupled(chosen, drawn, np.array([row["repeat"]]))
    return chosen.model_copy(update={"algorithm": algorithms[partition.role]}), group
