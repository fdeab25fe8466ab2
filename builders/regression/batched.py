"""The LASSO of many targets at a time in torch: the path, the refit on all models and its certificates in float64.

What builders/regression/lasso.py does one target at a time on a processor, for CUDA devices and for Grams that are too large
for memory. Targets go through in blocks, so that beside C (10 GB for 50,000 train examples) only a block's weights and
gradients are on the device; a block that does not fit there is halved. The numbers are those of the processor's solver
within what the accuracy bar leaves open.
"""

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, TypeVar

import numpy as np
import torch

from builders.regression.fista import Problem, quadratic, solve
from builders.regression.fit import Fit, finish, skill
from builders.regression.lasso import DEFAULT_PATH, MAX_GAP, MAX_KKT, ROUNDS, Choice, Path
from builders.regression.moments import Targets, targets
from builders.regression.operators import Operator, operator, rounding
from builders.regression.statistics import Totals, of_targets
from lake.errors import LakeError

T = TypeVar("T")

PATH_TOL = 3e-5  # on the path: FISTA ends at what is asked for, where descent is mostly well below it
TARGETS = {"cuda": 1024, "cpu": 256}  # a block
MEMORY = {"cuda": 4 << 30, "cpu": 16 << 20}  # bytes of packed blocks at a time; a processor's should stay in its cache


class Block(NamedTuple):
    """Moments of a block of targets on the device, float64: cross [n_targets, n_train], square [n_targets], prices, float32."""

    cross: torch.Tensor
    square: torch.Tensor
    prices: torch.Tensor


class Proof(NamedTuple):
    """How far weights are from optimal, as `lasso.Certificate`, float64 on the device."""

    gradient: torch.Tensor
    kkt: torch.Tensor
    gap: torch.Tensor

    @property
    def holds(self) -> torch.Tensor:
        """Whether the accuracy bar is met, `[n_targets] bool`."""
        return (self.kkt <= MAX_KKT) & (self.gap <= MAX_GAP)


@dataclass(frozen=True)
class Batched:
    """Totals to fit on and to choose on, and the device to work on."""

    fit: Totals
    heldout: Totals
    where: torch.device

    def choose(self, prices: np.ndarray, path: Path = DEFAULT_PATH) -> Choice:
        """Follow each target's path on the fit part to the lambda with the lowest held-out error, as `lasso.choose`."""
        lam, errors, weights = np.zeros(len(prices)), np.zeros(len(prices)), np.zeros_like(prices)

        def load(chosen: slice) -> tuple[Targets, Targets]:
            return _moments(self.fit, self.fit, chosen), _moments(self.heldout, self.fit, chosen)

        def work(chosen: slice, moments: tuple[Targets, Targets]) -> None:
            own, judge = (self._block(each, prices[chosen]) for each in moments)
            found = follow(part, held, own, judge, path, MEMORY[self.where.type])
            lam[chosen], weights[chosen], errors[chosen] = (each.cpu().numpy() for each in found)

        with _on_device(self.fit):
            part, held = (operator(totals, self.fit, self.where) for totals in (self.fit, self.heldout))
            in_blocks(load, work, len(prices), TARGETS[self.where.type])
        return Choice(lam, weights, errors)

    def settle(self, whole: Totals, prices: np.ndarray, choice: Choice) -> Fit:
        """Judge the chosen weights on held-out models, then refit them on all models, as `lasso.settle`."""
        judged = self._judged(choice.weights)
        lam, weights = choice.lam.copy(), np.empty_like(choice.weights)
        kkt, gap = np.zeros(len(lam)), np.zeros(len(lam))

        def work(chosen: slice, moments: Targets) -> None:
            own = self._block(moments, prices[chosen])
            lams, w = (torch.from_numpy(a[chosen]).to(self.where) for a in (lam, choice.weights))
            found = refit(every, own, lams, w, MEMORY[self.where.type])
            for into, values in zip((lam, weights, kkt, gap), found, strict=True):
                into[chosen] = values.cpu().numpy()

        with _on_device(whole):
            every = operator(whole, whole, self.where)
            in_blocks(partial(_moments, whole, whole), work, len(lam), TARGETS[self.where.type])
        return finish(whole, weights, judged, lam, kkt, gap, (kkt <= MAX_KKT) & (gap <= MAX_GAP))

    def _judged(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Squared error and correlation on held-out models, as `fit.judge`."""
        mse, r = np.zeros(len(weights)), np.zeros(len(weights), np.float32)

        def work(chosen: slice, own: Targets) -> None:
            w = torch.from_numpy(weights[chosen]).to(self.where).double()
            both = (w * torch.from_numpy(own.cross.T).to(self.where)).sum(1)
            shift = w @ torch.from_numpy(own.mask).to(self.where)
            sums = both, (w * held.exact(w)).sum(1), shift, w.square() @ held.diagonal.double()
            mse[chosen], r[chosen] = skill(own.square, own.margin, *(a.cpu().numpy() for a in sums))

        with _on_device(self.heldout):
            held = operator(self.heldout, self.fit, self.where)
            in_blocks(partial(_moments, self.heldout, self.fit), work, len(weights), TARGETS[self.where.type])
        return mse, r

    def _block(self, moments: Targets, prices: np.ndarray) -> Block:
        cross, square, price = (torch.from_numpy(a).to(self.where) for a in (moments.cross, moments.square, prices))
        return Block(cross.t().contiguous(), square, price)


def _moments(totals: Totals, around: Totals, chosen: slice) -> Targets:
    return targets(of_targets(totals, chosen), of_targets(around, chosen))


def follow(
    part: Operator, held: Operator, own: Block, judge: Block, path: Path, memory: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The lambda with the lowest held-out error on each target's path, the weights there and the error.

    part, own    the fit part's C and moments;   held, judge   those of held-out models
    Returns lam [n_targets] float32, weights [n_targets, n_train] float32, errors [n_targets] float64.
    """
    c, ch, prices, v = own.cross.float(), judge.cross.float(), own.prices, judge.square
    top = (c / prices).abs().amax(1)
    lam, weights, errors = torch.zeros_like(top), torch.zeros_like(c), torch.where(top > 0, torch.inf, v)
    alive = (top > 0).nonzero()[:, 0]
    c, ch, prices, v, top = (each[alive] for each in (c, ch, prices, v, top))
    w, g, last, since = torch.zeros_like(c), c.clone(), top, torch.zeros_like(alive)
    for share in np.geomspace(1, path.depth, path.n_lams).astype(np.float32).tolist():
        now = share * top
        solve(part, Problem(c, torch.zeros_like(w), prices, now, PATH_TOL * top), w, g, last, memory)
        error = v - 2 * (ch * w).sum(1, dtype=torch.float64) + quadratic(held, w, memory)
        better = error < errors[alive]
        found = alive[better]
        errors[found], lam[found], weights[found] = error[better], now[better], w[better]
        since, last = torch.where(better, 0, since + 1), now
        keep = (since < path.patience).nonzero()[:, 0]
        if len(keep) < len(alive):
            parts = (alive, c, ch, prices, v, top, w, g, last, since)
            alive, c, ch, prices, v, top, w, g, last, since = (each[keep] for each in parts)
        if not len(alive):
            break
    return lam, weights, errors


def refit(
    every: Operator, own: Block, lam: torch.Tensor, w: torch.Tensor, memory: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Solve from weights `w` at `lam`, both in blocks, until every certificate holds or the rounds are spent.

    Where lam is zero the fit part had nothing to fit, and lambda_max is taken. Returns lam, weights, kkt and gap.
    """
    top = (own.cross / own.prices).abs().amax(1)
    lam, w = torch.where(lam > 0, lam, top), w.clone()
    proof, todo = certify(every, own, lam, w), torch.arange(len(w), device=w.device)
    g, kkt, gap = proof.gradient.float(), proof.kkt, proof.gap
    for attempt in range(ROUNDS):
        small, new = lam[todo].float(), w[todo]
        tol = (MAX_KKT / 2 * 0.2**attempt * top[todo]).float()
        solve(every, Problem(g, new.clone(), own.prices[todo], small, tol), new, g.clone(), small, memory)
        w[todo] = new
        proof = certify(every, Block(*(part[todo] for part in own)), lam[todo], new)
        kkt[todo], gap[todo] = proof.kkt, proof.gap
        open_ = (~proof.holds).nonzero()[:, 0]
        todo, g = todo[open_], proof.gradient[open_].float()
        if not len(todo):
            break
    return lam, w, kkt, gap


def certify(every: Operator, own: Block, lam: torch.Tensor, weights: torch.Tensor) -> Proof:
    """How far weights are from optimal, in float64: the tensors' `lasso.certify`."""
    w, c = weights.double(), own.cross
    g = c - every.exact(w)
    bars = lam[:, None] * own.prices
    off = torch.where(w != 0, (g - bars * w.sign()).abs(), (g.abs() - bars).clamp_min(0)) / own.prices
    along = own.square - (c * w).sum(1)  # residual with margin
    within = along - (g * w).sum(1)  # residual with itself
    primal = within / 2 + (bars * w.abs()).sum(1)
    feasible = _share(lam, (g / own.prices).abs().amax(1)).clamp_max(1)
    scale = torch.minimum(_share(along, within).clamp_min(0), feasible)
    dual = scale * along - scale**2 * within / 2
    top = (c / own.prices).abs().amax(1)
    return Proof(g, _share(off.amax(1), top), _share(primal - dual, own.square / 2))


def _share(part: torch.Tensor, of: torch.Tensor) -> torch.Tensor:
    return torch.where(of > 0, part / of, 0)


def in_blocks(load: Callable[[slice], T], work: Callable[[slice, T], None], n_targets: int, size: int) -> None:
    """Call `work` on all targets, `size` at a time, with what `load` made of them while it was at work on those before.

    After each time that the device's memory was too small, half as many are taken at a time.
    """
    with ThreadPoolExecutor(1) as pool:
        start, coming = 0, pool.submit(load, slice(0, min(size, n_targets)))
        while start < n_targets:
            chosen, loaded = slice(start, min(start + size, n_targets)), coming.result()
            coming = pool.submit(load, slice(chosen.stop, min(chosen.stop + size, n_targets)))
            try:
                work(chosen, loaded)
            except torch.OutOfMemoryError:
                if size == 1:
                    raise
                size //= 2
                print(f"regression: the device is short of memory, going on with {size} targets at a time", file=sys.stderr)
                coming = pool.submit(load, slice(start, min(start + size, n_targets)))
            else:
                start = chosen.stop
                continue
            torch.cuda.empty_cache()  # once the failed block's tensors are gone


@contextmanager
def _on_device(totals: Totals) -> Iterator[None]:
    """Float32 is float32 unless asked otherwise, and too little memory is one line."""
    try:
        with rounding(False):
            yield
    except torch.OutOfMemoryError as error:
        raise LakeError(
            f"regression on {totals.n_train:,} train examples does not fit into the device's memory "
            f"({str(error).splitlines()[0].split('. ')[0]}). End what else runs on it, use WORKERS=1, or fit on the "
            "processor with CUDA_VISIBLE_DEVICES= (empty)"
        ) from error
