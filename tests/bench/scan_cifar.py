"""How `cifar-small` was chosen: accuracy, share of the margin's variance that the subset causes, and cost of each setting.

    CIFAR10=folder python tests/bench/scan_cifar.py [--masks 16] [--repeats 8]

Each row trains masks x repeats models of one change to the study. ICC and the ceilings, of an LDS against single outputs and
against means of eight, follow from the repeats alone (one-way ANOVA a target), so a setting is judged in seconds, without
a fit. Models a core-second are of CPU time on one core.
"""

import argparse
import os
import time
from typing import Any

os.environ.update({"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"})

import numpy as np
from rich.console import Console
from rich.table import Table

from builders import datasets, margins, masks, study
from builders.training.interface import Group, Logits
from builders.training.registry import Algorithm

VARIANTS: tuple[tuple[str, dict[str, Any], dict[str, Any]], ...] = (
    ("as shipped", {}, {}),
    ("weight decay 5e-3", {}, {"weight_decay": 5e-3}),
    ("weight decay 1e-2", {}, {"weight_decay": 1e-2}),
    ("weight decay 3e-2", {}, {"weight_decay": 3e-2}),
    ("weight decay 5e-2", {}, {"weight_decay": 5e-2}),
    ("8 epochs", {}, {"epochs": 8}),
    ("24 epochs", {}, {"epochs": 24}),
    ("widths 16-32", {}, {"widths": (16, 32)}),
    ("widths 32-64-64", {}, {"widths": (32, 64, 64)}),
    ("patch 8, widths 32-32", {}, {"patch": 8, "stride": 8, "widths": (32, 32)}),
    ("overlapping patches, 8-16-32-32", {}, {"stride": 2, "padding": 1, "widths": (8, 16, 32, 32)}),
    ("1,000 images", {"n_train": 1_000}, {}),
    ("4,000 images", {"n_train": 4_000}, {}),
    ("cat and dog", {"classes": (3, 5)}, {}),
    ("plane, car, ship, truck", {"classes": (0, 1, 8, 9)}, {}),
    ("all ten classes", {"classes": None}, {}),
)
"""Name, changes of the dataset, changes of the algorithm."""


def main() -> None:
    """Measure every variant and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--masks", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=8)
    options = parser.parse_args()
    table = Table("setting", "accuracy", "ICC", "ceiling, 1 run", "ceiling, 8 runs", "models / core-s")
    for name, dataset, recipe in VARIANTS:
        table.add_row(name, *(f"{value:.3f}" for value in measure(changed(dataset, recipe), options.masks, options.repeats)))
    Console(width=110).print(table)


def changed(dataset: dict[str, Any], recipe: dict[str, Any]) -> study.Study:
    """`cifar-small` with some of its fields replaced."""
    shipped = study.load("cifar-small")
    algorithm = {"name": shipped.algorithm.name, **shipped.algorithm.options.model_dump(), **recipe}
    update = {"dataset": shipped.dataset.model_copy(update=dataset), "algorithm": Algorithm.model_validate(algorithm)}
    return shipped.model_copy(update=update)


def measure(chosen: study.Study, n_masks: int, repeats: int) -> tuple[float, float, float, float, float]:
    """Accuracy, ICC, ceiling against one run and against means of eight (over test targets), models a core-second."""
    data = datasets.load(chosen.dataset)
    train = chosen.algorithm.prepare(data)
    drawn = masks.draw(chosen, len(data.train_labels), "heldout", np.arange(n_masks)).repeat(repeats, 0)
    ids = np.arange(len(drawn))
    train(Group(chosen.seed, "warm-up", drawn[:1] & (np.arange(drawn.shape[1]) < 100), ids[:1], ids[:1]))
    start = time.process_time()
    logits = train(Group(chosen.seed, "heldout", drawn, ids, ids))
    rate = len(ids) / (time.process_time() - start)
    return (*judged(logits, data.test_labels, n_masks, repeats, chosen.margin), rate)


def judged(logits: Logits, labels: np.ndarray, n_masks: int, repeats: int, kind: str) -> tuple[float, float, float, float]:
    """Accuracy, ICC and both ceilings of models [n_masks * repeats], those of one mask in a row."""
    margin = margins.margin(logits.test, labels, kind).reshape(n_masks, repeats, -1)
    within = margin.var(1, ddof=1).mean(0)
    between = np.maximum(margin.mean(1).var(0, ddof=1) - within / repeats, 0)
    moved = between + within > 0
    icc, of_means = ((between / (between + within / n))[moved] for n in (1, 8))
    accuracy = float((logits.test.argmax(2) == labels).mean())
    return accuracy, float(icc.mean()), float(np.sqrt(icc).mean()), float(np.sqrt(of_means).mean())


if __name__ == "__main__":
    main()
