"""FISTA for the LASSO of many targets at once on centred moments, in torch: one code for processors and CUDA.

    min_w  1/2 w'Cw - c'w + lam sum_j p_j |w_j|      for each target, with its own c, lam and prices p

(Beck and Teboulle 2009, restarted whenever momentum points uphill: O'Donoghue and Candes 2015.) As in the coordinate
descent (builders/regression/descent.py), each target works on the train examples that the sequential strong rule proposes,
in a block of C of their own, and a full gradient afterwards admits whatever the rule missed. That is what makes it fast:
a block of k of 50,000 examples costs k^2, and is well conditioned even for fewer models than train examples, where C is
not. A target with very many members works on all of C, with products of all such targets at once.

Only the product with new weights is computed, once an iteration: gradients at extrapolated points follow by linearity, the
true optimality violation is always known, and so is the curvature along the step, from which each target learns its own
step length. Finished targets leave the batch.

A solve starts from weights w0 with their gradient g0 = c - C w0 and computes later ones as g0 - C (w - w0), so that rounding
is relative to the change alone: started again from an exact gradient it refines its own answer to any accuracy.
"""

from typing import NamedTuple, Protocol

import torch

from builders.regression.operators import Operator

MAX_ITERATIONS = 500
CHECK = 4  # iterations between looks at who is finished: a look waits for the device
CROWD = 8  # a target whose members are more than one in so many works on all of C
SLACK = 1.1  # of the step's inverse length over the curvature seen


class Problem(NamedTuple):
    """What a solve starts from, for each target.

    g0, w0  [n_targets, n_train] float32: weights and their gradient
    prices  [n_targets, n_train] float32, positive
    lam     [n_targets] float32
    tol     [n_targets] float32: violation that may stay, absolute
    """

    g0: torch.Tensor
    w0: torch.Tensor
    prices: torch.Tensor
    lam: torch.Tensor
    tol: torch.Tensor

    def take(self, rows: torch.Tensor) -> "Problem":
        """The problem of the targets at `rows`."""
        return Problem(*(part[rows] for part in self))


class Curvature(Protocol):
    """What multiplies weights by C, or by each target's own block of it."""

    def product(self, w: torch.Tensor) -> torch.Tensor:
        """C w for each row."""
        ...

    def take(self, rows: torch.Tensor) -> "Curvature":
        """The same for the targets at `rows`."""
        ...


class Blocks(NamedTuple):
    """A block of C for each target, `[n_targets, k, k]`."""

    c: torch.Tensor

    def product(self, w: torch.Tensor) -> torch.Tensor:
        """Block times weights."""
        return torch.bmm(w[:, None, :], self.c)[:, 0]  # C is symmetric, and on a processor this side is ten times faster

    def take(self, rows: torch.Tensor) -> "Blocks":
        """Blocks of the targets at `rows`."""
        return Blocks(self.c[rows])


class Shared(NamedTuple):
    """All of C, for every target."""

    operator: Operator

    def product(self, w: torch.Tensor) -> torch.Tensor:
        """C times weights."""
        return self.operator.product(w)

    def take(self, rows: torch.Tensor) -> "Shared":
        """The same."""
        return self


def solve(operator: Operator, problem: Problem, w: torch.Tensor, g: torch.Tensor, last: torch.Tensor, memory: int) -> None:
    """Solve every target at its lambda, updating `w` and its gradient `g` in place.

    last    [n_targets]: the lambda that w and g solve, for the strong rule; lam itself if none
    memory  bytes that blocks may take at a time
    """
    lam, prices, tol = problem.lam[:, None], problem.prices, problem.tol[:, None]
    limit = torch.maximum(2 * lam - last[:, None], lam / 2)
    inside = (w != 0) | (g.abs() > limit * prices)
    todo = torch.arange(len(w), device=w.device)
    while len(todo):
        part, mine = problem.take(todo), w[todo]
        _descend(operator, part, mine, inside[todo], memory)
        gradient = part.g0 - operator.product(mine - part.w0)
        w[todo], g[todo] = mine, gradient
        more = (gradient.abs() >= (lam[todo] + tol[todo]) * part.prices) & ~inside[todo]
        inside[todo] |= more
        todo = todo[more.any(1)]


def quadratic(operator: Operator, w: torch.Tensor, memory: int) -> torch.Tensor:
    """w'Cw of each row of `w [n_targets, n_train] float32`, `[n_targets] float64`, from the blocks of nonzero weights."""
    out = torch.zeros(len(w), dtype=torch.float64, device=w.device)
    inside = w != 0
    for rows, k in _portions(inside.sum(1), operator, memory):
        members, there = _members(inside[rows], k)
        own = w[rows].gather(1, members) * there
        out[rows] = (own * Blocks(operator.packed(members)).product(own)).sum(1, dtype=torch.float64)
    return out


def _descend(operator: Operator, problem: Problem, w: torch.Tensor, inside: torch.Tensor, memory: int) -> None:
    """Solve on the members that are inside, updating `w` in place."""
    bars = problem.lam[:, None] * problem.prices
    counts = inside.sum(1)
    crowd = (counts * CROWD > w.shape[1]).nonzero()[:, 0]
    if len(crowd):
        on = problem.take(crowd)
        start = operator.diagonal.max().expand(len(crowd))
        w[crowd] = fista(Shared(operator), on.g0, on.w0, w[crowd], bars[crowd], on.tol, start)
    for rows, k in _portions(torch.where(counts * CROWD > w.shape[1], 0, counts), operator, memory):
        members, there = _members(inside[rows], k)
        blocks = operator.packed(members).mul_(there[:, :, None]).mul_(there[:, None, :])
        g0, w0, own, bar = (part[rows].gather(1, members) for part in (problem.g0, problem.w0, w, bars))
        start = operator.diagonal[members].amax(1)
        own = fista(Blocks(blocks), g0 * there, w0 * there, own * there, bar, problem.tol[rows], start)
        target, column = there.nonzero(as_tuple=True)
        w[rows[target], members[target, column]] = own[target, column]


def _portions(counts: torch.Tensor, operator: Operator, memory: int) -> list[tuple[torch.Tensor, int]]:
    """(targets, most members that one of them has), those of most members first, each portion within `memory` bytes."""
    order = counts.argsort(descending=True)
    sizes = counts[order].tolist()
    portions, start = [], 0
    while start < len(sizes) and sizes[start]:
        k = sizes[start]
        each = 4 * k * (4 * k + operator.width)  # positions take 8 bytes, and blocks are copied when targets leave
        end = min(start + max(1, memory // each), len(sizes))
        while not sizes[end - 1]:
            end -= 1
        portions.append((order[start:end], k))
        start = end
    return portions


def _members(inside: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Positions `[n_targets, k]` of what is inside, and which of them are there: rows with fewer are filled up with 0."""
    target, column = inside.nonzero(as_tuple=True)
    place = inside.cumsum(1)[target, column] - 1
    members = torch.zeros(len(inside), k, dtype=torch.int64, device=inside.device)
    there = torch.zeros(len(inside), k, dtype=torch.bool, device=inside.device)
    members[target, place], there[target, place] = column, True
    return members, there


def fista(
    curvature: Curvature,
    g0: torch.Tensor,
    w0: torch.Tensor,
    w: torch.Tensor,
    bars: torch.Tensor,
    tol: torch.Tensor,
    inverse_step: torch.Tensor,
) -> torch.Tensor:
    """Weights `[n_targets, k]` at which no optimality condition is violated by more than `tol`, started from `w`.

    bars          [n_targets, k] float32: lam p, what a gradient has to exceed
    inverse_step  [n_targets] float32: the curvature to begin with, raised to what is seen
    """
    out, alive = w.clone(), torch.arange(len(w), device=w.device)
    length, momentum = inverse_step.clamp_min(1e-30)[:, None], torch.ones_like(inverse_step)[:, None]
    g = g0 - curvature.product(w - w0)
    y, at = w, g
    for iteration in range(MAX_ITERATIONS):
        if iteration % CHECK == 0:
            open_ = violation(g, w, bars) > tol
            keep = open_.nonzero()[:, 0]
            if len(keep) < len(alive):
                out[alive] = w
                if not len(keep):
                    return out
                curvature, alive, tol = curvature.take(keep), alive[keep], tol[keep]
                g0, w0, w, bars, length, momentum, g, y, at = (
                    part[keep] for part in (g0, w0, w, bars, length, momentum, g, y, at)
                )
        new = _shrunk(y + at / length, bars / length)
        gradient = g0 - curvature.product(new - w0)
        step, bent = new - y, at - gradient
        along, size = (step * bent).sum(1, keepdim=True), step.square().sum(1, keepdim=True)
        # what rounding may make of the curvature is no reason for a shorter step
        short = along > 1.02 * length * size + tol[:, None] * step.abs().sum(1, keepdim=True)
        length = torch.where(short, SLACK * along / size, length)
        new, gradient = torch.where(short, w, new), torch.where(short, g, gradient)
        uphill = short | (((y - new) * (new - w)).sum(1, keepdim=True) > 0)
        following = (1 + (1 + 4 * momentum.square()).sqrt()) / 2
        beta = torch.where(uphill, 0, (momentum - 1) / following)
        momentum = torch.where(uphill, 1, following)
        y, at = new + beta * (new - w), gradient + beta * (gradient - g)
        w, g = new, gradient
    out[alive] = w
    return out


def violation(g: torch.Tensor, w: torch.Tensor, bars: torch.Tensor) -> torch.Tensor:
    """Largest distance of a gradient from where the optimality conditions want it, `[n_targets]`."""
    return torch.where(w != 0, (g - bars * w.sign()).abs(), g.abs() - bars).amax(1)


def _shrunk(z: torch.Tensor, bars: torch.Tensor) -> torch.Tensor:
    return z - z.clamp(-bars, bars)
