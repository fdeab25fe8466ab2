"""Deep checks of counterfactuals: masks follow from removals or interventions, seeds from repeats, predictions from weights.

The plan of a study's removals is no part of its fingerprint, so nothing here asks for it: the rows of the tables removals and
interventions say what was taken away and by which fit it was predicted. What another file is needed for is not judged when
that is missing.
"""

from collections.abc import Container, Iterator

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from builders import counterfactuals, masks
from builders.orders import base_init
from builders.study import Study
from lake.parquet import Facts
from lake.partition import Partition, parse_path
from lake.store import Lake
from lake.verify import SET_ASIDE, Problem

ROUNDING = 1e-4
"""Largest difference of a stored prediction from the sum of its weights, both rounded to float32 [logit]."""


def check(
    lake: Lake, partition: Partition, study: Study, facts: dict[Partition, Facts], n_train: int | None
) -> Iterator[Problem]:
    """Problems of one partition of masks, margins or removals of a counterfactual role."""
    wrong = {"masks": _wrong_masks, "margins": _wrong_seeds, "removals": _wrong_removals}[partition.table]
    if what := wrong(lake, partition, study, facts, n_train or 0):
        yield Problem(partition.path, what, SET_ASIDE)


def removed_by(partition: Partition, facts: Container[Partition]) -> Partition | None:
    """The partition of removals or interventions that says what the masks of a role leave out; None where it is not there."""
    named = (Partition(table, partition.value, partition.role, 0) for table in ("removals", "interventions"))
    return next((each for each in named if each in facts), None)


def _wrong_masks(lake: Lake, partition: Partition, study: Study, facts: dict[Partition, Facts], n_train: int) -> str:
    rows = lake.read(partition)
    ids, table = rows["mask_id"].to_numpy().astype(np.int64), removed_by(partition, facts)
    if not np.array_equal(ids, np.arange(ids[0], ids[0] + len(ids))):
        return "mask ids are not those of one partition"
    if table is None or not n_train:
        return ""
    removals = lake.read(table, ["removal_id", "removed"])
    if pc.max(pc.list_flatten(removals["removed"])).as_py() not in range(n_train):  # pyright: ignore[reportAttributeAccessIssue]
        return ""  # said of the table itself
    known = removals["removal_id"].to_numpy()
    if len(strange := np.setdiff1d(ids, [0, *known])):
        return f"{len(strange)} masks are of no removal in {table.path} (first: {strange[0]})"
    expected = np.packbits(counterfactuals.without(lake, table, ids, n_train), axis=1)
    packed = masks.packed_bits(rows)
    wrong = ids if packed.shape != expected.shape else ids[(packed != expected).any(1)]
    return f"{len(wrong)} masks are not those of {table.path} (first: {wrong[0]})" if len(wrong) else ""


def _wrong_seeds(lake: Lake, partition: Partition, study: Study, facts: dict[Partition, Facts], n_train: int) -> str:
    rows = lake.read(partition, ["model_id", "mask_id", "init_id", "repeat"])
    models, mask_of, inits, repeats = (rows[name].to_numpy().astype(np.int64) for name in rows.column_names)
    if not np.array_equal(models, np.arange(models[0], models[0] + len(models))):
        return "model ids are not those of one partition"
    if not np.array_equal(inits, base_init(study) + repeats):
        return "init_id is not what the repeats give: a seed was reused or rows were moved"
    if not np.array_equal(repeats, _counted(mask_of)):
        return "repeat does not count the models of a mask: a seed was reused or rows were moved"
    of_masks = Partition("masks", partition.value, partition.role, partition.index)
    if of_masks in facts and not np.array_equal(np.unique(mask_of), lake.read(of_masks, ["mask_id"])["mask_id"].to_numpy()):
        return f"its models are not those of the masks in {of_masks.path}"
    return ""


def _counted(ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many equal neighbours stand before each of `ids` [n]."""
    starts = np.flatnonzero(np.diff(ids, prepend=ids[:1] - 1))
    return np.arange(len(ids)) - np.repeat(starts, np.diff(starts, append=len(ids)))


def _wrong_removals(lake: Lake, partition: Partition, study: Study, facts: dict[Partition, Facts], n_train: int) -> str:
    rows = lake.read(partition, ["removal_id", "target_id", "k", "removed", "predicted_change", "fit"]).to_pylist()
    for row in rows:
        if len(set(row["removed"])) != row["k"] or min(row["removed"], default=0) < 0:
            return f"removal {row['removal_id']} does not remove k = {row['k']} different examples"
        if n_train and max(row["removed"], default=0) >= n_train:
            return f"removal {row['removal_id']} removes an example beyond the {n_train} there are"
    for fit in sorted({row["fit"] for row in rows}):
        weights = parse_path(f"weights/study={partition.value}/{fit}.parquet")
        if weights in facts and n_train and (wrong := _mispredicted(lake, weights, [r for r in rows if r["fit"] == fit])):
            return f"{len(wrong)} predictions are not those of {fit} (first: removal {wrong[0]})"
    return ""


def weight_of(lake: Lake, weights: Partition) -> dict[tuple[int, int], float]:
    """Weights on test targets by (target_id, train_id); those that are 0 are not there."""
    fitted = lake.read(weights, ["split", "target_id", "train_id", "weight"])
    fitted = fitted.filter(pc.equal(fitted["split"], "test"))  # pyright: ignore[reportAttributeAccessIssue]
    target, train, weight = (fitted[name].to_pylist() for name in ("target_id", "train_id", "weight"))
    return dict(zip(zip(target, train, strict=True), weight, strict=True))


def _mispredicted(lake: Lake, weights: Partition, rows: list[dict]) -> list[int]:
    """removal_id of the rows whose predicted change is not minus the sum of the removed weights."""
    known = weight_of(lake, weights)
    wrong = []
    for row in rows:
        change = -sum(known.get((row["target_id"], example), 0.0) for example in row["removed"])
        if abs(row["predicted_change"] - change) > ROUNDING:
            wrong.append(row["removal_id"])
    return wrong
