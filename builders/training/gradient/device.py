"""Which device trains: CUDA when there is one, or what the environment variable DEVICE asks for (`cpu`, `cuda`, `cuda:1`).

The device changes no definition: results are equal by bit on one machine type for a CPU, and in distribution elsewhere.
"""

import os
import platform
import re
import sys
from typing import Any

from lake.errors import UsageError


def asked() -> str:
    """What DEVICE asks for, empty when nothing; UsageError when it is no device."""
    told = os.environ.get("DEVICE", "")
    if not re.fullmatch(r"(cpu|cuda(:\d+)?)?", told):
        raise UsageError(f"DEVICE={told}: choose cpu, cuda or cuda:0, or leave it out")
    return told


def chosen() -> str:
    """`cpu`, `cuda` or `cuda:i`; UsageError in one line when DEVICE asks for what is not there."""
    told = asked()
    import torch

    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if told.startswith("cuda") and int(told.partition(":")[2] or 0) >= there:
        built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
        raise UsageError(f"DEVICE={told}: there are {there} CUDA devices (torch {torch.__version__}, {built}); use DEVICE=cpu")
    return told or ("cuda" if there else "cpu")


def cards() -> int:
    """How many CUDA devices this machine may train on; 0 when DEVICE says cpu, 1 when it names one."""
    device = chosen()
    if ":" in device or device == "cpu":
        return int(device != "cpu")
    import torch

    return torch.cuda.device_count()


def name() -> str:
    """The device as a file's footer tells it: `cuda NVIDIA H100 80GB HBM3`, `cpu x86_64`."""
    device = chosen()
    if device == "cpu":
        return f"cpu {platform.machine()}"
    import torch

    return f"cuda {torch.cuda.get_device_name(device)}"


def precision(device: str) -> Any:
    """Type of products: bfloat16 where the card has it, float16 on an older one (with a loss scale), float32 on a CPU."""
    import torch

    if device == "cpu":
        return torch.float32
    return torch.bfloat16 if torch.cuda.get_device_capability(device)[0] >= 8 else torch.float16


def out_of_memory(error: BaseException) -> bool:
    """Whether the device or the host had no memory left."""
    import torch

    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


def say(line: str) -> None:
    """One line for the person who waits."""
    print(line, file=sys.stderr, flush=True)
