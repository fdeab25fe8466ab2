"""A fitted linear datamodel of every target, and what every estimator needs to make one.

The predicted margin of a mask is bias + mask @ weights; a positive weight means that including the train example
raises the target's margin.
"""

from dataclasses import dataclass

import numpy as np

from builders.regression.moments import Centred
from builders.regression.statistics import Totals, check_alike, plus


@dataclass(frozen=True)
class Fit:
    """Linear datamodels, fitted on all models given, and judged on the held-out ones before those joined the fit.

    weights         [n_targets, n_train] float32: margin change per included train example, in logits
    bias            [n_targets] float64: mean margin minus mean mask @ weights, in logits
    lam             [n_targets] float64: the penalty chosen on held-out models; NaN where the estimator has none
    mean_margin     [n_targets] float64: over all models, in logits
    n_nonzero       [n_targets] int64: nonzero weights
    validation_mse  [n_targets] float64: held-out squared error around the means of each initialisation
    validation_r    [n_targets] float32: held-out correlation of predicted and actual; NaN for a constant prediction
    kkt             [n_targets] float64: violation of the optimality conditions, as a share of lambda_max; NaN where none
    duality_gap     [n_targets] float64: as a share of the objective of zero weights; NaN where there is none
    converged       [n_targets] bool: the estimator's accuracy bar holds
    """

    weights: np.ndarray
    bias: np.ndarray
    lam: np.ndarray
    mean_margin: np.ndarray
    n_nonzero: np.ndarray
    validation_mse: np.ndarray
    validation_r: np.ndarray
    kkt: np.ndarray
    duality_gap: np.ndarray
    converged: np.ndarray


def joined(fit: Totals, heldout: Totals, whole: Totals | None) -> Totals:
    """Return the totals to refit on, fit and held-out models together, once the parts are known to be sound.

    Raises ValueError if shapes differ, or there are too few models to fit within initialisations or to judge on.
    """
    check_alike(fit, heldout)
    used = int(np.count_nonzero(fit.counts))
    if fit.n_models < used + 2:
        raise ValueError(
            f"{fit.n_models} models to fit on, of {used} initialisations; needed: at least {used + 2}, "
            "since a mean is taken out for each; train more models, or count them all as one initialisation"
        )
    if heldout.n_models < 2:
        raise ValueError(f"{heldout.n_models} held-out models; needed: at least 2 to choose lambda on")
    if whole is None:
        return plus(fit, heldout)
    check_alike(fit, whole)
    if whole.n_models != fit.n_models + heldout.n_models:
        raise ValueError(
            f"the whole has {whole.n_models} models; needed: the {fit.n_models} to fit on and {heldout.n_models} held out"
        )
    return whole


def judge(held: Centred, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the squared error and the correlation of `weights [n_targets, n_train]` on held-out moments; see `skill`."""
    both = np.einsum("jt,tj->t", held.cross, weights, dtype=np.float64)
    spread = np.einsum("tj,tj->t", weights @ held.gram, weights, dtype=np.float64)
    return skill(held.square, held.margin, both, spread, weights @ held.mask, weights**2 @ held.gram.diagonal())


def skill(
    square: np.ndarray, margin: np.ndarray, both: np.ndarray, spread: np.ndarray, shift: np.ndarray, alone: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the squared error and the correlation of predictions, `[n_targets]`, float64 and float32.

    From held-out means `[n_targets]`: square and mean of the margin, margin with prediction, square and mean of the
    prediction, and the square that its weights would have one by one, by which round-off is measured. The correlation is
    NaN where prediction or target is constant.
    """
    of_prediction = spread - shift**2
    of_target = square - margin**2
    defined = (of_prediction > 1e-6 * alone) & (of_target > 1e-6 * square)
    scale = np.sqrt(np.where(defined, of_prediction * of_target, np.nan))
    return square - 2 * both + spread, ((both - shift * margin) / scale).astype(np.float32)


def finish(
    whole: Totals,
    weights: np.ndarray,
    judged: tuple[np.ndarray, np.ndarray],
    lam: np.ndarray | None = None,
    kkt: np.ndarray | None = None,
    duality_gap: np.ndarray | None = None,
    converged: np.ndarray | None = None,
) -> Fit:
    """Return the fit with these weights: bias, means and counts follow; what is not given is NaN, and converged."""
    none = np.full(whole.n_targets, np.nan)
    return Fit(
        weights=weights,
        bias=whole.mean_margin - weights @ whole.mean_mask,
        lam=none if lam is None else lam,
        mean_margin=whole.mean_margin,
        n_nonzero=np.count_nonzero(weights, axis=1),
        validation_mse=judged[0],
        validation_r=judged[1],
        kkt=none if kkt is None else kkt,
        duality_gap=none if duality_gap is None else duality_gap,
        converged=np.ones(whole.n_targets, bool) if converged is None else converged,
    )
