"""Batch normalisation spelled out, for models that are fused on a card: there torch.vmap takes cuDNN's in no type of number.

Statistics are float32 whatever comes in, as they are in torch's own. On a CPU torch's is the faster one, and vmap takes it.
"""

from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn


def spell_out(module: nn.Module) -> None:
    """Let every batch normalisation of `module` compute by plain operations, which compile and fuse."""
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            cast(Any, part).forward = partial(normalised, part)


def normalised(norm: Any, x: Tensor) -> Tensor:
    """What `norm(x)` is for x [batch, channels, ...], in x's type; in training its running statistics move in place."""
    values = x.float()
    if norm.training or norm.running_mean is None:
        variance, mean = torch.var_mean(values, [0, *range(2, x.ndim)], correction=0)
        if norm.running_mean is not None:
            _remember(norm, mean.detach(), variance.detach(), x.numel() // x.shape[1])
    else:
        mean, variance = norm.running_mean, norm.running_var
    scale = torch.rsqrt(variance + norm.eps)
    if norm.weight is not None:
        scale = scale * norm.weight
    shift = -mean * scale if norm.bias is None else norm.bias - mean * scale
    shape = (1, -1, *[1] * (x.ndim - 2))
    return (values * scale.view(shape) + shift.view(shape)).to(x.dtype)


def _remember(norm: Any, mean: Tensor, variance: Tensor, n: int) -> None:
    """Move the running statistics towards those of a batch with `n` numbers a channel."""
    norm.num_batches_tracked.add_(1)
    rate = 1 / norm.num_batches_tracked if norm.momentum is None else norm.momentum
    norm.running_mean.add_(rate * (mean - norm.running_mean))
    norm.running_var.add_(rate * (variance * (n / (n - 1)) - norm.running_var))
