"""Weights that others have fitted: released `.pt` files as the tables fits, weights and predictions of an adopted study.

A file holds `weight` [n_train, n_targets], `bias` and `lam` [n_targets]. The code of the paper fits on standardised columns and
saves what it fitted; whether published weights were brought back to 0/1 columns is written nowhere. So the study's own
models tell: margins are regressed on `mask @ weight`. A slope of 1 means raw, 1 / s means standardised (s = sqrt(alpha
(1 - alpha)), so 2 at one half). The bias must say the same: raw ones meet the mean margin at `bias + share @ weight`,
standardised ones at `bias`. Weights enter the lake raw. Tensors alone are read, by memory map: no pickle runs.
"""

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from builders import adopt_source
from builders.adopt_source import Source, Survey, check_source, read_models
from lake.errors import UsageError
from lake.partition import Partition
from lake.store import Lake
from lake.tables import TABLES

FORMS = ("raw", "standardised")
ESTIMATOR = "lasso"
BLOCK = 1 << 22
"""Weights read at once [numbers]: 16 MB, and ten times as much as rows of a table where none of them is 0."""
JUDGES, TARGETS, GROUPS = 2_000, 200, 10
"""Models and targets that tell the form, at most; and groups of models, whose slopes tell how sure that is."""
STANDARD_ERRORS = 3.0


class Weights(NamedTuple):
    """Tensors of one file, still on disk."""

    weight: Any
    bias: NDArray[np.float64]
    lam: NDArray[np.float64]
    """NaN where the file has none."""


def read(path: Path, n_train: int, n_targets: int) -> Weights:
    """The tensors of a `.pt` file; UsageError names what does not fit."""
    import torch  # takes a second to import

    try:
        found = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        raise UsageError(f"{path} cannot be read as tensors alone ({' '.join(str(error).split())[:200]})") from error
    if not isinstance(found, dict) or not {"weight", "bias"} <= found.keys():
        raise UsageError(f"{path} holds no dict of `weight` and `bias`: needed as the released datamodels have them")
    shape = tuple(found["weight"].shape)
    if shape != (n_train, n_targets) or found["bias"].numel() != n_targets:
        turned = " (it looks transposed)" if shape == (n_targets, n_train) else ""
        raise UsageError(f"{path} has weights {shape}{turned}; needed: [n_train, n_targets] = {(n_train, n_targets)}")
    lam = found["lam"].double().reshape(-1).numpy() if "lam" in found else np.full(n_targets, np.nan)
    return Weights(found["weight"], found["bias"].double().reshape(-1).numpy(), lam)


def forms(source: Source, survey: Survey) -> dict[str, dict[str, Any]]:
    """By split with weights: `form`, and the `slope` that told it; UsageError when slope and bias do not agree."""
    if source.form not in ("", *FORMS):
        raise UsageError(f"form {source.form!r} of weights: choose {' or '.join(FORMS)}, or leave it out")
    return {split: _form(source, survey, split, path) for split, path in _files(source).items()}


def tables(
    lake: Lake, source: Source, name: str, survey: Survey, told: dict[str, dict[str, Any]]
) -> Iterator[tuple[Partition, pa.Table]]:
    """The partitions of fits, weights and predictions, a block of targets or of masks at a time."""
    n_models, (at, at_masks) = len(check_source(source).masks) - source.heldout, (0, 0)
    role = f"{ESTIMATOR}-{n_models:05d}"
    for split, path in _files(source).items():
        mean, size = _mean_margins(source, split), max(1, BLOCK // len(survey.share))
        with lake.files.staging() as scratch:
            predicted = np.memmap(scratch, np.float32, "w+", shape=(max(source.heldout, 1), len(mean)))
            for first in range(0, len(mean), size):
                block = _block(
                    read(path, len(survey.share), len(mean)), slice(first, first + size), survey, told[split]["form"]
                )
                predicted[: source.heldout, first : first + size] = _predict(source, block)
                for table, made in _rows(name, role, split, first, block, mean[first : first + size], n_models):
                    yield Partition(table, name, role, at), made
                at += 1
            for first in range(0, source.heldout, adopt_source.MODELS):
                yield (
                    Partition("predictions", name, role, at_masks),
                    _predictions(name, role, split, first, predicted[first : min(first + adopt_source.MODELS, source.heldout)]),
                )
                at_masks += 1


def table_of(name: str, columns: dict[str, Any]) -> pa.Table:
    """Columns as a table of the lake."""
    schema = TABLES[name].schema
    made = {n: c if isinstance(c, pa.Array) else pa.array(c, schema.field(n).type) for n, c in columns.items()}
    return pa.table([made[n] for n in schema.names], schema=schema)


def _files(source: Source) -> dict[str, Path]:
    return {s: path for s, path in (("test", source.test_weights), ("train", source.train_weights)) if path}


def _n_targets(source: Source, split: str) -> int:
    maps = check_source(source)
    found = maps.test if split == "test" else maps.train
    if found is None:
        raise UsageError(f"weights of {split} targets need their margins, which tell whether the weights are raw")
    return found.shape[1]


def _form(source: Source, survey: Survey, split: str, path: Path) -> dict[str, Any]:
    n_targets = _n_targets(source, split)
    found = read(path, len(survey.share), n_targets)
    targets = np.unique(np.linspace(0, n_targets - 1, TARGETS).astype(int))
    weight = found.weight[:, targets].float().numpy()
    sums, margins = _judged(source, weight, split, targets)
    slopes = [_slope(x, y) for x, y in zip(np.array_split(sums, GROUPS), np.array_split(margins, GROUPS), strict=True)]
    slope, error = _slope(sums, margins), float(np.std(slopes, ddof=1) / np.sqrt(GROUPS))
    spread = np.sqrt(survey.share * (1 - survey.share)).mean()
    between = 1 / np.sqrt(spread)  # half-way between 1 and 1 / s, in logarithms
    form = FORMS[int(slope > between)]
    off = {
        "raw": _standard_errors(margins - sums, found.bias[targets]),
        "standardised": _standard_errors(margins, found.bias[targets]),
    }
    agree = off[form] <= max(STANDARD_ERRORS, min(off.values()))
    if not source.form and not (agree and slope > 0 and abs(slope - between) > STANDARD_ERRORS * error):
        raise UsageError(
            f"{path}: margins rise by {slope:.2f} (standard error {error:.2f}) for each unit of mask @ weight, where raw "
            f"weights have 1 and standardised ones {1 / spread:.2f}; the bias is off by {off['raw']:.1f} standard errors if "
            f"they are raw, by {off['standardised']:.1f} if not. Say which by --form"
        )
    return {"form": source.form or form, "slope": float(f"{slope:.3g}")}


def _standard_errors(values: NDArray[np.float64], expected: NDArray[np.float64]) -> float:
    """Root mean square over targets of the standard errors from `expected` to the mean of `values` [n_models, n_targets]."""
    error = values.std(0, ddof=1) / np.sqrt(len(values))
    return float(np.sqrt(np.mean(((values.mean(0) - expected) / np.maximum(error, 1e-12)) ** 2)))


def _judged(
    source: Source, weight: NDArray[np.float32], split: str, targets: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """mask @ weight and margin of models, held-out ones where there are enough [n_models, n_targets each]."""
    n_models = len(check_source(source).masks)
    first = n_models - (source.heldout if source.heldout >= GROUPS * 2 else min(n_models, JUDGES))
    sums, margins = [], []
    for at in range(first, min(first + JUDGES, n_models), adopt_source.MODELS):
        models = read_models(source, slice(at, min(at + adopt_source.MODELS, n_models)))
        ok = models.status == "ok"
        sums.append(_product(models.masks[ok], weight))
        margins.append(models.margins[split][ok][:, targets])
    x, y = np.concatenate(sums).astype(np.float64), np.concatenate(margins).astype(np.float64)
    if len(x) < 2 * GROUPS:
        raise UsageError(f"{len(x)} models ended well: at least {2 * GROUPS} are needed to tell whether weights are raw")
    return x, y


def _slope(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Least squares within targets: how much y rises with x."""
    dx, dy = x - x.mean(0), y - y.mean(0)
    return float((dx * dy).sum() / max((dx**2).sum(), 1e-300))


def _product(masks: NDArray[np.bool_], weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """masks @ weight [n_models, n_targets], a few masks at a time: they grow fourfold as numbers."""
    step = max(1, BLOCK // masks.shape[1])
    parts = [masks[a : a + step].astype(np.float32) @ weight for a in range(0, len(masks), step)]
    return np.concatenate(parts) if parts else np.zeros((0, weight.shape[1]), np.float32)


def _block(found: Weights, targets: slice, survey: Survey, form: str) -> Weights:
    """Raw weights [n_train, n], biases and penalties [n] of some targets, in memory."""
    weight = np.array(found.weight[:, targets].float().numpy())
    bias, lam = found.bias[targets], found.lam[targets]
    if form == "raw":
        return Weights(weight, bias, np.full(len(bias), np.nan))  # in which form its penalty is, nobody wrote
    spread = np.sqrt(survey.share * (1 - survey.share))
    weight *= np.divide(1, spread, out=np.zeros_like(spread), where=spread > 0).astype(np.float32)[:, None]
    return Weights(weight, bias - survey.share @ weight.astype(np.float64), lam * spread.mean())


def _predict(source: Source, block: Weights) -> NDArray[np.float32]:
    """Predicted margins of the held-out masks [n_masks, n]."""
    n_models = len(check_source(source).masks)
    parts = [np.zeros((0, len(block.bias)), np.float32)]
    for at in range(n_models - source.heldout, n_models, adopt_source.MODELS):
        masks = np.asarray(check_source(source).masks[at : min(at + adopt_source.MODELS, n_models)], bool)
        parts.append((_product(masks, block.weight) + block.bias).astype(np.float32))
    return np.concatenate(parts)


def _mean_margins(source: Source, split: str) -> NDArray[np.float64]:
    """Mean margin over the fit models that ended well [n_targets]."""
    last, total, n = len(check_source(source).masks) - source.heldout, np.zeros(_n_targets(source, split)), 0
    for at in range(0, last, adopt_source.MODELS):
        models = read_models(source, slice(at, min(at + adopt_source.MODELS, last)))
        ok = models.status == "ok"
        total, n = total + models.margins[split][ok].sum(0, dtype=np.float64), n + int(ok.sum())
    return total / max(n, 1)


def _rows(
    name: str, fit: str, split: str, first: int, block: Weights, mean: NDArray[np.float64], n_models: int
) -> Iterator[tuple[str, pa.Table]]:
    """Rows of weights and fits for targets that begin at `first`."""
    n, nothing = len(mean), [None] * len(mean)
    target, train = np.nonzero(block.weight.T)
    ids = {"target_id": target + first, "train_id": train, "weight": block.weight[train, target]}
    yield "weights", table_of("weights", {**_owner(name, fit, split, len(target)), **ids})
    told = {"lam": pa.array(block.lam, mask=np.isnan(block.lam)), "bias": block.bias, "mean_margin": mean}
    counts = {"n_models": np.full(n, n_models), "n_nonzero": np.bincount(target, minlength=n), "converged": np.ones(n, bool)}
    own = {"estimator": [ESTIMATOR] * n, "target_id": np.arange(first, first + n)}
    unknown = dict.fromkeys(("validation_r", "kkt", "duality_gap"), nothing)
    yield "fits", table_of("fits", {**_owner(name, fit, split, n), **own, **told, **counts, **unknown})


def _predictions(name: str, fit: str, split: str, first: int, values: NDArray[np.float32]) -> pa.Table:
    n, n_targets = values.shape
    offsets = pa.array(np.arange(n + 1, dtype=np.int32) * n_targets)
    kind = TABLES["predictions"].schema.field("predicted_margin").type
    lists = pa.ListArray.from_arrays(offsets, pa.array(np.array(values).ravel()), type=kind)
    columns = {**_owner(name, fit, split, n), "mask_id": np.arange(first, first + n), "predicted_margin": lists}
    return table_of("predictions", columns)


def _owner(name: str, fit: str, split: str, n: int) -> dict[str, pa.Array]:
    return {"study_id": pa.repeat(name, n), "fit": pa.repeat(fit, n), "split": pa.repeat(split, n)}
