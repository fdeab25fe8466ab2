"""The tables fits, weights and predictions: datamodels of every target, and what they say about held-out masks.

Paper section 3: for each target a sparse linear map from mask to margin. All targets share the masks, so one set of
sufficient statistics serves every estimator (builders/regression). A fit is named by its estimator and the number of models
it used, `lasso-05000`: more models make a new fit, and old ones stay. Fits on fewer models, for the learning curve, keep
their predictions but not their weights. A fit starts from the totals alone and never from an older fit's weights: that would
save a third of a few seconds and make its bytes depend on the lake's history.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from builders import masks
from builders.study import Study
from builders.unit import Unit
from lake.errors import UsageError
from lake.partition import Partition
from lake.store import Lake
from lake.tables import TABLES

if TYPE_CHECKING:
    from builders.regression import Fit

NAME: str = "datamodels"
BUILDS: tuple[str, ...] = ("weights", "predictions", "fits")

SPLITS = ("test", "train")


def plan(study: Study) -> list[Unit]:
    """One unit a number of models, whose estimators share the totals; the largest first, so that no core waits for it."""
    sizes = {m for m in study.curve if m < study.models} | {study.models}
    return [_unit(study, m) for m in sorted(sizes, reverse=True)]


def build(lake: Lake, study: Study, unit: Unit) -> Iterator[tuple[Partition, pa.Table]]:
    """Fit every estimator of the study on the unit's models; UsageError when too few of them ended well."""
    from builders import fitting, totals

    n_models = unit.partitions[0].index
    splits = SPLITS if n_models == study.models else SPLITS[:1]
    sizes = totals.sizes(study)
    heldout = _heldout_masks(lake, study, sizes["train"])
    parts: dict[Partition, list[_Part]] = {partition: [] for partition in unit.partitions}
    try:
        for block in fitting.in_blocks(lake, study, n_models, splits):
            for split, inside, first in _by_split(block.targets, sizes["test"]):
                for partition in unit.partitions:
                    fit = block.fits[partition.role]
                    parts[partition].append(_part(partition, fit, split, inside, first, block.n_models, heldout))
    except ValueError as error:
        raise UsageError(f"study {study.name}, {n_models} models: {error}") from error
    for partition, found in parts.items():
        yield partition, _joined(partition, found, splits)


class _Part(NamedTuple):
    """What a block adds to a partition: rows, or for `predictions` columns [n_masks, n_targets] of its split."""

    split: str
    added: "pa.Table | NDArray[np.float32]"


def _part(
    partition: Partition, fit: "Fit", split: str, inside: slice, first: int, n_models: int, heldout: NDArray[np.float64]
) -> _Part:
    """Of the targets `inside` the fit, which stand from `first` on in their split."""
    match partition.table:
        case "fits":
            return _Part(split, fit_rows(partition, fit, split, inside, n_models, first))
        case "weights":
            return _Part(split, _weight_rows(partition, fit.weights[inside], split, first))
    return _Part(split, predicted(fit, inside, heldout))


def _joined(partition: Partition, parts: list[_Part], splits: tuple[str, ...]) -> pa.Table:
    if partition.table != "predictions":
        return pa.concat_tables([part.added for part in parts])
    whole = {split: np.concatenate([part.added for part in parts if part.split == split], 1) for split in splits}
    return pa.concat_tables([prediction_rows(partition, split, columns) for split, columns in whole.items()])


def _by_split(targets: slice, n_test: int) -> Iterator[tuple[str, slice, int]]:
    """Each split that the block reaches: where it stands in the block, and the first target_id; test examples come first."""
    for split, begin, end in (("test", 0, n_test), ("train", n_test, targets.stop)):
        start, stop = max(targets.start, begin), min(targets.stop, end)
        if start < stop:
            yield split, slice(start - targets.start, stop - targets.start), start - begin


def _unit(study: Study, n_models: int) -> Unit:
    tables = BUILDS if n_models == study.models else BUILDS[1:]
    partitions = tuple(Partition(table, study.name, estimator, n_models) for estimator in study.estimators for table in tables)
    heldout = tuple(masks.partitions(study, "heldout"))
    used = range(-(-n_models // study.partition_models))
    fit = tuple(Partition(table, study.name, "fit", i) for i in used for table in ("masks", "margins"))
    return Unit(NAME, partitions, fit + heldout, n_models)


def _heldout_masks(lake: Lake, study: Study, n_train: int) -> NDArray[np.float64]:
    """Held-out masks [n_masks, n_train] as 0 and 1, by mask_id."""
    numbers = enumerate(masks.partitions(study, "heldout"))
    packed = [masks.read(lake, each, len(masks.mask_ids(study, "heldout", index)), n_train) for index, each in numbers]
    return np.unpackbits(np.concatenate(packed), axis=1, count=n_train).astype(np.float64)


def fit_rows(partition: Partition, fit: "Fit", split: str, targets: slice, n_models: int, first: int = 0) -> pa.Table:
    """Rows of `fits` for targets of a split from `first` on, which lie at `targets` in the fit."""
    n = len(fit.bias[targets])
    columns = {
        **_owner(partition, split, n),
        "estimator": [partition.role] * n,
        "target_id": np.arange(first, first + n, dtype=np.int32),
        "lam": _nulls(fit.lam[targets]),
        "bias": fit.bias[targets],
        "mean_margin": fit.mean_margin[targets],
        "n_models": np.full(n, n_models, np.int32),
        "n_nonzero": fit.n_nonzero[targets].astype(np.int32),
        "validation_r": _nulls(fit.validation_r[targets]),
        "kkt": _nulls(fit.kkt[targets]),
        "duality_gap": _nulls(fit.duality_gap[targets]),
        "converged": fit.converged[targets],
    }
    return _table("fits", columns)


def _weight_rows(partition: Partition, weights: NDArray[np.float32], split: str, first: int) -> pa.Table:
    target, train = np.nonzero(weights)
    ids = {"target_id": (first + target).astype(np.int32), "train_id": train.astype(np.int32)}
    return _table("weights", {**_owner(partition, split, len(target)), **ids, "weight": weights[target, train]})


def predicted(fit: "Fit", targets: slice, heldout: NDArray[np.float64]) -> NDArray[np.float32]:
    """Predicted margins [n_masks, n_targets] of the held-out masks [n_masks, n_train]."""
    return (heldout @ fit.weights[targets].T.astype(np.float64) + fit.bias[targets]).astype(np.float32)


def prediction_rows(partition: Partition, split: str, margins: NDArray[np.float32]) -> pa.Table:
    """Rows of `predictions` from margins [n_masks, n_targets] of the held-out masks by mask_id."""
    n, n_targets = margins.shape
    offsets = pa.array(np.arange(n + 1, dtype=np.int32) * n_targets)
    kind = TABLES["predictions"].schema.field("predicted_margin").type
    lists = pa.ListArray.from_arrays(offsets, pa.array(margins.ravel()), type=kind)
    return _table(
        "predictions", {**_owner(partition, split, n), "mask_id": np.arange(n, dtype=np.int32), "predicted_margin": lists}
    )


def _owner(partition: Partition, split: str, n: int) -> dict[str, list[str]]:
    return {"study_id": [partition.value] * n, "fit": [partition.name] * n, "split": [split] * n}


def _table(name: str, columns: dict[str, Any]) -> pa.Table:
    return pa.table([columns[field.name] for field in TABLES[name].schema], schema=TABLES[name].schema)


def _nulls(values: NDArray) -> pa.Array:
    """Values with NULL in place of NaN."""
    return pa.array(values, mask=np.isnan(values))
