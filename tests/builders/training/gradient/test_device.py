"""Which device trains, and what is said when the one asked for is not there."""

import platform

import pytest
import torch

from builders.engines import may_use_gpu
from builders.regression import device as regression
from builders.training.gradient import device
from builders.training.registry import Algorithm
from lake.errors import UsageError


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_one_clear_line(monkeypatch, data):
    monkeypatch.setenv("DEVICE", "cuda")
    with pytest.raises(UsageError, match=r"DEVICE=cuda: there are 0 CUDA devices \(torch .*\); use DEVICE=cpu") as error:
        Algorithm.model_validate({"name": "small-cnn"}).prepare(data)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("asked", ["gpu", "cuda:", "cuda:-1", "tpu", "CPU"])
def test_a_device_that_cannot_be_is_refused(monkeypatch, asked):
    monkeypatch.setenv("DEVICE", asked)
    for ask in (device.chosen, regression.name.__wrapped__, may_use_gpu):
        with pytest.raises(UsageError, match=f"^DEVICE={asked}: choose cpu, cuda or cuda:0, or leave it out"):
            ask()


def test_the_cpu_is_named_and_counts_no_cards(monkeypatch):
    for asked in ("cpu", "") if not torch.cuda.is_available() else ("cpu",):
        monkeypatch.setenv("DEVICE", asked)
        assert (device.chosen(), device.name(), device.cards()) == ("cpu", f"cpu {platform.machine()}", 0)
        assert device.precision("cpu") == torch.float32


def test_lack_of_memory_is_told_from_other_errors():
    for error in (MemoryError(), torch.OutOfMemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")):
        assert device.out_of_memory(error)
    with pytest.raises(RuntimeError) as error:
        torch.empty(2**55)
    assert device.out_of_memory(error.value)
    assert not device.out_of_memory(RuntimeError("size mismatch"))
