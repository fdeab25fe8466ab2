"""Where regression computes: on a CUDA device when there is one, else on the processor, without importing torch to find out.

The environment variable DEVICE asks for another, as in training.
"""

import ctypes
from functools import cache
from typing import Any

import numpy as np

from builders.training.gradient import device


@cache
def name() -> str:
    """`cpu`, `cuda` or `cuda:1`; UsageError when DEVICE asks for what is not there."""
    if not device.asked().startswith("cuda"):
        try:
            ctypes.CDLL("libcuda.so.1")  # the driver: torch takes seconds to import, so it is only asked where this is there
        except OSError:
            return "cpu"
    return device.chosen()


def cuda() -> bool:
    """Whether it is a CUDA device."""
    return name() != "cpu"


def card() -> str:
    """Name of the device as a file's footer tells it."""
    return device.name()


def placed(array: np.ndarray) -> Any:
    """The array as a tensor on the device, or itself where that is the processor."""
    if not cuda():
        return array
    import torch

    return torch.from_numpy(array).to(name())
