"""Two studies compared, checked by intervention: either end of a component is removed and both algorithms train again.

What one algorithm leans on beyond the other should cost its targets at that end, and the other's hardly anything (ModelDiff,
arXiv 2211.12491). Drops of margins are those beyond as many random training examples; retrains are coupled to models trained on
everything. Prints the mean drop over all ends with its standard error, and keeps nothing.

    make build-missing && make build-missing STUDY=digits-linear
    python tests/bench/measure_comparison.py digits-linear --lake data
"""

import argparse
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from builders import comparisons, orders
from builders.margins import train_rows
from builders.removals import RANDOM_SETS, random_set
from builders.study import Study, load
from lake.partition import Partition
from lake.store import Lake

REMOVED, TARGETS, COMPONENTS, REPEATS = 40, 20, 10, 4


def first(values: list[float], side: int, n: int) -> NDArray[np.int64]:
    """The `n` examples furthest out at the high (1) or low (-1) end."""
    return np.argsort(-side * np.array(values), kind="stable")[:n]


def drops(study: Study, sets: list[NDArray[np.int64]], n_train: int) -> NDArray[np.float64]:
    """Mean drop of each test target's margin without each set [n_sets, n_targets]."""
    drawn = np.ones((1 + len(sets), n_train), bool)
    for row, removed in enumerate(sets, 1):
        drawn[row, removed] = False
    mask_of, repeats = np.divmod(np.arange(len(drawn) * REPEATS), REPEATS)
    group = orders.coupled(study, drawn[mask_of], repeats)
    rows = train_rows(study, "component-check", group, np.arange(len(mask_of)), mask_of, repeats)
    margins = np.array(rows["test_margin"].to_pylist(), np.float64).reshape(len(drawn), REPEATS, -1)
    return (margins[0] - margins[1:]).mean(1)


def measure(lake: Lake, study: Study, other: Study) -> None:
    """Print, for what either leans on beyond the other, the mean drop of the end's targets under both algorithms."""
    partition = Partition("components", study.name, comparisons.role(study, other), 0)
    rows = [row for row in lake.read(partition).to_pylist() if row["test_score"] and row["component"] < COMPONENTS]
    ends: list[tuple[dict[str, Any], int]] = list(product(rows, (1, -1)))
    n_train = len(rows[0]["train_loading"])
    sets = [random_set(study, REMOVED, number, n_train) for number in range(RANDOM_SETS)]
    sets += [first(row["train_loading"], side, REMOVED) for row, side in ends]
    for trained in (study, other):
        found = drops(trained, sets, n_train)
        found = found[RANDOM_SETS:] - found[:RANDOM_SETS].mean(0)
        for embedding, leans in (("residual", study), ("reverse", other)):
            of_end = [
                each[first(row["test_score"], side, TARGETS)].mean() for each, (row, side) in zip(found, ends, strict=True)
            ]
            chosen = np.array([drop for drop, (row, _) in zip(of_end, ends, strict=True) if row["embedding"] == embedding])
            error = chosen.std(ddof=1) / len(chosen) ** 0.5
            print(f"{leans.name} leans on it, {trained.name} trained: {chosen.mean():.3f} ({error:.3f}) logits")


def main() -> None:
    """Measure every comparison that the study asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study")
    parser.add_argument("--lake", default="data")
    asked = parser.parse_args()
    study = load(asked.study)
    for name in study.structure.compare:
        measure(Lake(asked.lake), study, load(name))


if __name__ == "__main__":
    main()
