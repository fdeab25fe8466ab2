"""The LASSO of each target, within initialisations (Ilyas et al. 2022, section 2): lambda chosen on held-out models,
then refitted on all of them, each result certified in float64.

    min_w  1/(2m) |y - Xw|^2 + lam |w|_1,   y and X centred within initialisations

A path of falling lambdas ends soon after the best held-out error, which skips its dense tail, where the time would go.
Unlike the paper's solver, which stops when coefficients stop changing, a fit says how far from optimal it is.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from builders.regression.descent import refine, select
from builders.regression.fit import Fit, finish, joined, judge
from builders.regression.statistics import Centred, Totals, centred

MAX_KKT = 3e-5  # accuracy bar: violation of the optimality conditions, share of lambda_max
MAX_GAP = 2e-4  # accuracy bar: duality gap, share of the objective of zero weights
PATH_TOL = 1e-4  # on the path: chose the lambdas of 3e-5 for all of 797 digits targets, in 15 % less time
CHUNK = 64  # targets a thread takes at a time
ROUNDS = 6  # refinements before a target counts as not converged


class Certificate(NamedTuple):
    """How far weights are from optimal, from float64 moments.

    gradient  [n_targets, n_train] float64: c - C w
    kkt, gap  [n_targets] float64: shares of lambda_max and of the objective of zero weights; zero without either
    """

    gradient: np.ndarray
    kkt: np.ndarray
    gap: np.ndarray

    @property
    def holds(self) -> np.ndarray:
        """Whether the accuracy bar is met, `[n_targets] bool`."""
        return (self.kkt <= MAX_KKT) & (self.gap <= MAX_GAP)


def lasso(
    fit: Totals,
    heldout: Totals,
    whole: Totals | None = None,
    *,
    n_lams: int = 30,
    depth: float = 1e-2,
    patience: int = 3,
    threads: int = 1,
) -> Fit:
    """Fit every target with its own lambda.

    fit, heldout  models to fit on and to choose lambda on
    whole         the totals of both, if the caller has them
    n_lams, depth lambdas on the path, geometric from lambda_max down to this share of it
    patience      lambdas to go on for past the best
    threads       targets fitted at a time; the result does not depend on it

    Raises ValueError if the totals differ in shape, or hold too few models.
    """
    whole = joined(fit, heldout, whole)
    part, held = centred(fit), centred(heldout, around=fit)
    grid = np.geomspace(1, depth, n_lams).astype(np.float32)
    lam, weights = _choose(part, held, grid, patience, threads)
    judged = judge(held, weights)
    moments = centred(whole, dtype=np.float64)
    lam = np.where(lam > 0, lam, np.abs(moments.cross).max(0))  # a target constant in the fit part: no weights
    weights, proof = _refit(moments, lam, weights, threads)
    return finish(whole, weights, judged, lam, proof.kkt, proof.gap, proof.holds)


def _choose(part: Centred, held: Centred, grid: np.ndarray, patience: int, threads: int) -> tuple[np.ndarray, np.ndarray]:
    """Return each target's lambda and the fit part's weights there."""
    c, ch = np.ascontiguousarray(part.cross.T), np.ascontiguousarray(held.cross.T)
    lam, weights, errors = np.zeros(len(c), np.float32), np.zeros_like(c), np.zeros(len(c))

    def run(i: slice) -> None:
        select(
            *(part.gram, c[i], held.gram, ch[i], held.square[i]),
            *(grid, np.float32(PATH_TOL), patience, lam[i], weights[i], errors[i]),
        )

    _spread(run, len(c), threads)
    return lam.astype(np.float64), weights


def _refit(moments: Centred, lam: np.ndarray, weights: np.ndarray, threads: int) -> tuple[np.ndarray, Certificate]:
    """Solve from `weights` until every target's certificate holds, or the rounds are spent; float64 moments."""
    gram = moments.gram.astype(np.float32)
    top = np.abs(moments.cross).max(0)
    proof = certify(moments, weights, lam)
    todo = np.arange(len(lam))
    for attempt in range(ROUNDS):
        g, w = proof.gradient[todo].astype(np.float32), weights[todo]
        small = lam[todo].astype(np.float32), (0.5 * MAX_KKT * 0.2**attempt * top[todo]).astype(np.float32)
        _spread(lambda i: refine(gram, g[i], small[0][i], small[1][i], w[i]), len(todo), threads)
        weights[todo] = w
        proof = certify(moments, weights, lam)
        todo = np.flatnonzero(~proof.holds)
        if not len(todo):
            break
    return weights, proof


def _spread(work: Callable[[slice], None], n_targets: int, threads: int) -> None:
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda start: work(slice(start, start + CHUNK)), range(0, n_targets, CHUNK)))


def certify(moments: Centred, weights: np.ndarray, lam: np.ndarray) -> Certificate:
    """Check weights `[n_targets, n_train]` against lambdas `[n_targets]` on float64 moments.

    The gap is taken to the residual scaled into the dual's feasible set, with the best such scale.
    """
    w, c = weights.astype(np.float64), moments.cross.T
    g = c - w @ moments.gram
    top, reach = np.abs(c).max(1), np.abs(g).max(1)
    off = np.where(w != 0, np.abs(g - lam[:, None] * np.sign(w)), np.maximum(np.abs(g) - lam[:, None], 0)).max(1)
    along = moments.square - (c * w).sum(1)  # residual with margin
    own = along - (g * w).sum(1)  # residual with itself
    primal = own / 2 + lam * np.abs(w).sum(1)
    scale = np.clip(_share(along, own), 0, np.minimum(1, _share(lam, reach)))
    dual = scale * along - scale**2 * own / 2
    return Certificate(g, _share(off, top), _share(primal - dual, moments.square / 2))


def _share(part: np.ndarray, of: np.ndarray) -> np.ndarray:
    """Quotient, zero where the divisor is."""
    return np.divide(part, of, out=np.zeros_like(part), where=of > 0)
