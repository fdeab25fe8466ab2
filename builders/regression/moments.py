"""Moments of masks and margins centred within initialisations, which is all that an estimator needs of the totals.

Blocking: a model is compared only with models that began from the same weights, which takes away most of the training
noise (Ilyas et al. 2022 train every model from its own initialisation). With x_i the mask and y_i the margin of model i,
and (a, b) the means of its initialisation,

    C = mean (x_i - a)(x_i - a)'      c = mean (x_i - a)(y_i - b)      v = mean (y_i - b)^2.
"""

from typing import NamedTuple

import numpy as np

from builders.regression.statistics import Totals, check_alike

ROWS = 512  # rows of the centred Gram computed at a time in float64
CONSTANT = 1e-12  # share of a target's mean square that is round-off: 5,000 float64 terms leave about 1e-14


class Targets(NamedTuple):
    """Moments of targets, and means, without the Gram; as in `Centred`, in float64."""

    cross: np.ndarray
    square: np.ndarray
    mask: np.ndarray
    margin: np.ndarray


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
    own = targets(totals, around)
    means, excess = masks_around(totals, around)
    counts = totals.gram
    gram = np.empty(counts.shape, dtype)
    for start in range(0, totals.n_train, ROWS):
        rows = slice(start, start + ROWS)
        taken = totals.mask_sums[:, rows].T @ means + means[:, rows].T @ excess
        gram[rows] = (counts[rows] - taken) / totals.n_models
    return Centred(gram, own.cross.astype(dtype), *own[1:])


def targets(totals: Totals, around: Totals) -> Targets:
    """Everything of `centred` but the Gram, in float64."""
    check_alike(totals, around)
    masks, more_masks = masks_around(totals, around)
    margins, more_margins = _means_and_excess(totals.margin_sums, totals.counts, around.margin_sums, around.counts)
    cross = (totals.cross - totals.mask_sums.T @ margins - masks.T @ more_margins) / totals.n_models
    square = (totals.squares - (margins * (totals.margin_sums + more_margins)).sum(0)) / totals.n_models
    constant = square <= CONSTANT * totals.squares / totals.n_models
    # whole numbers, and exact, where the column is constant
    taken = (totals.mask_sums * masks + masks * more_masks).sum(0)
    cross[totals.mask_sums.sum(0) == taken] = 0
    return Targets(
        cross=np.where(constant, 0, cross),
        square=np.where(constant, 0, square),
        mask=more_masks.sum(0) / totals.n_models,
        margin=more_margins.sum(0) / totals.n_models,
    )


def masks_around(totals: Totals, around: Totals) -> tuple[np.ndarray, np.ndarray]:
    """Mean masks of `around`, and what the mask sums exceed them by, both `[n_inits, n_train] float64`."""
    return _means_and_excess(totals.mask_sums, totals.counts, around.mask_sums, around.counts)


def _means_and_excess(
    sums: np.ndarray, counts: np.ndarray, around_sums: np.ndarray, around_counts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Means of `around` per initialisation, overall where it has no models, and what `sums` exceed them by."""
    if not (counts.any() and around_counts.any()):
        raise ValueError("totals of no models have no means; add models first")
    means = around_sums / np.maximum(around_counts, 1)[:, None]
    means[around_counts == 0] = around_sums.sum(0) / around_counts.sum()
    return means, sums - counts[:, None] * means
