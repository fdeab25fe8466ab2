"""Images on which networks of a few channels learn in a fraction of a second, and groups of models on halves of them."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from builders.training.interface import Data, Group
from builders.training.recipes import ResNet9, ResNet9Fast, SmallCNN

PLAIN = {"pixel_mean": (), "pixel_sd": ()}
RECIPES = {
    "small-cnn": SmallCNN(widths=(4, 8), epochs=3, batch=10),
    "resnet9": ResNet9(width=4, epochs=3, batch=10, learning_rate=0.1, **PLAIN),
    "resnet9-fast": ResNet9Fast(widths=(4, 8, 8), epochs=3, batch=10),
}
"""Each shipped recipe, narrow and short."""


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a worker has it, on the CPU."""
    monkeypatch.setenv("DEVICE", "cpu")
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def data() -> Data:
    """Two classes of 16 x 16 images, one brighter on its left."""
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 2
    images = rng.integers(0, 150, (60, 16, 16, 3), dtype=np.uint8)
    images[:, :, :8] += (labels * 60).astype(np.uint8)[:, None, None, None]
    return Data(images[:40], labels[:40], images[40:], labels[40:], ("dark", "bright"))


@pytest.fixture
def group_of() -> Callable[..., Group]:
    """Makes `n` models of role fit on 40 images, of the given subset sizes."""

    def make(n: int = 3, sizes: tuple[int, ...] = (20,)) -> Group:
        masks = np.zeros((n, 40), bool)
        for k in range(n):
            masks[k, np.random.default_rng(k).permutation(40)[: sizes[k % len(sizes)]]] = True
        return Group(5, "fit", masks, np.arange(n) % 2, np.arange(10, 10 + n))

    return make


@pytest.fixture
def recipes() -> dict[str, object]:
    """`RECIPES`, for tests."""
    return RECIPES
