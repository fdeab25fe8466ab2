"""Networks of PyTorch on real photographs, on one core: accuracy and CPU seconds a model on halves of 2,000 planes and cars.

`CIFAR10=folder python tests/bench/measure_networks.py`: two models of each recipe, narrow, 12 epochs.
"""

import importlib
import os
import time

os.environ.update({"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "DEVICE": "cpu"})

import numpy as np

from builders import datasets
from builders.study import Dataset
from builders.training.gradient.lane import Plan
from builders.training.interface import Group
from builders.training.recipes import Recipe, ResNet9, ResNet9Fast, SmallCNN
from builders.training.registry import MODULES

RECIPES: dict[str, Recipe] = {
    "small-cnn": SmallCNN(widths=(16, 32, 32), epochs=12, batch=50, flip="random", translate=2),
    "resnet9-fast": ResNet9Fast(widths=(16, 32, 32), epochs=12, batch=100),
    "resnet9": ResNet9(width=8, epochs=12, batch=50, learning_rate=0.3),
}


def main() -> None:
    """Print a line a recipe."""
    data = datasets.load(Dataset(source="cifar10", classes=(0, 1), n_train=2_000, n_test=400))
    masks = np.stack([np.random.default_rng(k).permutation(2_000) < 1_000 for k in range(2)])
    group = Group(0, "fit", masks, np.arange(2), np.arange(2))
    for name, recipe in RECIPES.items():
        train = importlib.import_module(MODULES[name][1]).prepare(recipe, data, Plan(fused=2))
        start = time.process_time()
        logits = train(group)
        seconds = (time.process_time() - start) / group.n_models
        right = (logits.test.argmax(2) == data.test_labels).mean()
        print(f"{name:<14} {100 * right:.1f}% of 400 test images, {seconds:.1f} CPU s a model", flush=True)


if __name__ == "__main__":
    main()
