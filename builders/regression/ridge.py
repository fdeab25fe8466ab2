"""Ridge regression of each target, within initialisations, with a lambda of its own chosen on held-out models.

    min_w  1/(2m) |y - Xw|^2 + lam/2 |w|^2,   so that  (C + lam I) w = c

One eigendecomposition serves all lambdas and targets. Where datamodels are not sparse it beats the LASSO.
"""

import numpy as np

from builders.regression.fit import Fit, finish, joined, judge
from builders.regression.moments import Centred, centred
from builders.regression.statistics import Totals


def ridge(
    fit: Totals,
    heldout: Totals,
    whole: Totals | None = None,
    *,
    n_lams: int = 25,
    lowest: float = 1e-2,
    highest: float = 1e3,
    threads: int = 1,
) -> Fit:
    """Fit every target with its own lambda.

    fit, heldout     models to fit on and to choose lambda on
    whole            the totals of both, if the caller has them
    n_lams           lambdas tried, geometric from `lowest` to `highest` times the mean eigenvalue of C
    threads          ignored: the products are the matrix library's, which has its own setting

    Raises ValueError if the totals differ in shape, or hold too few models.
    """
    whole = joined(fit, heldout, whole)
    part, held = centred(fit, dtype=np.float64), centred(heldout, around=fit)
    values, vectors = _eigen(part)
    grid = values.mean() * np.geomspace(lowest, highest, n_lams)
    lam = grid[_errors(part, held, values, vectors, grid).argmin(0)]
    judged = judge(held, _solve(part, values, vectors, lam))
    moments = centred(whole, dtype=np.float64)
    weights = _solve(moments, *_eigen(moments), lam)
    return finish(whole, weights, judged, lam, kkt=_residual(moments, weights, lam))


def _eigen(moments: Centred) -> tuple[np.ndarray, np.ndarray]:
    values, vectors = np.linalg.eigh(moments.gram)
    return np.maximum(values, 0), vectors


def _errors(part: Centred, held: Centred, values: np.ndarray, vectors: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Held-out squared error `[n_lams, n_targets]`, everything turned to the eigenvectors of the fit part."""
    turn = vectors.astype(np.float32)
    pull, gram, cross = turn.T @ part.cross.astype(np.float32), turn.T @ held.gram @ turn, turn.T @ held.cross
    errors = np.empty((len(grid), len(held.square)))
    for i, lam in enumerate(grid):
        w = pull / (values + lam).astype(np.float32)[:, None]
        errors[i] = held.square + np.einsum("jt,jt->t", w, gram @ w - 2 * cross, dtype=np.float64)
    return errors


def _solve(moments: Centred, values: np.ndarray, vectors: np.ndarray, lam: np.ndarray) -> np.ndarray:
    """Weights `[n_targets, n_train] float32` at each target's lambda."""
    w = vectors @ ((vectors.T @ moments.cross) / (values[:, None] + lam))
    return np.ascontiguousarray(w.T, np.float32)


def _residual(moments: Centred, weights: np.ndarray, lam: np.ndarray) -> np.ndarray:
    """Largest entry of c - (C + lam I) w, as a share of the largest of c."""
    c = moments.cross.T
    off = np.abs(c - weights @ moments.gram - lam[:, None] * weights).max(1)
    top = np.abs(c).max(1)
    return np.divide(off, top, out=np.zeros_like(off), where=top > 0)
