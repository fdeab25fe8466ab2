"""Which training examples a counterfactual removes first: an order of them for each target and method.

- `datamodel`: largest weight first (Ilyas et al. 2022 section 4.1), `opponents`: most negative weight first;
- `smoothed`: largest weight first, each a mean over its like: examples of its class that the networks see near it. A sparse fit
  names one of several that can stand in for each other; to take a group away, all of them have to be named;
- `difference`: largest difference of means first: the empirical influence of Feldman and Zhang (arXiv 2008.03703);
- `pixels`, `features`: nearest first among those of the target's class, by pixels or by the last hidden layer of networks
  trained on everything: the baseline that rivals attribution methods (Singla et al., arXiv 2311.03386);
- `unrelated`: of the target's class with weights nearest 0, which should change nothing;
- `scores:NAME`: highest score first, by a method whose scores were imported under that name (builders/scores.py).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from builders import counter, datasets
from builders.study import Study
from builders.training.embedding import embed
from builders.training.interface import Data, Group, standardised
from lake.errors import UsageError
from lake.partition import Partition
from lake.store import Lake

NETWORKS = 4
"""Full-data networks whose hidden layers give `features`: the first base models of the retrains."""

STREAM = "removal"
"""Role that keys the order of examples in retrains: the same in every plan."""

REACH = 5
"""The weight of a neighbour falls as exp(-squared distance), to 1/e at about the one after so many."""

Distances = NDArray[np.float64]


@dataclass(frozen=True)
class Evidence:
    """What orders are made from: what the lake says of a study's test targets in question [n_targets]."""

    lake: Lake
    study: Study
    targets: NDArray[np.int64]

    @cached_property
    def data(self) -> Data:
        """The study's dataset."""
        return datasets.load(self.study.dataset)

    @cached_property
    def weights(self) -> NDArray[np.float64]:
        """Weights of the fit that predicts [n_targets, n_train]."""
        return self.read(fit_partition(self.study))

    @cached_property
    def features(self) -> list[tuple[Distances, Distances]]:
        """Last hidden layer of each full-data network on training and on test examples, [n, width] each."""
        whole = np.ones((NETWORKS, len(self.data.train_labels)), bool)
        group = coupled(self.study, whole, np.arange(NETWORKS))
        pairs = zip(*embed(self.study.algorithm, self.data, group), strict=True)
        return [(train.astype(np.float64), test.astype(np.float64)) for train, test in pairs]

    def read(self, partition: Partition) -> NDArray[np.float64]:
        """Weights or scores of a partition [n_targets, n_train]; 0 where it has no row."""
        import pyarrow.compute as pc  # 40 ms that a look at a lake can spare

        value = "score" if partition.table == "scores" else "weight"
        rows = self.lake.read(partition, ["split", "target_id", "train_id", value])
        rows = rows.filter(pc.equal(rows["split"], "test"))  # pyright: ignore[reportAttributeAccessIssue]
        target, train, values = (rows[name].to_numpy() for name in ("target_id", "train_id", value))
        place = np.full(max(int(target.max(initial=0)), int(self.targets.max())) + 1, -1)
        place[self.targets] = np.arange(len(self.targets))
        chosen = place[target] >= 0
        found = np.zeros((len(self.targets), len(self.data.train_labels)))
        found[place[target[chosen]], train[chosen]] = values[chosen]
        return found

    @cached_property
    def of_class(self) -> NDArray[np.bool_]:
        """Which training examples have the class of which target [n_targets, n_train]."""
        return self.data.test_labels[self.targets][:, None] == self.data.train_labels[None]


def order(evidence: Evidence, method: str, k: int) -> NDArray[np.int64]:
    """The first `k` training examples to remove for each target [n_targets, k], ties by position."""
    method, _, name = method.partition(":")
    prices = _by_score(evidence, name) if method == "scores" else _PRICES[method](evidence)
    return np.argsort(prices, axis=1, kind="stable")[:, :k]


def fit_partition(study: Study) -> Partition:
    """Weights that choose and predict: the estimator `shared` where the study has it, on all models."""
    return Partition("weights", study.name, "shared" if "shared" in study.estimators else study.estimators[0], study.models)


def needed(study: Study, methods: tuple[str, ...]) -> tuple[Partition, ...]:
    """Partitions that must be built before predictions and orders by these methods; scores are imported, not built."""
    return (fit_partition(study), *([_differences(study)] if "difference" in methods else []))


def chosen_targets(study: Study, n_targets: int, largest: int) -> NDArray[np.int64]:
    """So many test targets chosen by seed, rising; UsageError when there are not so many, or no `largest` + 1 examples."""
    data = datasets.load(study.dataset)
    for what, asked, there in (
        ("test targets", n_targets, len(data.test_labels)),
        ("training examples to change", largest, len(data.train_labels) - 1),
    ):
        if asked > there:
            raise UsageError(f"study {study.name} asks for {asked} {what}; dataset {study.dataset.name} allows {there}")
    word = counter.words(study.seed, "removal/targets", np.arange(len(data.test_labels)))
    return np.sort(np.argsort(word, kind="stable")[:n_targets])


def base_init(study: Study) -> int:
    """The first initialisation of retrains: outside the pool and the held-out models'."""
    return study.pool + study.heldout_masks * study.heldout_repeats


def coupled(study: Study, drawn: NDArray[np.bool_], repeats: NDArray[np.int64]) -> Group:
    """Models on masks [n_models, n_train] that start and order examples as the base models with the numbers `repeats` do."""
    return Group(study.seed, STREAM, drawn, base_init(study) + repeats, repeats)


def _by_weight(evidence: Evidence) -> Distances:
    return -evidence.weights


def _by_smoothed_weight(evidence: Evidence) -> Distances:
    smoothed = evidence.weights.copy()
    for label in range(evidence.data.n_classes):
        members = np.flatnonzero(evidence.data.train_labels == label)
        if len(members) > 1:
            apart = _apart([(train[members], train[members]) for train, _ in evidence.features])
            reach = np.sort(apart, axis=1)[:, min(REACH, len(members) - 1)]
            kernel = np.exp(-apart / np.maximum(np.sqrt(reach[:, None] * reach[None]), 1e-300))
            smoothed[:, members] = evidence.weights[:, members] @ (kernel / kernel.sum(1, keepdims=True)).T
    return -smoothed


def _by_opposition(evidence: Evidence) -> Distances:
    return evidence.weights


def _by_difference(evidence: Evidence) -> Distances:
    return -evidence.read(_differences(evidence.study))


def _by_pixels(evidence: Evidence) -> Distances:
    train, test = (images.reshape(len(images), -1).astype(np.float64) for images in standardised(evidence.data))
    return _others_last(_squared(test[evidence.targets], train), evidence.of_class)


def _by_features(evidence: Evidence) -> Distances:
    return _others_last(_apart([(test[evidence.targets], train) for train, test in evidence.features]), evidence.of_class)


def _by_indifference(evidence: Evidence) -> Distances:
    word = counter.words(
        evidence.study.seed, "removal/unrelated", evidence.targets[:, None], np.arange(evidence.weights.shape[1])
    )
    tie = counter.uniform(word) * 1e-9
    return _others_last(np.abs(evidence.weights) + tie, evidence.of_class)


def _differences(study: Study) -> Partition:
    return Partition("weights", study.name, "difference", study.models)


def _by_score(evidence: Evidence, name: str) -> Distances:
    partition = Partition("scores", evidence.study.name, name, 0)
    if partition not in evidence.lake.present("scores", evidence.study.name):
        raise UsageError(
            f"method scores:{name} needs the scores of {name}, which are not in the lake: "
            f"`python -m builders import-scores {evidence.study.name} FILE --method {name}` sets them there"
        )
    return -evidence.read(partition)


def _apart(pairs: list[tuple[Distances, Distances]]) -> Distances:
    """Squared distances [n_a, n_b] of rows, a mean over networks, each in units of its own mean distance."""
    apart = [_squared(a, b) for a, b in pairs]
    return np.mean([each / max(each.mean(), 1e-300) for each in apart], axis=0)


def _squared(a: Distances, b: Distances) -> Distances:
    """Squared Euclidean distances [n_a, n_b] of rows."""
    return np.maximum((a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T, 0)


def _others_last(distances: Distances, first: NDArray[np.bool_]) -> Distances:
    """Distances with those that are not `first` moved behind all others."""
    return distances + np.where(first, 0, 1 + distances.max())


_PRICES: dict[str, Callable[[Evidence], Distances]] = {
    "datamodel": _by_weight,
    "smoothed": _by_smoothed_weight,
    "difference": _by_difference,
    "pixels": _by_pixels,
    "features": _by_features,
    "opponents": _by_opposition,
    "unrelated": _by_indifference,
}
"""For each method a number that is smallest for the example to remove first [n_targets, n_train]."""
