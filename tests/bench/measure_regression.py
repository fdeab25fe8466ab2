"""The LASSO path of many targets that share their masks: ours against scikit-learn with the Gram shared, and against celer.

All follow the same 30 lambdas from lambda_max to a hundredth of it. Peers climb a ladder of tolerances to the first whose
worst duality gap over targets and lambdas is at most 2e-4 of the null objective, in float64; ours also judges every lambda
on held-out models, and so does scikit-learn's side by the same moments; ours is held to the gap where its path ends.
`lasso_job_vs_sklearn` is the whole job of a target: choose lambda on held-out models, then refit on all.
"""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch
from celer import celer_path
from sklearn.linear_model import lasso_path
from timing import Row, faster, in_turns

from builders import regression
from builders.regression import lasso
from builders.regression.batched import Batched
from builders.regression.moments import Centred, centred
from builders.regression.statistics import Totals

N_TRAIN, N_MODELS, TARGETS, SOME, MAX_GAP = 1_000, 5_000, 60, 15, 2e-4
GRID = np.geomspace(1, 1e-2, 30)
SKLEARN = "scikit-learn lasso_path, shared Gram, float32"


def lasso_vs_sklearn_shared_gram() -> Row:
    """CPU milliseconds a target: ours against `lasso_path(precompute=Gram, Xy=...)` in float32, its fastest form."""
    _, _, fit, held = _problem()
    return _row(fit, held, _sklearn(held), SOME, SKLEARN)


def lasso_job_vs_sklearn() -> Row:
    """CPU milliseconds a target for the whole job, certificates in float64 included on our side."""
    _, _, fit, held = _problem()
    follow, part = _sklearn(held), centred(fit)
    prices, tol = np.ones((TARGETS, N_TRAIN), np.float32), 1e-4

    def ours() -> None:
        lasso.settle(fit, held, prices, lasso.choose(part, held, prices))

    alone, theirs = in_turns(ours, lambda: follow(tol, refit=True), rounds=3)
    return faster(1e3 * alone / TARGETS, 1e3 * theirs / SOME, SKLEARN, "CPU milliseconds a target")


def batched_vs_descent() -> Row:
    """CPU milliseconds a target for the whole job: the code that CUDA devices run, on the processor, against its own solver."""
    parts, ours, note = _batched_job()
    fit, whole, prices = parts[0], regression.plus(*parts), np.ones((TARGETS, N_TRAIN), np.float32)
    part, held = centred(fit), centred(parts[1], around=fit)

    def descent() -> None:
        lasso.settle(whole, held, prices, lasso.choose(part, held, prices))

    batched, alone = in_turns(ours, descent, rounds=3)
    return faster(1e3 * batched / TARGETS, 1e3 * alone / TARGETS, "coordinate descent", "CPU milliseconds a target", note=note)


def batched_vs_sklearn() -> Row:
    """The same against scikit-learn with the Gram shared."""
    parts, ours, note = _batched_job()
    follow = _sklearn(centred(parts[1], around=parts[0]))
    batched, theirs = in_turns(ours, lambda: follow(1e-4, refit=True), rounds=3)
    return faster(1e3 * batched / TARGETS, 1e3 * theirs / SOME, SKLEARN, "CPU milliseconds a target", note=note)


def _batched_job() -> tuple[list[Totals], Callable[[], None], str]:
    torch.set_num_threads(1)
    parts, prices = _parts(), np.ones((TARGETS, N_TRAIN), np.float32)
    whole, solver = regression.plus(*parts), Batched(*parts, torch.device("cpu"))

    def job() -> None:
        solver.settle(whole, prices, solver.choose(prices))

    fit = solver.settle(whole, prices, solver.choose(prices))
    return parts, job, f"worst gap {fit.duality_gap.max():.1e}, {fit.n_nonzero.mean():.0f} nonzero, on the processor"


def _sklearn(held: Centred) -> Callable[..., np.ndarray]:
    """Paths [n_targets, n_train, n_lams] by scikit-learn, each judged on held-out moments; `refit` follows it again."""
    rows, outputs, fit, _ = _problem()
    x = np.asfortranarray(rows - rows.mean(0), np.float32)
    y = np.ascontiguousarray((outputs - outputs.mean(0)).T, np.float32)
    gram, cross, lams = np.ascontiguousarray(x.T @ x), y @ x, _lams(fit)

    def follow(t: int, upto: int, tol: float) -> np.ndarray:
        keys = {"precompute": gram, "tol": tol, "max_iter": 10_000, "check_input": False}
        return lasso_path(x, y[t], alphas=lams[t][:upto], Xy=cross[t], **keys)[1]

    def peer(tol: float, targets: int = SOME, refit: bool = False) -> np.ndarray:
        paths = []
        for t in range(targets):
            paths.append(follow(t, len(GRID), tol))
            errors = np.einsum("jl,jl->l", paths[t], held.gram @ paths[t] - 2 * held.cross[:, t, None])
            if refit:
                follow(t, int(errors.argmin()) + 1, tol)
        return np.stack(paths)

    return peer


def lasso_vs_celer() -> Row:
    """CPU milliseconds a target: ours against celer's path on the rows, three targets."""
    rows, outputs, fit, held = _problem()
    x, y, lams = np.asfortranarray(rows - rows.mean(0)), outputs - outputs.mean(0), _lams(fit)

    def peer(tol: float, targets: int = 3) -> np.ndarray:
        return np.stack([celer_path(x, y[:, t], "lasso", alphas=lams[t], tol=tol)[1] for t in range(targets)])

    return _row(fit, held, peer, 3, "celer")


def _row(fit: Totals, held: Centred, peer: Callable[[float], np.ndarray], targets: int, name: str) -> Row:
    moments, part = centred(fit, dtype=np.float64), centred(fit)
    prices = np.ones((TARGETS, N_TRAIN), np.float32)
    path = lasso.Path(patience=len(GRID))
    tol = next(tol for tol in (1e-3, 3e-4, 1e-4, 3e-5, 1e-5, 1e-6) if _gap(moments, peer(tol), fit) <= MAX_GAP or tol == 1e-6)
    ours, theirs = in_turns(lambda: lasso.choose(part, held, prices, path), lambda: peer(tol), rounds=3)
    whole = lasso.settle(fit, held, prices, lasso.choose(part, held, prices, path))
    note = f"worst gap {whole.duality_gap.max():.1e}, peer {_gap(moments, peer(tol), fit):.1e} at tol {tol:g}"
    return faster(1e3 * ours / TARGETS, 1e3 * theirs / targets, name, "CPU milliseconds a target", note=note)


def _problem() -> tuple[np.ndarray, np.ndarray, Totals, Centred]:
    """Rows, outputs, fit totals of all rows, held-out moments."""
    rows, outputs = _rows()
    every = regression.add(regression.empty(N_TRAIN, TARGETS), np.packbits(rows.astype(bool), axis=1), outputs)
    return rows, outputs.astype(np.float64), every, centred(_parts()[1], around=every)


def _parts() -> list[Totals]:
    """Totals of four fifths of the rows and of one fifth."""
    rows, outputs = _rows()
    apart = np.arange(N_MODELS) % 5 == 4
    return [
        regression.add(regression.empty(N_TRAIN, TARGETS), np.packbits(rows[r].astype(bool), axis=1), outputs[r])
        for r in (~apart, apart)
    ]


@lru_cache
def _rows() -> tuple[np.ndarray, np.ndarray]:
    """Fixed-size masks, and margins of 20 to 100 planted effects a target and noise."""
    rng = np.random.default_rng(1)
    rows = (rng.random((N_MODELS, N_TRAIN)).argsort(1) < N_TRAIN // 2).astype(np.float64)
    effects = np.zeros((N_TRAIN, TARGETS))
    for t in range(TARGETS):
        some = rng.choice(N_TRAIN, rng.integers(20, 100), replace=False)
        effects[some, t] = rng.standard_t(4, len(some))
    signal = rows @ effects
    return rows, (signal + rng.normal(size=signal.shape) * signal.std(0)).astype(np.float16)


def _lams(fit: Totals) -> np.ndarray:
    """Lambdas [n_targets, n_lams]."""
    return np.abs(centred(fit, dtype=np.float64).cross).max(0)[:, None] * GRID


def _gap(moments: Centred, paths: np.ndarray, fit: Totals) -> float:
    """Worst duality gap, as a share of the null objective, over paths [n_targets, n_train, n_lams]."""
    worst, lams = 0.0, _lams(fit)
    for t, path in enumerate(paths):
        one = Centred(
            moments.gram, moments.cross[:, t : t + 1].repeat(len(GRID), 1), moments.square[t].repeat(len(GRID)), *moments[3:]
        )
        proof = lasso.certify(one, np.ones_like(path.T, dtype=np.float32), lams[t], path.T.astype(np.float32))
        worst = max(worst, float(proof.gap.max()))
    return worst


BENCHES = {
    "lasso_vs_sklearn_shared_gram": lasso_vs_sklearn_shared_gram,
    "lasso_job_vs_sklearn": lasso_job_vs_sklearn,
    "lasso_vs_celer": lasso_vs_celer,
    "batched_vs_descent": batched_vs_descent,
    "batched_vs_sklearn": batched_vs_sklearn,
}
