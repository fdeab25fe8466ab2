"""The table removals: which training examples to take away from which targets, and how the margins should change.

Paper section 4.1 (counterfactuals): remove the first k by the datamodel and by baselines, predict the change of the target's
margin, retrain on the rest (builders/counterfactuals.py), compare. Random sets of the same size are the gauge: with subsets
of one size, weights are known up to a constant, which drops out of a difference between two removals of one size.

The plan follows from the study alone; a word of it is part of the role, so that other targets, sizes, methods, repeats or
another fit make new partitions beside the old ones. Two predictions: minus the sum of the removed weights, and the same
through a parabola from the predicted to the actual margin of the fit models, which knows that margins saturate.
"""

from collections.abc import Iterator
from functools import lru_cache
from itertools import product
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from builders import counter, datasets, orders
from builders.study import Study
from builders.unit import Unit
from lake.errors import UsageError
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


def fit_partition(study: Study) -> Partition:
    """Weights that choose and predict: the estimator `shared` where the study has it, on all models."""
    return Partition("weights", study.name, "shared" if "shared" in study.estimators else study.estimators[0], study.models)


def role(study: Study) -> str:
    """Role of the plan's partitions: `removal-` and eight hex digits that change with the plan."""
    described = {"rules": RULES, "random": RANDOM_SETS, "fit": fit_partition(study).name}
    return f"removal-{fingerprint({**described, **study.removals.model_dump(mode='json')})[:8]}"


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
    partitions = (Partition("removals", study.name, role(study), 0),)
    fits = {fit_partition(study)}
    if "difference" in study.removals.methods:
        fits.add(Partition("weights", study.name, "difference", study.models))
    models = [Partition(t, study.name, "fit", i) for i in _fit_indices(study) for t in ("masks", "margins")]
    return [Unit(NAME, partitions, (*sorted(fits), *models), len(planned(study)))]


def targets(study: Study) -> NDArray[np.int64]:
    """The chosen test targets [n_targets], rising; UsageError when there are not so many, or too few training examples."""
    data = datasets.load(study.dataset)
    if study.removals.targets > len(data.test_labels):
        raise UsageError(f"removals.targets {study.removals.targets}: there are {len(data.test_labels)} test examples")
    if max(study.removals.sizes) >= len(data.train_labels):
        raise UsageError(f"removals.sizes {max(study.removals.sizes)}: there are {len(data.train_labels)} training examples")
    word = counter.words(study.seed, "removal/targets", np.arange(len(data.test_labels)))
    return np.sort(np.argsort(word, kind="stable")[: study.removals.targets])


def build(lake: Lake, study: Study, unit: Unit) -> Iterator[tuple[Partition, pa.Table]]:
    """The sets of the plan and what the fit predicts of each."""
    chosen, n_train = targets(study), len(datasets.load(study.dataset).train_labels)
    weights = orders.dense_weights(lake, fit_partition(study), chosen, n_train)
    differences = None
    if "difference" in study.removals.methods:
        fit = Partition("weights", study.name, "difference", study.models)
        differences = orders.dense_weights(lake, fit, chosen, n_train)
    evidence = orders.Evidence(study, chosen, weights, differences)
    first = {m: orders.order(evidence, m, max(study.removals.sizes)) for m in study.removals.methods}
    curves = _curves(lake, study, chosen, weights)
    rows = []
    for removal_id, removal in enumerate(planned(study)):
        if removal.method == "base":
            continue
        shared = removal.method == "random"
        removed = _random(study, removal, n_train) if shared else first[removal.method][removal.number, : removal.k]
        for place in range(len(chosen)) if shared else (removal.number,):
            drop = weights[place, removed].sum()
            rows.append((removal_id, chosen[place], removal, removed, -drop, _curved(curves[place], drop)))
    yield unit.partitions[0], _table(study, rows)


def _fit_indices(study: Study) -> range:
    return range(-(-study.models // study.partition_models))


def _random(study: Study, removal: Removal, n_train: int) -> NDArray[np.int64]:
    word = counter.words(study.seed, "removal/random", removal.k, removal.number, np.arange(n_train))
    return np.argsort(word, kind="stable")[: removal.k]


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


def _table(study: Study, rows: list[tuple]) -> pa.Table:
    ids, target_ids, removals, removed, change, curved = zip(*rows, strict=True)
    columns = {
        "study_id": [study.name] * len(rows),
        "role": [role(study)] * len(rows),
        "removal_id": np.array(ids, np.int32),
        "target_id": np.array(target_ids, np.int32),
        "method": [removal.method for removal in removals],
        "k": np.array([removal.k for removal in removals], np.int32),
        "removed": [each.tolist() for each in removed],
        "predicted_change": np.array(change, np.float32),
        "curved_change": np.array(curved, np.float32),
        "fit": [fit_partition(study).name] * len(rows),
    }
    return pa.table(columns, schema=TABLES["removals"].schema)
