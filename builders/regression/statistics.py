"""Sufficient statistics of fitted models: everything a linear datamodel needs, in sums that add.

All targets share the masks, so one integer Gram and one cross product serve them all, and new models are added from
their own partitions without reading the old ones. Counts and sums are kept for each initialisation, so that masks and
margins can be centred within it (blocking: a model is compared only with models that began from the same weights,
which takes away most of the training noise; Ilyas et al. 2022 train every model from its own initialisation).

With x_i the mask and y_i the margin of model i, and (a, b) the means of its initialisation, the fit needs

    C = mean (x_i - a)(x_i - a)'      c = mean (x_i - a)(y_i - b)      v = mean (y_i - b)^2.

The Gram is exact. The other sums are float64, and exact too for float16 margins, which are multiples of 2^-24, as long
as the magnitudes of one target add to less than 2^29: then totals do not depend on the order of the models by a bit.
"""

import zlib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import NamedTuple
from zipfile import BadZipFile

import numpy as np

from builders.regression.gram import columns, count_pairs

BLOCK = 4096  # models unpacked at a time
ROWS = 512  # rows of the centred Gram computed at a time in float64
CONSTANT = 1e-12  # share of a target's mean square that is round-off: 5,000 float64 terms leave about 1e-14


@dataclass(frozen=True)
class Totals:
    """Sums over models.

    counts       [n_inits] int64: models of each initialisation
    mask_sums    [n_inits, n_train] int64: models of each initialisation that hold a train example
    margin_sums  [n_inits, n_targets] float64, in logits
    gram         [n_train, n_train] int32: models that hold both train examples
    cross        [n_train, n_targets] float64: sum of a target's margins over the models that hold a train example
    squares      [n_targets] float64: sum of squared margins
    """

    counts: np.ndarray
    mask_sums: np.ndarray
    margin_sums: np.ndarray
    gram: np.ndarray
    cross: np.ndarray
    squares: np.ndarray

    @property
    def n_models(self) -> int:
        """Number of models summed."""
        return int(self.counts.sum())

    @property
    def n_train(self) -> int:
        """Number of train examples, the columns of the masks."""
        return self.gram.shape[0]

    @property
    def n_targets(self) -> int:
        """Number of targets, the columns of the margins."""
        return self.squares.shape[0]

    @property
    def n_inits(self) -> int:
        """Size of the pool of initialisations, used or not."""
        return self.counts.shape[0]

    @property
    def mean_mask(self) -> np.ndarray:
        """Share of all models that hold a train example, `[n_train] float64`."""
        return self.mask_sums.sum(0) / self.n_models

    @property
    def mean_margin(self) -> np.ndarray:
        """Mean margin over all models, `[n_targets] float64`."""
        return self.margin_sums.sum(0) / self.n_models


class Centred(NamedTuple):
    """Moments of centred masks and margins, the means of a target or train example last.

    gram    [n_train, n_train] float32 or float64
    cross   [n_train, n_targets] float32 or float64
    square  [n_targets] float64: mean squared centred margin, the error of predicting no effect at all
    mask    [n_train] float64: mean centred mask; zero when centred on its own means
    margin  [n_targets] float64: mean centred margin; zero when centred on its own means
    """

    gram: np.ndarray
    cross: np.ndarray
    square: np.ndarray
    mask: np.ndarray
    margin: np.ndarray


def empty(n_train: int, n_targets: int, n_inits: int = 1) -> Totals:
    """Return the totals of no models."""
    return Totals(
        counts=np.zeros(n_inits, np.int64),
        mask_sums=np.zeros((n_inits, n_train), np.int64),
        margin_sums=np.zeros((n_inits, n_targets)),
        gram=np.zeros((n_train, n_train), np.int32),
        cross=np.zeros((n_train, n_targets)),
        squares=np.zeros(n_targets),
    )


def add(totals: Totals, masks: np.ndarray, margins: np.ndarray, init_ids: np.ndarray | None = None, threads: int = 1) -> Totals:
    """Add models to `totals` in place, and return it.

    masks     [n_models, ceil(n_train / 8)] uint8: packed bits, most significant first
    margins   [n_models, n_targets] float16 or float32, finite: leave failed models out
    init_ids  [n_models] int, positions in the pool; without it every model counts as initialisation 0

    Raises ValueError, and adds nothing, where shapes, types or ids do not fit, or a margin is not finite.
    """
    init_ids = np.zeros(len(masks), np.int64) if init_ids is None else np.asarray(init_ids)
    _check_models(totals, masks, margins, init_ids)
    for start in range(0, len(masks), BLOCK):
        block = slice(start, start + BLOCK)
        _add_block(totals, masks[block], margins[block].astype(np.float64), init_ids[block], threads)
    return totals


def _add_block(totals: Totals, masks: np.ndarray, margins: np.ndarray, init_ids: np.ndarray, threads: int) -> None:
    held = np.unpackbits(masks, axis=1, count=totals.n_train)
    count_pairs(columns(held), totals.gram, threads)
    present = held.astype(np.float64)
    member = (init_ids == np.arange(totals.n_inits)[:, None]).astype(np.float64)
    totals.counts[:] += np.bincount(init_ids, minlength=totals.n_inits)
    totals.mask_sums[:] += (member @ present).astype(np.int64)
    totals.margin_sums[:] += member @ margins
    totals.cross[:] += present.T @ margins
    totals.squares[:] += (margins * margins).sum(0)


def _check_models(totals: Totals, masks: np.ndarray, margins: np.ndarray, init_ids: np.ndarray) -> None:
    width = -(-totals.n_train // 8)
    if masks.dtype != np.uint8 or masks.ndim != 2 or masks.shape[1] != width:
        raise ValueError(
            f"masks are {masks.dtype} {masks.shape}; needed: packed uint8 [n_models, {width}] "
            f"for {totals.n_train} train examples (np.packbits(masks, axis=1))"
        )
    if margins.dtype not in (np.float16, np.float32) or margins.shape != (len(masks), totals.n_targets):
        raise ValueError(
            f"margins are {margins.dtype} {margins.shape}; needed: float16 or float32 [{len(masks)}, {totals.n_targets}]"
        )
    if init_ids.dtype.kind not in "iu" or init_ids.shape != (len(masks),):
        raise ValueError(f"init_ids are {init_ids.dtype} {init_ids.shape}; needed: integers [{len(masks)}]")
    if len(init_ids) and not 0 <= init_ids.min() <= init_ids.max() < totals.n_inits:
        raise ValueError(f"init_ids span {init_ids.min()} to {init_ids.max()}; needed: 0 to {totals.n_inits - 1}")
    finite = np.isfinite(margins).all(1)
    if not finite.all():
        raise ValueError(f"{(~finite).sum()} models have a margin that is not finite; leave failed models out")


def plus(a: Totals, b: Totals) -> Totals:
    """Return the totals of the models of both, leaving them as they are; ValueError if their shapes differ."""
    check_alike(a, b)
    return Totals(*(getattr(a, f.name) + getattr(b, f.name) for f in fields(Totals)))


def check_alike(a: Totals, b: Totals) -> None:
    """Raise ValueError unless both have the same train examples, targets and pool of initialisations."""
    for name in ("n_train", "n_targets", "n_inits"):
        if getattr(a, name) != getattr(b, name):
            raise ValueError(f"totals differ in {name}: {getattr(a, name)} and {getattr(b, name)}; it must be one")


def pooled(totals: Totals) -> Totals:
    """Return the same models as if of one initialisation, which switches centring within initialisations off."""
    sums = {name: getattr(totals, name).sum(0, keepdims=True) for name in ("counts", "mask_sums", "margin_sums")}
    return Totals(**sums, gram=totals.gram, cross=totals.cross, squares=totals.squares)


def save(totals: Totals, path: Path) -> None:
    """Write the totals to `path` as .npz."""
    with path.open("wb") as file:
        np.savez(file, **{f.name: getattr(totals, f.name) for f in fields(Totals)})


def load(path: Path) -> Totals:
    """Read totals that `save` wrote; ValueError if it is damaged or something else, without running any code in it."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return Totals(**{f.name: file[f.name] for f in fields(Totals)})
    except (BadZipFile, EOFError, KeyError, ValueError, zlib.error) as error:
        raise ValueError(f"{path} does not hold totals ({error}); delete it and rebuild it from the lake") from error


def centred(totals: Totals, around: Totals | None = None, dtype: type = np.float32) -> Centred:
    """Return the moments centred within initialisations, computed in float64 and then rounded to `dtype`.

    around: judge the models around the means of these totals instead (held-out models around those of the fit part),
    so that no degrees of freedom go into the means of a small part; an initialisation that they lack takes their
    overall mean.

    The moments of a constant mask column, and of a target constant but for its initialisations, are exactly zero: what
    is left of them is round-off, and a solver would fit it. Raises ValueError where there is nothing to centre, or the
    two differ in shape.
    """
    around = totals if around is None else around
    check_alike(totals, around)
    masks, more_masks = _means_and_excess(totals.mask_sums, totals.counts, around.mask_sums, around.counts)
    margins, more_margins = _means_and_excess(totals.margin_sums, totals.counts, around.margin_sums, around.counts)
    gram = np.empty(totals.gram.shape, dtype)
    for start in range(0, totals.n_train, ROWS):
        rows = slice(start, start + ROWS)
        taken = totals.mask_sums[:, rows].T @ masks + masks[:, rows].T @ more_masks
        gram[rows] = (totals.gram[rows] - taken) / totals.n_models
    cross = (totals.cross - totals.mask_sums.T @ margins - masks.T @ more_margins) / totals.n_models
    square = (totals.squares - (margins * (totals.margin_sums + more_margins)).sum(0)) / totals.n_models
    constant = square <= CONSTANT * totals.squares / totals.n_models
    cross[gram.diagonal() == 0] = 0
    return Centred(
        gram=gram,
        cross=np.where(constant, 0, cross).astype(dtype),
        square=np.where(constant, 0, square),
        mask=more_masks.sum(0) / totals.n_models,
        margin=more_margins.sum(0) / totals.n_models,
    )


def _means_and_excess(
    sums: np.ndarray, counts: np.ndarray, around_sums: np.ndarray, around_counts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Means of `around` per initialisation, overall where it has no models, and what `sums` exceed them by."""
    if not (counts.any() and around_counts.any()):
        raise ValueError("totals of no models have no means; add models first")
    means = around_sums / np.maximum(around_counts, 1)[:, None]
    means[around_counts == 0] = around_sums.sum(0) / around_counts.sum()
    return means, sums - counts[:, None] * means
