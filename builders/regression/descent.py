"""Coordinate descent for the LASSO on centred moments, one target at a time, compiled.

    min_w  1/2 w'Cw - c'w + lam sum_j p_j |w_j|

with a price p_j on each train example, one for the plain LASSO. Only a working set is descended on. The sequential
strong rule (Tibshirani et al. 2012) proposes it, its rows of C are packed into a small dense Gram as they join, so that
sweeps touch nothing else, and a full gradient afterwards admits whatever the rule missed: the rule is a guess, the check
makes the result exact.

Everything is float32. A solve starts from weights w0 with their gradient g0 = c - C w0 and computes later gradients
as g0 - C (w - w0), so an error in them is relative to the change alone: started again from an exact gradient it refines
its own answer to any accuracy, without a float64 copy of this code.
"""

import numpy as np
from numba import njit

MAX_SWEEPS = 1000
HALF = np.float32(0.5)

compiled = njit(cache=True, nogil=True, fastmath=True)


@compiled
def _pack(C, members, first, k, packed):
    """Copy from C what members `first` to `k` share with those up to themselves into the packed lower triangle."""
    for a in range(first, k):
        row = C[members[a]]
        for b in range(a + 1):
            packed[a, b] = row[members[b]]


@compiled
def _pack_both(C, members, first, k, packed):
    """Pack members `first` to `k` into both triangles."""
    _pack(C, members, first, k, packed)
    for a in range(first, k):
        for b in range(a):
            packed[b, a] = packed[a, b]


@compiled
def _violation(g, w, bars, k):
    """Largest distance of a member's gradient from where the optimality conditions want it."""
    worst = np.float32(0)
    for a in range(k):
        excess = abs(g[a]) - bars[a] if w[a] == 0 else abs(g[a] - np.copysign(bars[a], w[a]))
        worst = max(worst, excess)
    return worst


@compiled
def _sweep(packed, g, w, bars, k):
    """One cyclic pass over the members, in place; returns the largest change of a gradient that it made.

    bars: lam p, what a member's gradient has to exceed.
    """
    moved = np.float32(0)
    for a in range(k):
        curvature = packed[a, a]
        if curvature > 0:
            z = g[a] + curvature * w[a]
            new = np.float32(0)
            if abs(z) > bars[a]:
                new = (z - np.copysign(bars[a], z)) / curvature
            step = new - w[a]
            if step != 0:
                w[a] = new
                for i in range(k):
                    g[i] -= step * packed[a, i]
                moved = max(moved, abs(step) * curvature)
    return moved


@compiled
def _gradient(C, g0, w0, w, members, k, g):
    """Set g = g0 - C (w - w0), reading four changed members' rows a pass."""
    for b in range(len(g)):  # an array assignment would double the time to compile
        g[b] = g0[b]
    changed = np.empty(k, np.int64)
    n = 0
    for a in range(k):
        if w[members[a]] != w0[members[a]]:
            changed[n] = members[a]
            n += 1
    for a in range(0, n - n % 4, 4):
        i, j, p, q = changed[a], changed[a + 1], changed[a + 2], changed[a + 3]
        d, e, f, h = w[i] - w0[i], w[j] - w0[j], w[p] - w0[p], w[q] - w0[q]
        r, s, t, u = C[i], C[j], C[p], C[q]
        for b in range(len(g)):
            g[b] -= d * r[b] + e * s[b] + f * t[b] + h * u[b]
    for a in range(n - n % 4, n):
        r, d = C[changed[a]], w[changed[a]] - w0[changed[a]]
        for b in range(len(g)):
            g[b] -= d * r[b]


@compiled
def _solve(C, price, g0, w0, lam, last, tol, w, g, members, place, k, packed):
    """Solve at one lambda, updating w and g in place; returns the size of the working set.

    price: float32, positive, for each train example. tol: violation that may stay.
    last: the lambda that w and g solve, for the strong rule; lam itself if none.
    """
    ws, gs, bars = np.empty_like(w), np.empty_like(w), np.empty_like(w)
    limit, proposed = max(lam + lam - last, HALF * lam), False
    while True:
        before = k
        for j in range(len(w)):
            if place[j] < 0 and abs(g[j]) >= limit * price[j]:
                members[k], place[j] = j, k
                k += 1
        if proposed and k == before:
            return k
        _pack_both(C, members, before, k, packed)
        for a in range(k):
            ws[a] = w[members[a]]
            gs[a] = g[members[a]]
            bars[a] = lam * price[members[a]]
        for _ in range(MAX_SWEEPS):
            if _sweep(packed, gs, ws, bars, k) <= tol and _violation(gs, ws, bars, k) <= tol:
                break
        for a in range(k):
            w[members[a]] = ws[a]
        _gradient(C, g0, w0, w, members, k, g)
        limit, proposed = lam + tol, True


@compiled
def _heldout_error(packed, c, v, w, members, k):
    """v - 2 c'w + w'Cw from the held-out moments, the packed C a lower triangle."""
    ws = w[members[:k]]
    error = v
    for a in range(k):
        if ws[a] != 0:
            below = np.float32(0)
            for b in range(a):
                below += packed[a, b] * ws[b]
            pull = np.float64(below) - np.float64(c[members[a]])
            error += np.float64(ws[a]) * (2 * pull + np.float64(packed[a, a]) * np.float64(ws[a]))
    return error


@compiled
def select(C, c, Ch, ch, vh, price, grid, tol, patience, lam, weights, errors):
    """Follow each target's path down `grid`, and keep the lambda with the lowest held-out error.

    C, Ch    [n_train, n_train] float32: Gram of the fit and of the held-out part
    c, ch    [n_targets, n_train] float32: their cross moments; a target whose row is zero gets no weights
    vh       [n_targets] float64: mean squared held-out margin
    price    [n_targets, n_train] float32: the penalty of each train example, positive
    grid     [n_lams] float32: lambdas as shares of lambda_max, falling
    tol      float32: violation of the conditions that may stay, as a share of lambda_max
    patience int: lambdas to go on for past the best
    Sets lam [n_targets] float32, weights [n_targets, n_train] float32, errors [n_targets] float64.
    """
    n_targets, n_train = c.shape
    packed, judged = np.empty((n_train, n_train), np.float32), np.empty((n_train, n_train), np.float32)
    members = np.empty(n_train, np.int64)
    zero, g = np.zeros(n_train, np.float32), np.empty(n_train, np.float32)
    for t in range(n_targets):
        place, w = np.full(n_train, -1), zero.copy()
        g[:] = c[t]
        top = np.abs(g / price[t]).max()
        errors[t], last, k, since = np.inf, top, members[:0].size, 0
        for share in grid:
            now = share * top
            known, k = k, _solve(C, price[t], c[t], zero, now, last, tol * top, w, g, members, place, k, packed)
            _pack(Ch, members, known, k, judged)
            error = _heldout_error(judged, ch[t], vh[t], w, members, k)
            last, since = now, since + 1
            if error < errors[t]:
                errors[t], lam[t], weights[t], since = error, now, w, 0
            if since >= patience or top == 0:
                break


@compiled
def refine(C, g, price, lam, tol, weights):
    """Solve each target at its lambda from the weights given, in place, with their gradients `g`.

    C [n_train, n_train], g, price and weights [n_targets, n_train], lam and tol [n_targets], all float32; tol is the
    violation that may stay, absolute.
    """
    n_targets, n_train = g.shape
    packed = np.empty((n_train, n_train), np.float32)
    members = np.empty(n_train, np.int64)
    for t in range(n_targets):
        place, w0 = np.full(n_train, -1), weights[t].copy()
        k = members[:0].size
        for j in range(n_train):
            if w0[j] != 0:
                members[k], place[j] = j, k
                k += 1
        _pack_both(C, members, 0, k, packed)
        _solve(C, price[t], g[t], w0, lam[t], lam[t], tol[t], weights[t], g[t].copy(), members, place, k, packed)
