"""The sums behind the totals on a CUDA device, from packed masks, exact like those on the processor.

The Gram is a product of zeros and ones: int8 with int32 sums where the card and torch have it, which is the fastest that
they have, else float32, whose sums are exact below 2^24 models a block whatever the inputs are rounded to, as zeros and
ones lose nothing. Cross products are float64, and exact for float16 margins like the processor's.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from torch import _int_mm  # pyright: ignore[reportPrivateImportUsage]

from builders.regression import device

BLOCK = 16_384  # models unpacked at a time: 0.8 GB as int8 for 50,000 train examples
PANEL = 4_096  # rows of the Gram at a time
CROSS_MODELS, CROSS_TARGETS = 4_096, 2_048  # 1.6 GB of masks and 0.8 GB of sums in float64, for as many


def count_pairs(
    masks: np.ndarray, n_train: int, counts: torch.Tensor | None = None, where: torch.device | None = None
) -> torch.Tensor:
    """Add the counts of packed masks `[n_models, ceil(n_train / 8)] uint8` to `counts [n_train, n_train] int32` in place.

    Without counts they start from zero, on `where` or else on the device that regression uses.
    """
    if counts is None:
        counts = torch.zeros(n_train, n_train, dtype=torch.int32, device=where or device.name())
    for start in range(0, len(masks), BLOCK):
        columns = _padded(unpacked(masks[start : start + BLOCK], n_train, counts.device).t())
        for top in range(0, n_train, PANEL):
            panel = _product(columns[top : top + PANEL], columns)
            counts[top : top + PANEL] += panel[: n_train - top, :n_train]
    return counts


def add_cross(cross: np.ndarray, masks: np.ndarray, margins: Sequence[np.ndarray], where: torch.device | None = None) -> None:
    """Add packed masks times margins, in parts `[n, n_targets] float16 or float32`, to `cross [n_train, n_targets] float64`."""
    where = where or torch.device(device.name())
    y = torch.cat([torch.from_numpy(np.ascontiguousarray(part)).to(where) for part in margins])
    words = torch.from_numpy(np.ascontiguousarray(masks)).to(where)
    landing = torch.empty(len(cross), CROSS_TARGETS, dtype=torch.float64, pin_memory=where.type == "cuda")
    for left in range(0, y.shape[1], CROSS_TARGETS):
        columns = slice(left, left + CROSS_TARGETS)
        sums = torch.zeros(len(cross), y[:, columns].shape[1], dtype=torch.float64, device=where)
        for start in range(0, len(words), CROSS_MODELS):
            block = slice(start, start + CROSS_MODELS)
            sums.addmm_(unpacked(words[block], len(cross), where).double().t(), y[block, columns].double())
        # copied into pinned memory and added by all cores: a third of the time of the sums was spent in this
        torch.from_numpy(cross)[:, columns] += landing[:, : sums.shape[1]].copy_(sums)


def group_sums(
    masks: np.ndarray, margins: np.ndarray, member: np.ndarray, n_train: int, where: torch.device | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sums of packed masks and of margins over the models of each initialisation, and squared margins over all.

    member  [n_inits, n_models] float64: one for the models of each initialisation
    Returns [n_inits, n_train] int64, [n_inits, n_targets] float64, [n_targets] float64.
    """
    where = where or torch.device(device.name())
    own = torch.from_numpy(member).to(where)
    y = torch.from_numpy(np.ascontiguousarray(margins)).to(where).double()
    counts = own.float() @ unpacked(masks, n_train, where).float()
    return counts.long().cpu().numpy(), (own @ y).cpu().numpy(), y.square().sum(0).cpu().numpy()


def unpacked(masks: np.ndarray | torch.Tensor, n_train: int, where: torch.device) -> torch.Tensor:
    """Zeros and ones `[n_models, n_train] int8` of packed masks."""
    words = torch.as_tensor(np.ascontiguousarray(masks) if isinstance(masks, np.ndarray) else masks, device=where)
    shifts = torch.arange(7, -1, -1, dtype=torch.uint8, device=where)
    return ((words[:, :, None] >> shifts) & 1).view(torch.int8).flatten(1)[:, :n_train]


def _padded(columns: torch.Tensor) -> torch.Tensor:
    """Zeros up to multiples of 32, as int8 products want their sides."""
    n, m = columns.shape
    padded = torch.zeros(-(-n // 32) * 32, -(-m // 32) * 32, dtype=torch.int8, device=columns.device)
    padded[:n, :m] = columns
    return padded


def _product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """a b' as int32 of zeros and ones as int8, `[p, m]` and `[n, m]`."""
    if _int8_works(a.device):
        return _int_mm(a, b.t())
    return (a.float() @ b.float().t()).int()


@cache
def _int8_works(where: torch.device) -> bool:
    """Whether int8 products can be had there, and are right."""
    try:
        ones = torch.ones(32, 64, dtype=torch.int8, device=where)
        return bool((_int_mm(ones, ones.t()) == 64).all())
    except RuntimeError:
        return False
