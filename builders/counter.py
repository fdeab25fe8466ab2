"""Counter-based randomness: every random number is a pure function of what it is for.

A word is a hash of (seed, purpose, counters...), so masks, orders and initial weights do not depend on the group, worker,
engine or order in which models are trained, and no generator has a state to lose. The hash is the splitmix64 finaliser
(Steele, Lea and Flood, OOPSLA 2014) folded over the counters in wrapping 64-bit arithmetic: the same bits on every machine.
Uses: `fixed` masks rank words, `bernoulli` masks threshold them, orders sort them, weights scale them.
"""

import hashlib

import numpy as np
from numpy.typing import ArrayLike, NDArray

_STEP = np.uint64(0x9E3779B97F4A7C15)
_MIX = ((np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)), (np.uint64(27), np.uint64(0x94D049BB133111EB)))
_LAST = np.uint64(31)


def words(seed: int, purpose: str, *counters: ArrayLike) -> NDArray[np.uint64]:
    """Random 64-bit words, shaped like the counters broadcast together; equal arguments give equal words everywhere.

    `purpose` separates streams that share counters (`mask/fit`, `order/fit`, `init`); counters are non-negative integers.
    """
    state = np.array([seed], np.uint64)  # one axis throughout: arrays wrap silently, numpy's scalars warn
    for counter in (_text_word(purpose), *counters):
        state = _mix(state + (np.atleast_1d(counter).astype(np.uint64) + np.uint64(1)) * _STEP)
    return state.reshape(np.broadcast_shapes(*(np.shape(c) for c in counters)))


def uniform(word: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Uniform on [0, 1) from the upper 53 bits of each word, exact in float64."""
    return (word >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mix(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    for shift, factor in _MIX:
        z = (z ^ (z >> shift)) * factor
    return z ^ (z >> _LAST)


def _text_word(text: str) -> np.uint64:
    return np.uint64(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little"))
