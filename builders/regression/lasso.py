"""The LASSO of each target, within initialisations (Ilyas et al. 2022, section 2): lambda chosen on held-out models,
then refitted on all of them, each result certified in float64.

    min_w  1/(2m) |y - Xw|^2 + lam sum_j p_j |w_j|,   y and X centred within initialisations, prices p one by default

A path of falling lambdas ends soon after the best held-out error, which skips its dense tail, where the time would go.
Unlike the paper's solver, which stops when coefficients stop changing, a fit says how far from optimal it is.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from builders.regression import device
from builders.regression.descent import refine, select
from builders.regression.fit import Fit, finish, joined, judge
from builders.regression.moments import Centred, centred
from builders.regression.statistics import Totals

MAX_KKT = 3e-5  # accuracy bar: violation of the optimality conditions, share of lambda_max
MAX_GAP = 2e-4  # accuracy bar: duality gap, share of the objective of zero weights
PATH_TOL = 3e-4  # on the path: chose the lambdas of 3e-5 for 796 of 797 digits targets, in 25 % less time
CHUNK = 64  # targets a thread takes at a time
MOST_COLUMNS = 10_000  # with more train examples and few models, a processor solves on the masks, not on a Gram
ROUNDS = 6  # refinements before a target counts as not converged


class Path(NamedTuple):
    """The lambdas to try: `n_lams`, geometric, from lambda_max down to `depth` of it, `patience` past the best."""

    n_lams: int = 30
    depth: float = 1e-2
    patience: int = 3


DEFAULT_PATH = Path()


class Choice(NamedTuple):
    """What the held-out models chose for each target.

    lam      [n_targets] float64
    weights  [n_targets, n_train] float32: of the fit part, at that lambda
    errors   [n_targets] float64: their held-out squared error
    """

    lam: np.ndarray
    weights: np.ndarray
    errors: np.ndarray


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


class Solver(Protocol):
    """Fit and held-out models, and a way to solve on them."""

    def choose(self, prices: np.ndarray, path: Path = DEFAULT_PATH) -> Choice:
        """Follow each target's path to the lambda with the lowest held-out error."""
        ...

    def settle(self, whole: Totals, prices: np.ndarray, choice: Choice) -> Fit:
        """Judge the chosen weights on held-out models, then refit them on all models."""
        ...


@dataclass(frozen=True)
class Descent:
    """Coordinate descent on the processor, one target at a time; float32 moments, and targets fitted at a time."""

    part: Centred
    held: Centred
    threads: int

    def choose(self, prices: np.ndarray, path: Path = DEFAULT_PATH) -> Choice:
        """As the function `choose`."""
        return choose(self.part, self.held, prices, path, self.threads)

    def settle(self, whole: Totals, prices: np.ndarray, choice: Choice) -> Fit:
        """As the function `settle`."""
        return settle(whole, self.held, prices, choice, self.threads)


def solver(fit: Totals, heldout: Totals, threads: int = 1) -> Solver:
    """How to solve here: batched FISTA where there is a CUDA device or the Gram would be out of proportion, else descent."""
    few = fit.pairs.counts is None and fit.n_train > MOST_COLUMNS
    if device.cuda() or few:
        import torch

        from builders.regression.batched import Batched

        return Batched(fit, heldout, torch.device(device.name()))
    return Descent(centred(fit), centred(heldout, around=fit), threads)


def lasso(
    fit: Totals,
    heldout: Totals,
    whole: Totals | None = None,
    *,
    prices: np.ndarray | None = None,
    first: Choice | None = None,
    by: Solver | None = None,
    path: Path = DEFAULT_PATH,
    threads: int = 1,
) -> Fit:
    """Fit every target with its own lambda.

    fit, heldout  models to fit on and to choose lambda on
    whole         the totals of both, if the caller has them
    prices        [n_targets, n_train] float32, positive: what a train example's weight costs; one without it
    first         what the held-out models chose at these prices, if the caller has it
    by            the solver of fit and heldout, if the caller has it
    path          the lambdas to try
    threads       targets fitted at a time; the result does not depend on it

    Raises ValueError if the totals differ in shape, or hold too few models, or a price is not positive.
    """
    whole = joined(fit, heldout, whole)
    prices = _checked(prices, fit)
    by = by or solver(fit, heldout, threads)
    return by.settle(whole, prices, first or by.choose(prices, path))


def choose(part: Centred, held: Centred, prices: np.ndarray, path: Path = DEFAULT_PATH, threads: int = 1) -> Choice:
    """Follow each target's path on the fit part to the lambda with the lowest held-out error.

    part, held  float32 moments of the fit part, and of the held-out one around its means
    prices      [n_targets, n_train] float32, positive
    """
    c, ch = np.ascontiguousarray(part.cross.T), np.ascontiguousarray(held.cross.T)
    lam, weights, errors = np.zeros(len(c), np.float32), np.zeros_like(c), np.zeros(len(c))
    grid = np.geomspace(1, path.depth, path.n_lams).astype(np.float32)

    def work(i: slice) -> None:
        moments = part.gram, c[i], held.gram, ch[i], held.square[i]
        select(*moments, prices[i], grid, np.float32(PATH_TOL), path.patience, lam[i], weights[i], errors[i])

    _spread(work, len(c), threads)
    return Choice(lam.astype(np.float64), weights, errors)


def settle(whole: Totals, held: Centred, prices: np.ndarray, choice: Choice, threads: int = 1) -> Fit:
    """Judge the chosen weights on held-out moments, then refit them on all models, each at its lambda and prices."""
    judged = judge(held, choice.weights)
    moments = centred(whole, dtype=np.float64)
    lam = np.where(choice.lam > 0, choice.lam, _lambda_max(moments, prices))  # constant in the fit part: no weights
    weights, proof = _refit(moments, prices, lam, choice.weights, threads)
    return finish(whole, weights, judged, lam, proof.kkt, proof.gap, proof.holds)


def _refit(
    moments: Centred, prices: np.ndarray, lam: np.ndarray, weights: np.ndarray, threads: int
) -> tuple[np.ndarray, Certificate]:
    """Solve from `weights` until every target's certificate holds, or the rounds are spent; float64 moments."""
    weights = weights.copy()
    gram, small = moments.gram.astype(np.float32), lam.astype(np.float32)
    top = _lambda_max(moments, prices)
    proof, todo = certify(moments, prices, lam, weights), np.arange(len(lam))
    for attempt in range(ROUNDS):
        g, w, p, one = proof.gradient[todo].astype(np.float32), weights[todo], prices[todo], small[todo]
        tol = (MAX_KKT / 2 * 0.2**attempt * top[todo]).astype(np.float32)
        _spread(lambda i: refine(gram, g[i], p[i], one[i], tol[i], w[i]), len(todo), threads)
        weights[todo] = w
        proof = certify(moments, prices, lam, weights)
        todo = np.flatnonzero(~proof.holds)
        if not len(todo):
            break
    return weights, proof


def _spread(work: Callable[[slice], None], n_targets: int, threads: int) -> None:
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda start: work(slice(start, start + CHUNK)), range(0, n_targets, CHUNK)))


def certify(moments: Centred, prices: np.ndarray, lam: np.ndarray, weights: np.ndarray) -> Certificate:
    """Check weights `[n_targets, n_train]` against lambdas `[n_targets]` on float64 moments.

    The gap is taken to the residual scaled into the dual's feasible set, with the best such scale.
    """
    w, c = weights.astype(np.float64), moments.cross.T
    g = c - w @ moments.gram
    bars = lam[:, None] * prices
    off = np.where(w != 0, np.abs(g - bars * np.sign(w)), np.maximum(np.abs(g) - bars, 0)) / prices
    along = moments.square - (c * w).sum(1)  # residual with margin
    own = along - (g * w).sum(1)  # residual with itself
    primal = own / 2 + (bars * np.abs(w)).sum(1)
    scale = np.clip(_share(along, own), 0, np.minimum(1, _share(lam, np.abs(g / prices).max(1))))
    dual = scale * along - scale**2 * own / 2
    return Certificate(g, _share(off.max(1), _lambda_max(moments, prices)), _share(primal - dual, moments.square / 2))


def _lambda_max(moments: Centred, prices: np.ndarray) -> np.ndarray:
    """The lambda of each target above which no weight is worth its price."""
    return np.abs(moments.cross.T / prices).max(1)


def _share(part: np.ndarray, of: np.ndarray) -> np.ndarray:
    """Quotient, zero where the divisor is."""
    return np.divide(part, of, out=np.zeros_like(part), where=of > 0)


def _checked(prices: np.ndarray | None, fit: Totals) -> np.ndarray:
    shape = fit.n_targets, fit.n_train
    if prices is None:
        return np.ones(shape, np.float32)
    if prices.shape != shape or not (np.isfinite(prices) & (prices > 0)).all():
        raise ValueError(f"prices are {prices.shape}; needed: {shape}, finite and positive")
    return np.ascontiguousarray(prices, np.float32)
