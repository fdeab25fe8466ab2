"""How parameters are updated: SGD with momentum, and Muon, on buffers of many models at once.

A rule owns the parameters whose names match it; they lie side by side in one flat buffer, so a step of SGD is four kernels
however many tensors there are. Muon (Jordan et al. 2024) replaces the momentum of each filter bank by its nearest
semi-orthogonal matrix, by a Newton-Schulz iteration, and keeps the bank's norm fixed.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""Coefficients of the quintic iteration that lifts small singular values fastest (Jordan et al. 2024)."""


@dataclass(frozen=True)
class Rule:
    """An update for the parameters whose names match `pattern`; of several rules the first that matches counts."""

    pattern: str
    """Regular expression that the whole name matches."""
    learning_rate: float
    momentum: float
    nesterov: bool = False
    weight_decay: float = 0.0
    warmup: float = 0.0
    """Share of the steps until the peak."""
    until: float = 1.0
    """Share of the steps after which the parameters are frozen."""
    muon: bool = False


def sgd(rule: Rule, weights: Tensor, grads: Tensor, momenta: Tensor, rate: Tensor) -> None:
    """One step in place on flat buffers [n], as torch.optim.SGD does it; `rate` is one number or one for each of them."""
    if rule.weight_decay:
        grads.add_(weights, alpha=rule.weight_decay)
    momenta.mul_(rule.momentum).add_(grads)
    weights.sub_(rate * (grads.add(momenta, alpha=rule.momentum) if rule.nesterov else momenta))


def muon(rule: Rule, weights: Tensor, grads: Tensor, momenta: Tensor, rate: Tensor, kind: torch.dtype) -> None:
    """One step in place on filter banks [n_banks, n_out, n], products in type `kind`; `rate` [n_banks]."""
    momenta.mul_(rule.momentum).add_(grads)
    wanted = grads.add(momenta, alpha=rule.momentum) if rule.nesterov else momenta
    norm = torch.linalg.vector_norm(weights, dim=(1, 2), keepdim=True)
    weights.mul_(weights.shape[1] ** 0.5 / norm).sub_(rate[:, None, None] * orthogonal(wanted, kind))


def orthogonal(matrices: Tensor, kind: torch.dtype, steps: int = 3) -> Tensor:
    """Matrices [n, rows, columns] with their singular values brought near 1, in float32."""
    a, b, c = NEWTON_SCHULZ
    x = (matrices / (torch.linalg.matrix_norm(matrices, keepdim=True) + 1e-7)).to(kind)
    wide = x.shape[1] <= x.shape[2]
    x = x if wide else x.mT
    for _ in range(steps):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x if wide else x.mT).float()
