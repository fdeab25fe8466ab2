"""The table removals: which training examples to take away from which targets, and how the margins should change.

Paper section 4.1 (counterfactuals): remove the first k by the datamodel and by baselines, predict the change of the target's
margin, retrain on the rest (builders/counterfactuals.py), compare. Random sets of the same size are the gauge: with subsets
of one size, weights are known up to a constant, which drops out of a difference between two removals of one size.

The plan follows from the study alone; a word of it is part of the role, so that other targets, sizes, methods, repeats or
another fit make new partitions beside the old ones. With `removals.transfer` the same sets are there once more, under a role
of their own, for retrains by other learning algorithms: do the datamodels of one predict another? (Paper: ResNet-9 datamodels
predict ResNet-18.) Two predictions: minus the sum of the removed weights, and the same
through a parabola from the predicted to the actual margin of the fit models, which knows that margins saturate.
"""

from collections.abc import Iterator
from functools import lru_cache
from itertools import product
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from builders import counter, orders
from builders.orders import chosen_targets, fit_partition, needed
from builders.study import Study
from builders.training.registry import Algorithm
from builders.unit import Unit
from lake.fingerprint import fingerprint
from lake.partition import Partition
from lake.store import Lake
from lake.tables import TABLES

NAME: str = "removals"
BUILDS: tuple[str, ...] = ("removals",)

RANDOM_SETS = 8
"""Random sets of each size, shared by all targets."""

RULES = 1
"""Version of the rules that turn a plan into sets."""


class Removal(NamedTuple):
    """One set to remove: `number` is the place of its target among the chosen ones, or counts random sets."""

    method: str
    k: int
    number: int
    repeats: int


def roles(study: Study) -> dict[str, Algorithm]:
    """Learning algorithm of the retrains by role: `removal-` and eight hex digits that change with the plan and algorithm."""
    asked = study.removals.model_dump(mode="json", exclude={"transfer"})
    described = {"rules": RULES, "random": RANDOM_SETS, "fit": fit_partition(study).name, **asked}
    own = {f"removal-{fingerprint(described)[:8]}": study.algorithm}
    others = {f"removal-{fingerprint({**described, 'algorithm': a.identity()})[:8]}": a for a in study.removals.transfer}
    return own | others


@lru_cache(maxsize=4)
def planned(study: Study) -> tuple[Removal, ...]:
    """Every set by removal_id: nothing (the base), random sets, then each method's by size and target."""
    repeats = study.removals.repeats
    if not study.removals.targets:
        return ()
    base = Removal("base", 0, 0, repeats)
    random = [Removal("random", k, s, repeats) for k, s in product(study.removals.sizes, range(RANDOM_SETS))]
    chosen = product(study.removals.methods, study.removals.sizes, range(study.removals.targets))
    return (base, *random, *(Removal(m, k, t, repeats if m == "datamodel" else 1) for m, k, t in chosen))


def plan(study: Study) -> list[Unit]:
    """One unit: the sets of the whole plan; none without removals.targets."""
    if not study.removals.targets:
        return []
    partitions = tuple(Partition("removals", study.name, role, 0) for role in roles(study))
    models = [Partition(t, study.name, "fit", i) for i in _fit_indices(study) for t in ("masks", "margins")]
    return [Unit(NAME, partitions, (*needed(study, study.removals.methods), *models), len(planned(study)))]


def build(lake: Lake, study: Study, unit: Unit) -> Iterator[tuple[Partition, pa.Table]]:
    """The sets of the plan and what the fit predicts of each; the same sets for every learning algorithm."""
    rows = _rows_of(lake, study)
    for partition in unit.partitions:
        yield partition, _table(study, partition.role, rows)


def _rows_of(lake: Lake, study: Study) -> list[tuple]:
    chosen = chosen_targets(study, study.removals.targets, max(study.removals.sizes))
    evidence = orders.Evidence(lake, study, chosen)
    weights, n_train = evidence.weights, len(evidence.data.train_labels)
    first = {m: orders.order(evidence, m, max(study.removals.sizes)) for m in study.removals.methods}
    curves = _curves(lake, study, chosen, weights)
    rows = []
    for removal_id, removal in enumerate(planned(study)):
        if removal.method == "base":
            continue
        shared = removal.method == "random"
        method, number, k = removal.method, removal.number, removal.k
        removed = random_set(study, k, number, n_train) if shared else first[method][number, :k]
        for place in range(len(chosen)) if shared else (removal.number,):
            drop = weights[place, removed].sum()
            rows.append((removal_id, chosen[place], removal, removed, -drop, _curved(curves[place], drop)))
    return rows


def _fit_indices(study: Study) -> range:
    return range(-(-study.models // study.partition_models))


def random_set(study: Study, k: int, number: int, n_train: int) -> NDArray[np.int64]:
    """The `number`-th random set of `k` training examples [k]."""
    word = counter.words(study.seed, "removal/random", k, number, np.arange(n_train))
    return np.argsort(word, kind="stable")[:k]


def _curves(lake: Lake, study: Study, chosen: NDArray[np.int64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """(slope, bend) of each target [n_targets, 2]: how the margin changes with the predicted one, from that of all examples.

    Least squares of fit models' margins on predicted margin and its square, in the units of the full-data prediction.
    """
    from builders.totals import read_models  # imports the solvers

    predicted, actual = [], []
    for index in _fit_indices(study):
        models = read_models(lake, study, index, ("test",))
        masks = np.unpackbits(models["masks"], axis=1, count=weights.shape[1])
        predicted.append(masks.astype(np.float64) @ weights.T - weights.sum(1))  # 0 is all examples
        actual.append(models["margins"][:, chosen].astype(np.float64))
    x, y = np.concatenate(predicted), np.concatenate(actual)
    return np.stack(
        [np.linalg.lstsq(np.stack([e**0, e, e**2], 1), m, rcond=None)[0][1:] for e, m in zip(x.T, y.T, strict=True)]
    )


def _curved(curve: NDArray[np.float64], drop: float) -> float:
    """Change of the margin when the predicted one falls by `drop` from that of all examples."""
    return float(-curve[0] * drop + curve[1] * drop**2)


def _named(study: Study, role: str) -> str | None:
    """The algorithm of a role with the options that are not its defaults; None for the study's own."""
    algorithm = roles(study)[role]
    options = algorithm.options.model_dump(mode="json", exclude_defaults=True)
    words = (algorithm.name, *(f"{name}={value}" for name, value in options.items()))
    return None if algorithm == study.algorithm else " ".join(words)


def _table(study: Study, role: str, rows: list[tuple]) -> pa.Table:
    ids, target_ids, removals, removed, change, curved = zip(*rows, strict=True)
    columns = {
        "study_id": [study.name] * len(rows),
        "role": [role] * len(rows),
        "removal_id": np.array(ids, np.int32),
        "target_id": np.array(target_ids, np.int32),
        "method": [removal.method for removal in removals],
        "k": np.array([removal.k for removal in removals], np.int32),
        "removed": [each.tolist() for each in removed],
        "predicted_change": np.array(change, np.float32),
        "curved_change": np.array(curved, np.float32),
        "algorithm": [_named(study, role)] * len(rows),
        "fit": [fit_partition(study).name] * len(rows),
    }
    return pa.table(columns, schema=TABLES["removals"].schema)
