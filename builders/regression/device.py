"""Where regression computes: on a CUDA device when there is one, else on the processor, without importing torch to find out."""

import ctypes
from functools import cache
from typing import Any

import numpy as np


@cache
def cuda() -> bool:
    """Whether a CUDA device can be used; CUDA_VISIBLE_DEVICES= (empty) hides them all."""
    try:
        ctypes.CDLL("libcuda.so.1")  # the driver: torch takes seconds to import, so it is only asked where this is there
    except OSError:
        return False
    import torch

    return torch.cuda.is_available()


def placed(array: np.ndarray) -> Any:
    """The array as a tensor on the device, or itself where there is none."""
    if not cuda():
        return array
    import torch

    return torch.from_numpy(array).cuda()
