"""Deep checks of the tables fits, weights and predictions: numbers of one fit that follow from each other.

A weight cannot be derived without fitting again, but how many a target has, its mean margin, and what it predicts of held-out
masks follow from weights, margins and masks. What another file is needed for is not judged when that is missing.
"""

from collections.abc import Container, Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from builders import embeddings, masks
from builders.study import Study
from lake.partition import Partition
from lake.store import Lake
from lake.verify import SET_ASIDE, Problem

Means = dict[str, NDArray[np.float64]]
"""Mean margins [n_targets] by split."""

ROUNDING = 1e-3
"""Largest difference that rounding makes, as a share of 1 + the size of what is expected."""


@dataclass(frozen=True)
class Sound:
    """What fits are judged by: a study's partitions of which nothing bad is known, and how many training examples it has."""

    lake: Lake
    study: Study
    there: Container[Partition]
    n_train: int | None


def check(sound: Sound, fits: list[Partition]) -> Iterator[Problem]:
    """Problems of partitions of the table fits, and of the weights and predictions of the same fits."""
    heldout = _heldout(sound)
    for n_models, own in groupby(sorted(fits, key=lambda p: p.index), lambda p: p.index):
        means = _means(sound, n_models)
        for partition in own:
            rows = sound.lake.read(partition, ["split", "target_id", "bias", "mean_margin", "n_nonzero"])
            if what := _wrong_rows(rows, means):
                yield Problem(partition.path, what, SET_ASIDE)
            elif replace(partition, table="weights") in sound.there and sound.n_train:
                yield from _check_weights(sound, partition, rows, heldout)


def matrix(lists: pa.ChunkedArray) -> NDArray[np.float32]:
    """A column of lists of one length as float32 [n_rows, length]; rows that are NULL are left out, and some are not."""
    known = lists.combine_chunks().drop_null()
    return known.flatten().to_numpy(zero_copy_only=False).astype(np.float32).reshape(len(known), -1)


def _heldout(sound: Sound) -> NDArray[np.float64] | None:
    """Held-out masks [n_masks, n_train] as 0 and 1; None where some are not there."""
    partitions = masks.partitions(sound.study, "heldout")
    if not sound.n_train or not all(each in sound.there for each in partitions):
        return None
    return masks.unpack(sound.lake.scan(partitions, ["mask"]), sound.n_train).astype(np.float64)


def _means(sound: Sound, n_models: int) -> Means:
    """Mean margins of the first `n_models` models; none where some of them are not there."""
    size, name = sound.study.partition_models, sound.study.name
    used = [Partition("margins", name, "fit", i) for i in range(-(-n_models // size))]
    if not all(each in sound.there for each in used):
        return {}
    sums: dict[str, Any] = {}
    n_ok = 0
    for each in used:
        models = sound.lake.read(each, ["model_id", "test_margin", "train_margin"])
        models = models.slice(0, int((models["model_id"].to_numpy() < n_models).sum()))
        if ended_well := len(models) - models["test_margin"].null_count:
            n_ok += ended_well
            for split in ("test", "train"):
                sums[split] = sums.get(split, 0.0) + matrix(models[f"{split}_margin"]).sum(0, dtype=np.float64)
    return {split: total / n_ok for split, total in sums.items()}


def _by_split(rows: pa.Table) -> dict[str, pa.Table]:
    """Rows of each split that there is."""
    splits = rows["split"].unique().to_pylist()
    return {split: rows.filter(pc.equal(rows["split"], split)) for split in splits}  # pyright: ignore[reportAttributeAccessIssue]


def _wrong_rows(rows: pa.Table, means: Means) -> str:
    """What is wrong with target ids and mean margins of a fit; empty when nothing is, or nothing can be said."""
    for split, own in _by_split(rows).items():
        found, expected = own["mean_margin"].to_numpy(), means.get(split)
        if not np.array_equal(own["target_id"].to_numpy(), np.arange(len(own))):
            return f"its {split} targets are not numbered from 0"
        if expected is not None and expected.shape != found.shape:
            return f"it has {len(found)} {split} targets, and the models have margins of {len(expected)}"
        wrong = np.flatnonzero(abs(found - expected) > ROUNDING * (1 + abs(expected))) if expected is not None else found[:0]
        if len(wrong):
            return f"{len(wrong)} {split} targets have other mean margins than the models (first: {wrong[0]})"
    return ""


def _check_weights(
    sound: Sound, partition: Partition, rows: pa.Table, heldout: NDArray[np.float64] | None
) -> Iterator[Problem]:
    """Problems of the weights of a fit with these rows, and of its predictions of the held-out masks."""
    weights, predictions = (replace(partition, table=table) for table in ("weights", "predictions"))
    given = _by_split(sound.lake.read(weights, ["split", "target_id", "train_id", "weight"]))
    predicted = {}
    if heldout is not None and predictions in sound.there:
        predicted = _by_split(sound.lake.read(predictions, ["split", "predicted_margin"]))
    for split, own in _by_split(rows).items():
        shape, of_split = (len(own), sound.n_train or 0), given.get(split)
        target, train, weight = _columns(of_split)
        if len(target) and not (target.max() < shape[0] and train.max() < shape[1]):
            yield Problem(weights.path, f"some weights are of {split} targets or examples that are not there", SET_ASIDE)
        elif (wrong := np.flatnonzero(np.bincount(target, minlength=shape[0]) != own["n_nonzero"].to_numpy())).size:
            what = f"{len(wrong)} {split} targets have another number of weights than {partition.path} says (first: {wrong[0]})"
            yield Problem(weights.path, what, SET_ASIDE)
        elif heldout is not None and split in predicted:
            expected = (embeddings.sparse(target, train, weight, shape) @ heldout.T).T + own["bias"].to_numpy()
            if what := _wrong_predictions(predicted[split]["predicted_margin"], expected):
                yield Problem(predictions.path, f"of {split} targets, {what}", SET_ASIDE)


def _columns(weights: pa.Table | None) -> tuple[embeddings.Ids, embeddings.Ids, NDArray[np.float32]]:
    """(target_id, train_id, weight) of the rows, which a split with zero weights alone has none of."""
    if weights is None:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32)
    target, train, weight = (weights[name].to_numpy() for name in ("target_id", "train_id", "weight"))
    return target, train, weight


def _wrong_predictions(found: pa.ChunkedArray, expected: NDArray[np.float64]) -> str:
    """What is wrong with predicted margins that should be `expected` [n_masks, n_targets]; empty when nothing is."""
    lengths = set(pc.list_value_length(found).to_pylist())  # pyright: ignore[reportAttributeAccessIssue]
    if len(found) != len(expected) or lengths != {expected.shape[1]}:
        return f"predictions are not of {len(expected)} masks and {expected.shape[1]} targets"
    wrong = np.argwhere(abs(matrix(found) - expected) > ROUNDING * (1 + abs(expected)))
    if not len(wrong):
        return ""
    mask, target = wrong[0]
    return f"{len(wrong)} predictions are not bias plus weights (first: mask {mask}, target {target})"
