"""Train one model of a partition again and hold its margins against those that the partition tells.

On the same type of machine they are equal by bit; on another one, or a GPU, close. A model of another mask, seed or recipe is
further away than the noise between machines by an order of magnitude, so a plain bound tells them apart.
"""

from collections.abc import Iterator

import numpy as np

from builders import datasets, margins, masks, study
from builders.plan import check_identity
from builders.training.interface import Group
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
    chosen = study.load(study_name or partition.value)
    check_identity(chosen, lake.facts({partition: lake.present("margins", partition.value)[partition]}))
    rows = lake.read(partition, ["model_id", "status", "test_margin"]).to_pylist()
    ended_well = [row for row in rows if row["status"] == "ok"]
    if not ended_well:
        return
    row = ended_well[np.random.default_rng().integers(len(ended_well))]
    data = datasets.load(chosen.dataset)
    ids = np.array([row["model_id"]])
    mask_ids, init_ids, _ = margins.keys(chosen, partition.role, ids)
    drawn = masks.draw(chosen, len(data.train_labels), partition.role, mask_ids)
    logits = chosen.algorithm.prepare(data)(Group(chosen.seed, partition.role, drawn, init_ids, ids))
    ours = margins.margin(logits.test, data.test_labels, chosen.margin)[0]
    apart = np.sqrt(np.mean((ours - np.array(row["test_margin"], np.float32)) ** 2)) / ours.std()
    if not apart <= FAR:
        yield Problem(
            partition.path,
            f"model {row['model_id']}, trained again, has other margins ({apart:.2f} standard deviations apart)",
            SET_ASIDE,
        )
