"""The LASSO of 10,000 targets on 50,000 train examples: sums from packed masks, the path, the refit and its certificates.

Masks are random bits; margins have 30 planted effects a target and as much noise as effect, as float16, made on the device.
`few` has 5,000 models, so that the solver works on the masks; `paper` has the paper's 300,000, and the Gram. A peer on the
card is not known: scikit-learn does not run there, and the paper's solver is not packaged; on the processor `make bench` holds
the same code against coordinate descent and scikit-learn.
"""

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from builders.regression import Totals, empty, plus, statistics
from builders.regression.batched import Batched
from builders.regression.statistics import of_targets

EFFECTS = 30
MADE, ADDED = 16_384, 65_536  # models at a time
TARGETS_FIRST = 1_024
"""Targets fitted first, from which the time of all follows if there is none left for them."""


def few(small: bool, stop: float) -> Iterator[dict[str, Any]]:
    """Fewer models than train examples."""
    return _measured(*((800, 20, 240) if small else (50_000, 10_000, 5_000)), stop)


def paper(small: bool, stop: float) -> Iterator[dict[str, Any]]:
    """The paper's size."""
    return _measured(*((320, 40, 1_500) if small else (50_000, 10_000, 300_000)), stop)


def _measured(n_train: int, n_targets: int, n_models: int, stop: float) -> Iterator[dict[str, Any]]:
    where = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    size = f"n {n_train:,}, m {n_models:,}"
    begin, spent = time.monotonic(), 0.0
    parts, making = _sums(n_train, n_targets, n_models, where)
    summing = time.monotonic() - begin - making
    yield {"name": f"sums, {size}, {n_targets:,} targets", "value": summing, "unit": "s", "held as": _held(parts[0])}
    for targets in sorted({min(TARGETS_FIRST, n_targets), n_targets}):
        if targets > TARGETS_FIRST and time.monotonic() + 1.2 * n_targets / TARGETS_FIRST * spent > stop:
            whole = summing + n_targets / TARGETS_FIRST * spent
            yield {"name": f"all, {size}, {n_targets:,} targets", "value": whole, "unit": "s", "by": "extrapolation"}
            return
        figures, spent = _fitted([of_targets(part, slice(targets)) for part in parts], where)
        yield {"name": f"fit, {size}, {targets:,} targets", "value": spent, "unit": "s", **figures}
    yield {"name": f"all, {size}, {n_targets:,} targets", "value": summing + spent, "unit": "s"}


def _fitted(parts: list[Totals], where: torch.device) -> tuple[dict[str, Any], float]:
    """What the fit of all targets was like, and its seconds."""
    begin = time.monotonic()
    whole, solver = plus(*parts), Batched(*parts, where)
    prices = np.ones((whole.n_targets, whole.n_train), np.float32)
    choice = solver.choose(prices)
    chosen = time.monotonic()
    fit = solver.settle(whole, prices, choice)
    end = time.monotonic()
    figures = {"path s": chosen - begin, "refit s": end - chosen, "nonzero": float(fit.n_nonzero.mean())}
    figures |= {"converged": float(fit.converged.mean()), "kkt": float(fit.kkt.max()), "gap": float(fit.duality_gap.max())}
    if where.type == "cuda":
        figures["GPU GB"] = torch.cuda.max_memory_allocated() / 1e9
    return figures, end - begin


def _sums(n_train: int, n_targets: int, n_models: int, where: torch.device) -> tuple[list[Totals], float]:
    """Totals of four fifths and of one fifth of the models, and the seconds that making the models took."""
    generator = torch.Generator(where).manual_seed(0)
    weights = torch.zeros(n_train, n_targets, device=where)
    for t in range(n_targets):
        some = torch.randint(n_train, (EFFECTS,), device=where, generator=generator)
        weights[some, t] = torch.randn(EFFECTS, device=where, generator=generator)
    totals, making = [empty(n_train, n_targets), empty(n_train, n_targets)], 0.0
    for start in range(0, n_models, ADDED):
        begin = time.monotonic()
        end = min(start + ADDED, n_models)
        made = [_models(min(MADE, end - first), weights, generator) for first in range(start, end, MADE)]
        judging = [np.arange(len(masks)) % 5 == 4 for masks, _ in made]
        parts = [
            [
                (m[h == heldout], y[h == heldout], np.zeros((h == heldout).sum(), np.int64))
                for (m, y), h in zip(made, judging, strict=True)
            ]
            for heldout in (False, True)
        ]
        making += time.monotonic() - begin
        for part, models in zip(totals, parts, strict=True):
            statistics.add_parts(part, models)
    return totals, making


def _models(n: int, weights: torch.Tensor, generator: torch.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Packed masks and float16 margins of n models."""
    n_train, n_targets = weights.shape
    held = torch.randint(0, 2, (n, n_train), device=weights.device, generator=generator, dtype=torch.uint8)
    signal = held.float() @ weights
    margins = signal - signal.mean() + torch.randn(n, n_targets, device=weights.device, generator=generator) * signal.std(0)
    places = torch.tensor([128, 64, 32, 16, 8, 4, 2, 1], dtype=torch.uint8, device=weights.device)
    packed = (held.view(n, -1, 8) * places).sum(2, dtype=torch.uint8)
    return packed.cpu().numpy(), margins.half().cpu().numpy()


def _held(totals: Totals) -> str:
    return "masks" if totals.pairs.counts is None else "Gram"
