"""What a learning algorithm is: a function of data and options that returns a function from groups of models to logits.

    prepare(options, data) -> train;  train(group) -> logits

A group is any number of models: their masks, and the ids that key their randomness. A trainer keeps no state between groups,
and a model's logits depend on its own row of the group alone. Margins are computed from logits by builders/margins.py, so
that both margin definitions, both accuracies and the check for non-finite outputs are the same for every algorithm.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Data:
    """A dataset in memory: images [n, side, side, channels] uint8 and labels [n] int64 from 0 to n_classes - 1."""

    train_images: NDArray[np.uint8]
    train_labels: NDArray[np.int64]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.int64]
    class_names: tuple[str, ...]

    @property
    def n_classes(self) -> int:
        """How many classes there are."""
        return len(self.class_names)


@dataclass(frozen=True)
class Group:
    """Models to train at once. Order is keyed by (seed, role, order_id, epoch, example), weights by (seed, init_id)."""

    seed: int
    role: str
    masks: NDArray[np.bool_]
    """[n_models, n_train]: the subset of each model."""
    init_ids: NDArray[np.int64]
    """[n_models]: which initial weights."""
    order_ids: NDArray[np.int64]
    """[n_models]: which data order; the model id, or that of the base model of a coupled retrain."""

    @property
    def n_models(self) -> int:
        """Models in the group."""
        return len(self.masks)

    def take(self, rows: NDArray[np.int64]) -> "Group":
        """The group of the models at `rows`, which may repeat."""
        return Group(self.seed, self.role, self.masks[rows], self.init_ids[rows], self.order_ids[rows])


@dataclass(frozen=True)
class Logits:
    """Outputs of a group: [n_models, n_train, n_classes] and [n_models, n_test, n_classes] float32."""

    train: NDArray[np.float32]
    test: NDArray[np.float32]


Trainer = Callable[[Group], Logits]


def standardised(data: Data) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Train and test images as float32 with mean 0 and sd 1 over all training pixels, from exact integer sums.

    Raises ValueError when all of those are equal.
    """
    pixels = data.train_images.astype(np.int64)
    if pixels.min() == pixels.max():
        raise ValueError(f"every training pixel is {pixels.max()}: there is nothing to learn from")
    mean = pixels.sum() / pixels.size
    sd = np.sqrt((pixels**2).sum() / pixels.size - mean**2)
    train, test = (((images - mean) / sd).astype(np.float32) for images in (data.train_images, data.test_images))
    return train, test
