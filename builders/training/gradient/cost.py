"""What a model costs: floating-point operations, and the seconds below which no device with a given peak can train it.

A multiply-accumulate counts as two operations. Training is three forward passes an example (one forward, two backward),
margins one forward pass for each view of each image; augmentation, normalisation and updates are left out, as is usual.
"""

from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from builders.training.gradient.models import Experiment
from builders.training.gradient.tables import Rounds
from builders.training.recipes import Recipe

H100_BFLOAT16 = 790e12
"""Dense bfloat16 operations a second that matrix products reach on an H100 SXM (its data sheet says 989e12)."""


@dataclass(frozen=True)
class Cost:
    """Operations of one model."""

    forward: float
    """One image."""
    training: float
    margins: float

    @property
    def total(self) -> float:
        """Training and margins."""
        return self.training + self.margins

    def floor(self, peak: float = H100_BFLOAT16) -> float:
        """Seconds that the operations take at `peak` operations a second."""
        return self.total / peak

    def share(self, seconds: float, peak: float = H100_BFLOAT16) -> float:
        """Share of `peak` reached by a model in so many seconds."""
        return self.floor(peak) / seconds


def cost(experiment: Experiment, recipe: Recipe, image: tuple[int, int, int], n_train: int, n_test: int, size: int) -> Cost:
    """Cost of a model on a subset of `size` images [side, side, channels]."""
    side, _, channels = image
    net = experiment.make().eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(torch.zeros(1, channels, side, side))
    forward = float(counter.get_total_flops())
    steps = Rounds(recipe.epochs, recipe.batch).steps(size)
    return Cost(forward, 3 * forward * steps * recipe.batch, forward * (n_train + recipe.views * n_test))
