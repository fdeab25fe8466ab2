"""The table margins: train a model on each mask and keep its correct-class margin on every example.

Paper section 2: the output of a model is the correct-class margin, the correct logit minus the largest other one; TRAK (arXiv
2303.14186) takes minus the log-sum-exp of the others instead. Fit models share a pool of initialisations (init_id =
model_id mod pool); held-out models use initialisations outside the pool. A model that fails or diverges gets NULL margins
and a status, and the others of its group are untouched.
"""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from builders import datasets
from builders.masks import mask_ids, unpack
from builders.study import Study
from builders.training.interface import Data, Group, Logits, Trainer
from builders.unit import Unit
from lake.errors import LakeError
from lake.partition import Partition
from lake.store import Lake
from lake.tables import TABLES

NAME: str = "margins"
BUILDS: tuple[str, ...] = ("margins",)

GROUP = 64
"""Models trained at once: any number gives the same margins; this one keeps the logits of a group in the caches' reach."""

RETRIES = 2
"""How often a model that failed or diverged is trained again, alone, before it is given up."""


def plan(study: Study) -> list[Unit]:
    """A partition of models for each partition of masks."""
    from builders import masks

    return [
        Unit(NAME, (Partition("margins", study.name, p.role, p.index),), (p,), len(model_ids(study, p.role, p.index)))
        for p in (unit.partitions[0] for unit in masks.plan(study))
    ]


def build(lake: Lake, study: Study, unit: Unit) -> Iterator[tuple[Partition, pa.Table]]:
    """Train the models of one partition. LakeError when every one of them raised: that is no result to keep."""
    partition = unit.partitions[0]
    data, _ = _trainer(study)
    ids = model_ids(study, partition.role, partition.index)
    mask_of, init_ids, repeats = keys(study, partition.role, ids)
    masks = unpack(lake.read(unit.needs[0], ["mask"]), len(data.train_labels))
    masks = masks[mask_of - mask_ids(study, partition.role, partition.index)[0]]
    yield (
        partition,
        train_rows(study, partition.role, Group(study.seed, partition.role, masks, init_ids, ids), ids, mask_of, repeats),
    )


def train_rows(
    study: Study, role: str, group: Group, ids: NDArray[np.int64], mask_of: NDArray[np.int64], repeats: NDArray[np.int64]
) -> pa.Table:
    """Train the models of `group` and return their rows; `ids`, `mask_of` and `repeats` [n_models] are columns as they are."""
    data, train = _trainer(study)
    outcomes = [train_group(train, group.take(np.arange(a, min(a + GROUP, len(ids)))), data) for a in range(0, len(ids), GROUP)]
    logits = Logits(np.concatenate([o[0].train for o in outcomes]), np.concatenate([o[0].test for o in outcomes]))
    status = np.concatenate([o[1] for o in outcomes])
    if (status == "failed").all():
        raise LakeError(f"every model failed, first with: {outcomes[0][2]}")
    return _rows(study, role, group, ids, mask_of, repeats, status, logits, data)


def model_ids(study: Study, role: str, index: int) -> NDArray[np.int64]:
    """Model ids of a partition [n_models]."""
    masks = mask_ids(study, role, index)
    repeats = study.heldout_repeats if role == "heldout" else 1
    return np.arange(masks[0] * repeats, (masks[-1] + 1) * repeats)


def keys(study: Study, role: str, ids: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """(mask_id, init_id, repeat) of each model [n_models]: one mask a fit model, all repeats of a held-out mask in a row."""
    if role == "heldout":
        return ids // study.heldout_repeats, study.pool + ids, ids % study.heldout_repeats
    return ids, ids % study.pool, np.zeros_like(ids)


def margin(logits: NDArray[np.float32], labels: NDArray[np.int64], kind: str) -> NDArray[np.float32]:
    """Correct-class margins [n_models, n] of logits [n_models, n, n_classes]; `max` or `logsumexp` over the other classes."""
    at = np.broadcast_to(labels[None, :, None], (*logits.shape[:2], 1))
    correct = np.take_along_axis(logits, at, 2)[..., 0]
    others = logits.copy()
    np.put_along_axis(others, at, -np.inf, 2)
    top = others.max(2)
    if kind == "max":
        return correct - top
    with np.errstate(invalid="ignore"):
        return correct - (top + np.log(np.exp(others - top[..., None]).sum(2)))


@lru_cache(maxsize=1)
def _trainer(study: Study) -> tuple[Data, Trainer]:
    data = datasets.load(study.dataset)
    return data, study.algorithm.prepare(data)


def train_group(train: Trainer, group: Group, data: Data) -> tuple[Logits, NDArray[np.str_], str]:
    """Logits and statuses of a group; models without finite logits are tried again alone, RETRIES times."""
    shapes = (
        (group.n_models, len(data.train_labels), data.n_classes),
        (group.n_models, len(data.test_labels), data.n_classes),
    )
    kept = Logits(*(np.full(shape, np.nan, np.float32) for shape in shapes))
    status, reason = np.full(group.n_models, "failed", "U8"), ""
    pending = [np.arange(group.n_models)]
    for _ in range(RETRIES + 1):
        for rows in pending:
            try:
                found = train(group.take(rows))
                _check_shapes(found, len(rows), shapes)
                kept.train[rows], kept.test[rows] = found.train, found.test
                status[rows] = np.where(_finite(found), "ok", "diverged")
            except Exception as error:  # whatever a user's algorithm raises must not take the group's other models with it
                reason = reason or f"{type(error).__name__}: {' '.join(str(error).split())}"
        pending = [np.array([k]) for k in np.flatnonzero(status != "ok")]
        if not pending:
            break
    return kept, status, reason


def _check_shapes(logits: Logits, n_models: int, shapes: tuple[tuple[int, ...], ...]) -> None:
    for got, want in zip((logits.train, logits.test), shapes, strict=True):
        if np.shape(got) != (n_models, *want[1:]):
            raise ValueError(f"logits have shape {np.shape(got)}, expected {(n_models, *want[1:])}")


def _finite(logits: Logits) -> NDArray[np.bool_]:
    """Which models have logits whose margins fit float16 [n_models]."""
    bound = np.finfo(np.float16).max / 2
    return np.array(
        [(np.abs(a) < bound).all() and (np.abs(b) < bound).all() for a, b in zip(logits.train, logits.test, strict=True)]
    )


def _rows(
    study: Study,
    role: str,
    group: Group,
    ids: NDArray,
    mask_of: NDArray,
    repeats: NDArray,
    status: NDArray,
    logits: Logits,
    data: Data,
) -> pa.Table:
    ok = status == "ok"
    right = logits.train.argmax(2) == data.train_labels
    n = group.n_models
    columns = {
        "study_id": [study.name] * n,
        "role": [role] * n,
        "model_id": ids.astype(np.int32),
        "mask_id": mask_of.astype(np.int32),
        "init_id": group.init_ids.astype(np.int32),
        "repeat": repeats.astype(np.int32),
        "status": status.tolist(),
        "test_accuracy": _nulls((logits.test.argmax(2) == data.test_labels).mean(1), ok),
        "train_accuracy": _nulls((right & group.masks).sum(1) / np.maximum(group.masks.sum(1), 1), ok),
        "test_margin": _lists(margin(logits.test, data.test_labels, study.margin), ok),
        "train_margin": _lists(margin(logits.train, data.train_labels, study.margin), ok),
    }
    return pa.table(columns, schema=TABLES["margins"].schema)


def _nulls(values: NDArray[np.float64], ok: NDArray[np.bool_]) -> pa.Array:
    return pa.array(values.astype(np.float32), mask=~ok)


def _lists(values: NDArray[np.float32], ok: NDArray[np.bool_]) -> pa.Array:
    """Lists of float16 [n_models], NULL where not `ok`."""
    offsets = np.concatenate([[0], np.cumsum(np.where(ok, values.shape[1], 0))]).astype(np.int32)
    halves = pa.array(values[ok].astype(np.float16).ravel())
    kind = TABLES["margins"].schema.field("test_margin").type
    return pa.ListArray.from_arrays(pa.array(offsets), halves, type=kind, mask=pa.array(~ok))
