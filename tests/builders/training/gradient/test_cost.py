"""Operations of the shipped recipes at the paper's size, counted layer by layer by hand."""

import numpy as np
import pytest

from builders.training.gradient import resnet9, resnet9_fast
from builders.training.gradient.cost import H100_BFLOAT16, cost
from builders.training.interface import Data
from builders.training.recipes import ResNet9, ResNet9Fast

SIZES = {"image": (32, 32, 3), "n_train": 50_000, "n_test": 10_000, "size": 25_000}


def test_resnet9_costs_a_petaflop_on_half_of_cifar10():
    found = cost(resnet9.experiment(ResNet9(), 3, 10), ResNet9(), **SIZES)
    large, small = 16 * 16, 8 * 8
    by_hand = 32 * 32 * 27 * 64 + large * (1600 * 128 + 2 * 1152 * 128 + 1152 * 256) + small * 2 * 2304 * 256 + 36 * 2304 * 128
    assert found.forward / 2 == by_hand + 128 * 10
    assert found.training == pytest.approx(6 * (by_hand + 1280) * 48 * 512 * 24)
    assert found.total / 1e15 == pytest.approx(1.07, abs=0.02)
    assert found.floor() == pytest.approx(1.35, abs=0.02)
    assert found.share(3.4) == pytest.approx(0.4, abs=0.01)


def test_the_fast_recipe_costs_a_ninth_of_that():
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (20, 32, 32, 3), dtype=np.uint8), np.arange(20) % 10
    data = Data(images, labels, images, labels, tuple("abcdefghij"))
    found = cost(resnet9_fast.experiment(ResNet9Fast(), data), ResNet9Fast(), **SIZES)
    assert found.forward / 2e6 == pytest.approx(118, abs=1)
    assert found.training / 1e15 == pytest.approx(0.0888, abs=0.001)
    assert found.total / 1e15 == pytest.approx(1.07 / 9, abs=0.005)
    assert found.floor(H100_BFLOAT16) < 0.16
