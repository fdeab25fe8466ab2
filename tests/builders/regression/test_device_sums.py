"""The totals' products in torch are those of the processor to the last bit, by int8 and by float32."""

import numpy as np
import pytest
import torch

from builders.regression import device, device_sums
from builders.regression.gram import Pairs

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


def drawn(n_models: int, n_train: int) -> tuple[np.ndarray, np.ndarray]:
    masks = np.random.default_rng(n_models + n_train).integers(0, 2, (n_models, n_train), dtype=np.uint8)
    return masks, np.packbits(masks, axis=1)


@pytest.mark.parametrize("where", DEVICES)
@pytest.mark.parametrize("int8", [True, False], ids=["int8", "float32"])
@pytest.mark.parametrize(("n_models", "n_train"), [(1, 3), (100, 33), (70, 130)])
def test_counts_are_exact(monkeypatch, where, int8, n_models, n_train):
    monkeypatch.setattr(device_sums, "_int8_works", lambda device: int8)
    monkeypatch.setattr(device_sums, "BLOCK", 64)
    monkeypatch.setattr(device_sums, "PANEL", 64)
    masks, packed = drawn(n_models, n_train)
    counts = device_sums.count_pairs(packed, n_train, where=torch.device(where))
    assert counts.dtype == torch.int32
    np.testing.assert_array_equal(counts.cpu(), masks.T.astype(int) @ masks)
    assert device_sums.count_pairs(packed, n_train, counts) is counts
    np.testing.assert_array_equal(counts.cpu(), 2 * masks.T.astype(int) @ masks)


def test_int8_products_are_tried_before_they_are_trusted(monkeypatch):
    device_sums._int8_works.cache_clear()
    monkeypatch.setattr(device_sums, "_int_mm", lambda a, b: torch.zeros(32, 32, dtype=torch.int32))
    assert not device_sums._int8_works(torch.device("cpu"))
    device_sums._int8_works.cache_clear()


@pytest.mark.parametrize("where", DEVICES)
def test_cross_products_of_float16_margins_are_exact(monkeypatch, where):
    monkeypatch.setattr(device_sums, "CROSS_MODELS", 32)
    monkeypatch.setattr(device_sums, "CROSS_TARGETS", 3)
    masks, packed = drawn(90, 21)
    margins = np.random.default_rng(0).normal(3, 4, (90, 7)).astype(np.float16)
    cross = np.ones((21, 7))
    device_sums.add_cross(cross, packed, [margins[:50], margins[50:]], torch.device(where))
    np.testing.assert_array_equal(cross, 1 + masks.T.astype(np.float64) @ margins.astype(np.float64))


@pytest.mark.parametrize("where", DEVICES)
def test_sums_over_initialisations_are_exact(where):
    masks, packed = drawn(90, 21)
    margins = np.random.default_rng(0).normal(3, 4, (90, 7)).astype(np.float16)
    member = np.arange(90) % 3 == np.arange(3)[:, None]
    got = device_sums.group_sums(packed, margins, member.astype(float), 21, torch.device(where))
    y = margins.astype(np.float64)
    expected = member.astype(int) @ masks, member.astype(float) @ y, (y * y).sum(0)
    for ours, theirs in zip(got, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert got[0].dtype == np.int64


def test_pairs_counted_on_a_device_stay_there_and_add(monkeypatch):
    masks, packed = drawn(60, 21)
    ours, theirs = Pairs(21).add(packed[:30], np.zeros(30, int)), Pairs(21).add(packed[30:], np.zeros(30, int))
    for pairs in (ours, theirs):
        pairs.counts = torch.from_numpy(pairs.counts)
    both = ours.plus(theirs)
    assert isinstance(both.counts, torch.Tensor)
    np.testing.assert_array_equal(both.dense(), masks.T.astype(int) @ masks)
    ours.add(packed[30:], np.zeros(30, int))
    np.testing.assert_array_equal(ours.dense(), both.dense())


def test_without_a_driver_there_is_no_device_and_torch_is_not_asked(monkeypatch):
    def missing(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    device.name.cache_clear()
    monkeypatch.setattr(device.ctypes, "CDLL", missing)
    monkeypatch.delenv("DEVICE", raising=False)
    monkeypatch.setitem(__import__("sys").modules, "torch", None)  # an import would raise
    assert device.cuda() is False
    array = np.zeros(3)
    assert device.placed(array) is array
    device.name.cache_clear()


@pytest.mark.gpu
def test_totals_lie_on_the_device_where_there_is_one():
    masks, packed = drawn(60, 21)
    pairs = Pairs(21).add(packed, np.zeros(60, int))
    assert pairs.counts.is_cuda
    np.testing.assert_array_equal(pairs.dense(), masks.T.astype(int) @ masks)
