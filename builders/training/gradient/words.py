"""Counter-based randomness on the device: the bits of builders/counter.py in wrapping int64 arithmetic of torch.

A word is a pure function of (seed, purpose, counters), so that orders and augmentation need no generator, no state and no
copy from the host. Tested equal to the numpy version, bit for bit.
"""

import numpy as np
import torch
from torch import Tensor

from builders import counter

_STEP = 0x9E3779B97F4A7C15 - 2**64
_MIX = ((30, 0xBF58476D1CE4E5B9 - 2**64), (27, 0x94D049BB133111EB - 2**64))


def words(seed: int, purpose: str, *counters: Tensor | int, device: torch.device | str = "cpu") -> Tensor:
    """Random words as int64, shaped like the counters broadcast together; `counter.words` has the same bits as uint64."""
    state = torch.full((), int(counter.words(seed, purpose).view(np.int64)), device=device)  # a kernel: a copy would wait
    for each in counters:
        state = _mix(state + (_wrapped((each + 1) * _STEP) if isinstance(each, int) else (each.long() + 1) * _STEP))
    return state


def order(word: Tensor) -> Tensor:
    """Positions that sort words along the last axis as unsigned numbers."""
    return torch.argsort(word ^ (-(2**63)), dim=-1, stable=True)


def below(word: Tensor, field: int, n: int) -> Tensor:
    """A number from 0 to n - 1 from the 15 bits of `field` (0 to 3) of each word; bit 0 is left for a coin."""
    return ((word >> (1 + 15 * field)) & 0x7FFF) * n >> 15


def _mix(z: Tensor) -> Tensor:
    for shift, factor in _MIX:
        z = (z ^ _shifted(z, shift)) * factor
    return z ^ _shifted(z, 31)


def _shifted(z: Tensor, by: int) -> Tensor:
    """Logical shift to the right."""
    return (z >> by) & ((1 << (64 - by)) - 1)


def _wrapped(number: int) -> int:
    """A Python integer as int64 wraps it."""
    return (number + 2**63) % 2**64 - 2**63
