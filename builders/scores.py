"""The table scores: what other tools say about the same training examples and targets, beside our fits and judged like them.

One form comes in, whatever the tool: a parquet file with the columns split, target_id, train_id and score (a pair that is
left out has 0), or an .npy matrix [n_targets, n_train] of test targets. One sign convention holds: a positive score means
that including the example raises the target's margin. Tools differ in it, and a wrong sign looks like a bad tool, so the
study's own models decide: over those of the role `fit`, the sum of the scores of a model's subset must rise with the margin.

With the scores come a row of `fits` for each target and `predictions` of the held-out masks, so that every query that judges
a datamodel judges the tool too. For those the scores are brought to logits by one slope for all targets, which is positive,
so that no rank correlation within a target can see it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from builders.datamodels import SPLITS, fit_rows, predicted, prediction_rows
from builders.loop import provenance
from builders.regression import Fit
from builders.study import ESTIMATORS
from lake.errors import UsageError
from lake.parquet import Facts
from lake.partition import Partition, check_name
from lake.store import Lake
from lake.tables import TABLES

COLUMNS = ("split", "target_id", "train_id", "score")
JUDGES = 1_024
"""Fit models that tell the sign and the slope, at most."""
STANDARD_ERRORS = 3.0
"""A mean correlation this far from 0 tells a sign; its standard error is at most that of one target's, 1 / sqrt(models)."""
LEAST = 1e-3
"""Correlation that is made up for scores that say nothing, so that their order stays as it is."""

Matrix = NDArray[np.float32]


@dataclass(frozen=True)
class Source:
    """A file of scores, and what it does not say itself."""

    path: Path
    method: str
    """Name of the tool or method."""
    trainings: int
    """Models that the tool trained or was given, its cost."""
    sign: int = 1
    """-1 for a tool whose positive scores lower the margin (raise the loss)."""


class Judged(NamedTuple):
    """Scores of one split as the fit models see them: correlation [n_targets], and sums for one slope over all targets."""

    correlation: NDArray[np.float64]
    mean_margin: NDArray[np.float64]
    mean_sum: NDArray[np.float64]
    covariance: float
    variances: tuple[float, float]
    """Of the sums, and of the margins."""
    n_models: int


class Imported(NamedTuple):
    """What an import did: partitions added, and the mean correlation with the fit models' margins beside its bound."""

    added: list[Partition]
    correlation: float
    bound: float


def import_scores(lake: Lake, name: str, source: Source) -> Imported:
    """Publish the scores for study `name`; a second call with the same file adds nothing.

    UsageError for a file that does not fit the study or whose sign is wrong, ConflictError when the lake holds other scores
    under the method's name.
    """
    if source.method in ESTIMATORS or source.trainings < 0 or source.sign not in (1, -1):
        raise UsageError(
            f"method {source.method!r} with {source.trainings} trainings and sign {source.sign}: the method may not be an "
            f"estimator of ours ({', '.join(ESTIMATORS)}), trainings are 0 or more, the sign is 1 or -1"
        )
    owner = _owner(lake, name)
    n_train, sizes = _sizes(lake, owner)
    found = {split: source.sign * scores for split, scores in read(source.path, n_train, sizes).items()}
    judged = {split: _judge(lake, name, split, scores) for split, scores in found.items()}
    told = judged[min(judged)]  # test targets, where there are any
    correlation, bound = float(np.nan_to_num(told.correlation).mean()), STANDARD_ERRORS / np.sqrt(told.n_models)
    if correlation < -bound:
        raise UsageError(
            f"scores of {source.method} point the wrong way: over {told.n_models} models their sums correlate "
            f"{correlation:+.3f} with the margin (chance stays within {bound:.3f}). A positive score must mean that including "
            f"the example raises the margin: run again with --sign {-source.sign}"
        )
    added = []
    for partition, table in _tables(lake, name, source, found, judged):
        facts = replace(Facts(*_key(partition), owner.fingerprint, owner.identity), **provenance())
        added += [partition] if lake.publish(partition, table, facts).new else []
    return Imported(added, correlation, bound)


def read(path: Path, n_train: int, sizes: dict[str, int]) -> dict[str, Matrix]:
    """Scores [n_targets, n_train] by split; UsageError names what does not fit the study."""
    try:
        rows = np.load(path, allow_pickle=False) if path.suffix == ".npy" else pq.read_table(path)
    except (OSError, ValueError, EOFError, pa.ArrowException) as error:
        raise UsageError(f"{path} cannot be read as .parquet or as .npy ({' '.join(str(error).split())})") from error
    if isinstance(rows, np.ndarray):
        return {"test": _checked(path, rows, (sizes["test"], n_train))}
    if lacking := [name for name in COLUMNS if name not in rows.column_names]:
        raise UsageError(f"{path} has no column {', '.join(lacking)}: needed are {', '.join(COLUMNS)}")
    splits = rows["split"].to_numpy()
    if not len(splits) or (other := set(splits) - sizes.keys()):
        raise UsageError(f"{path}: split is {sorted(map(str, other)) if len(splits) else 'never'}; needed: {', '.join(sizes)}")
    return {
        split: _dense(path, rows.filter(pa.array(splits == split)), (sizes[split], n_train)) for split in sorted(set(splits))
    }


def _dense(path: Path, rows: pa.Table, shape: tuple[int, int]) -> Matrix:
    target, train = (rows[name].to_numpy() for name in ("target_id", "train_id"))
    for name, ids, n in (("target_id", target, shape[0]), ("train_id", train, shape[1])):
        if ids.dtype.kind not in "iu" or ids.min() < 0 or ids.max() >= n:
            raise UsageError(
                f"{path}: {name} is {ids.dtype} from {ids.min()} to {ids.max()}; needed: integers from 0 to {n - 1}"
            )
    pairs = target.astype(np.int64) * shape[1] + train
    if len(np.unique(pairs)) < len(pairs):
        raise UsageError(f"{path}: {len(pairs) - len(np.unique(pairs))} pairs of target_id and train_id come twice")
    found = np.zeros(shape, np.float32)
    found.flat[pairs] = rows["score"].to_numpy()
    return _checked(path, found, shape)


def _checked(path: Path, found: NDArray[Any], shape: tuple[int, int]) -> Matrix:
    if found.shape != shape:
        turned = " (it looks transposed)" if found.shape == shape[::-1] else ""
        raise UsageError(f"{path} has shape {found.shape}{turned}; needed: [n_targets, n_train] = {shape}")
    if found.dtype.kind not in "fiu" or not np.isfinite(found).all():
        raise UsageError(
            f"{path}: scores are of {found.dtype}, {(~np.isfinite(found)).sum()} not finite; needed: finite numbers"
        )
    return found.astype(np.float32)


def _owner(lake: Lake, name: str) -> Facts:
    """Facts of the study's first fit margins: who it is."""
    first = {p: s for p, s in lake.present("margins", check_name(name, "study")).items() if p.role == "fit" and p.index == 0}
    if not first:
        raise UsageError(f"{lake.root} has no fit margins of study {name!r}, which tell the sign: `make build-missing` first")
    return next(iter(lake.facts(first).values()))


def _sizes(lake: Lake, owner: Facts) -> tuple[int, dict[str, int]]:
    """Number of training examples, and of targets by split."""
    rows = lake.read(owner.partition, [f"{split}_margin" for split in SPLITS])
    lists = {split: rows[f"{split}_margin"].combine_chunks().drop_null() for split in SPLITS}
    sizes = {split: len(found[0]) for split, found in lists.items() if len(found)}
    return sizes.get("train") or owner.identity["adopted"]["n_train"], sizes


def _judge(lake: Lake, name: str, split: str, scores: Matrix) -> Judged:
    """How the sums of scores go with the margins of the first fit models."""
    sums, margins = [], []
    for partition in sorted(p for p in lake.present("margins", name) if p.role == "fit"):
        lists = lake.read(partition, [f"{split}_margin"])[f"{split}_margin"]
        masks = lake.read(Partition("masks", *_key(partition)[1:]), ["mask"])["mask"].filter(lists.is_valid())
        sums.append(_unpacked(masks, scores.shape[1]) @ scores.T)
        values = lists.combine_chunks().drop_null().flatten().to_numpy(zero_copy_only=False)
        margins.append(values.reshape(-1, len(scores)).astype(np.float32))
        if sum(map(len, sums)) >= JUDGES:
            break
    x, y = np.concatenate(sums).astype(np.float64), np.concatenate(margins).astype(np.float64)
    dx, dy = x - x.mean(0), y - y.mean(0)
    both, of_x, of_y = (dx * dy).sum(0), (dx**2).sum(0), (dy**2).sum(0)
    scale = np.sqrt(of_x * of_y)
    correlation = np.divide(both, scale, out=np.full(len(both), np.nan), where=scale > 0)
    return Judged(correlation, y.mean(0), x.mean(0), both.sum(), (of_x.sum(), of_y.sum()), len(x))


def _unpacked(masks: pa.ChunkedArray, n_train: int) -> Matrix:
    packed = np.frombuffer(b"".join(masks.to_pylist()), np.uint8).reshape(len(masks), -1)
    return np.unpackbits(packed, axis=1, count=n_train).astype(np.float32)


def _tables(
    lake: Lake, name: str, source: Source, scores: dict[str, Matrix], judged: dict[str, Judged]
) -> Iterator[tuple[Partition, pa.Table]]:
    """Each partition with its rows: the scores as they are, then what they say in logits."""
    whole = Partition("scores", name, source.method, 0)
    yield whole, pa.concat_tables(_rows(name, source.method, split, found) for split, found in scores.items())
    fits = {split: _fit(found, judged[split]) for split, found in scores.items()}
    heldout = [p for p in sorted(lake.present("masks", name)) if p.role == "heldout"]
    n_train = next(iter(scores.values())).shape[1]
    drawn = _unpacked(lake.scan(heldout, ["mask"])["mask"], n_train).astype(np.float64)
    partition = Partition("predictions", name, source.method, source.trainings)
    yield partition, pa.concat_tables(prediction_rows(partition, s, predicted(f, slice(None), drawn)) for s, f in fits.items())
    partition = Partition("fits", name, source.method, source.trainings)
    yield partition, pa.concat_tables(fit_rows(partition, f, s, slice(None), source.trainings) for s, f in fits.items())


def _rows(name: str, method: str, split: str, scores: Matrix) -> pa.Table:
    target, train = np.nonzero(scores)
    owner = {"study_id": [name] * len(target), "method": [method] * len(target), "split": [split] * len(target)}
    ids = {"target_id": target.astype(np.int32), "train_id": train.astype(np.int32)}
    return pa.table({**owner, **ids, "score": scores[target, train]}, schema=TABLES["scores"].schema)


def _fit(scores: Matrix, judged: Judged) -> Fit:
    """The scores as a datamodel in logits: one slope for all targets, and a bias for each."""
    of_sum, of_margin = judged.variances
    slope = max(judged.covariance / of_sum, LEAST * np.sqrt(of_margin / of_sum)) if of_sum > 0 else 0.0
    none = np.full(len(scores), np.nan)
    return Fit(
        weights=(slope * scores).astype(np.float32),
        bias=judged.mean_margin - slope * judged.mean_sum,
        lam=none,
        mean_margin=judged.mean_margin,
        n_nonzero=np.count_nonzero(scores, axis=1),
        validation_mse=none,
        validation_r=judged.correlation.astype(np.float32),
        kkt=none,
        duality_gap=none,
        converged=np.ones(len(scores), bool),
    )


def _key(partition: Partition) -> tuple[str, str, str, int]:
    return partition.table, partition.value, partition.role, partition.index
