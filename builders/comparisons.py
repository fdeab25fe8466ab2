"""The table components, embeddings `residual` and `reverse`: what one learning algorithm leans on and another does not.

ModelDiff (Shah, Park, Ilyas, Madry, arXiv 2211.12491): two studies of one dataset embed every test target by its weights,
brought to length 1. Each target's weights lose their projection on the weights that the other study has for it; principal
components of what is left are directions over training examples, and the share of either study's variance along one says how
much each leans on it. `residual` is what the study has beyond the other, `reverse` the other way round.

Weights are estimates, and what is left of them is partly noise, which lies along a component because that was made from it.
The gauges, `null` and `reverse-null`, are the same comparison of two fits of one study, on the first and on the second half of
its models: half as many models have more noise, so noise alone hardly ever makes a difference beyond the larger gauge.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from builders import datasets, orders
from builders.structure import component_rows, embedded
from builders.study import Study, load
from builders.unit import Unit
from lake.errors import UsageError
from lake.fingerprint import fingerprint
from lake.partition import Partition
from lake.store import Lake

if TYPE_CHECKING:
    from scipy.sparse import csr_array

NAME: str = "comparisons"
BUILDS: tuple[str, ...] = ("components",)

RULES = 1
"""Version of the rules by which studies are compared."""


class Beyond(NamedTuple):
    """Components of what rows have beyond others: scores [n, kept], loadings [kept, width], and three shares [kept] each."""

    explained: NDArray[np.float64]
    """Of the residual's variance."""
    own: NDArray[np.float64]
    """Of the variance of the rows."""
    other: NDArray[np.float64]
    """Of the variance of the others."""
    scores: NDArray[np.float64]
    loadings: NDArray[np.float64]


def beyond(rows: "csr_array", others: "csr_array", kept: int) -> Beyond:
    """Components of rows [n, width] of length 1 without their projections on the others, row by row."""
    from builders import embeddings

    found = embeddings.principal(embeddings.residual(rows, others), kept)
    own, other = (embeddings.variance_along(each, found.loadings) for each in (rows, others))
    return Beyond(found.explained[: len(own)], own, other, found.scores, found.loadings)


def role(study: Study, other: Study) -> str:
    """Role of the partition: `residual-` and eight hex digits that change with the other study, both fits and what is asked."""
    fits = {each.name: orders.fit_partition(each).name for each in (study, other)}
    return f"residual-{fingerprint({'rules': RULES, 'fits': fits, 'components': study.structure.components})[:8]}"


def plan(study: Study) -> list[Unit]:
    """One unit a study to compare with; UsageError when one cannot be read, or is of other images."""
    units = []
    for other in map(load, study.structure.compare):
        if other.dataset != study.dataset or other.name == study.name:
            raise UsageError(
                f"study {study.name} of dataset {study.dataset.name} cannot be compared with {other.name} of "
                f"{other.dataset.name}: name another study of the same dataset in structure.compare"
            )
        partition = Partition("components", study.name, role(study, other), 0)
        units.append(Unit(NAME, (partition,), _inputs(study), study.models + other.models))
    return units


def build(lake: Lake, study: Study, unit: Unit) -> Iterator[tuple[Partition, pa.Table]]:
    """Components beyond the other study, beyond this one, and of the halves of both; UsageError when the other is not there."""
    (partition,) = unit.partitions
    name, other = next((n, each) for n in study.structure.compare if role(study, each := load(n)) == partition.role)
    _check(lake, study, name, other)
    data, kept = datasets.load(study.dataset), study.structure.components
    own, others = (embedded(lake, orders.fit_partition(each), "test", data) for each in (study, other))
    found = {"residual": beyond(own, others, kept), "reverse": beyond(others, own, kept)}
    gauges = {"null": beyond(*halves(lake, study), kept), "reverse-null": beyond(*halves(lake, other), kept)}
    yield partition, _table(study, other, partition, dict(sorted((found | gauges).items())))


def halves(lake: Lake, study: Study) -> tuple["csr_array", "csr_array"]:
    """Weights of the test targets, rows of length 1, fitted on the first and on the second half of the fit models."""
    from builders import embeddings, regression, totals

    half, estimator, rows = study.models // 2, orders.fit_partition(study).role, []
    for first in (0, half):
        pair = totals.blocked(totals.of_models(lake, study, first + half, ("test",), first))
        try:
            weights = regression.fit_all((estimator,), *pair)[estimator].weights
        except ValueError as error:
            raise UsageError(f"study {study.name}, half of its {study.models} models: {error}") from error
        target, train = np.nonzero(weights)
        rows.append(embeddings.unit(embeddings.sparse(target, train, weights[target, train], weights.shape)))
    return rows[0], rows[1]


def _inputs(study: Study) -> tuple[Partition, ...]:
    """The fit, and the models that it was fitted on."""
    indices = range(-(-study.models // study.partition_models))
    models = (Partition(table, study.name, "fit", index) for index in indices for table in ("masks", "margins"))
    return orders.fit_partition(study), *models


def _check(lake: Lake, study: Study, name: str, other: Study) -> None:
    """UsageError unless all of the other study that is needed is there, and is of that study."""
    there = {table: lake.present(table, other.name) for table in ("weights", "masks", "margins")}
    if missing := [p for p in _inputs(other) if p not in there[p.table]]:
        raise UsageError(
            f"{study.name} is to be compared with {other.name}, of which {len(missing)} partitions are not in {lake.root}, "
            f"first {missing[0].path}: run `make build-missing STUDY={name} LAKE={lake.root}`, then this again"
        )
    fit = orders.fit_partition(other)
    if lake.facts({fit: there["weights"][fit]})[fit].fingerprint != other.fingerprint(datasets.digest(other.dataset)):
        raise UsageError(
            f"{fit.path} is not of the study {name}: another one of that name is in {lake.root}; "
            f"build {name} in a lake of its own, or give one of the two another name"
        )


def _table(study: Study, other: Study, partition: Partition, found: dict[str, Beyond]) -> pa.Table:
    """Rows of all comparisons; of a gauge the shares alone."""
    columns: dict[str, list[Any]] = {"embedding": [], "component": [], "test_score": [], "train_loading": []}
    for embedding, each in found.items():
        columns["embedding"] += [embedding] * len(each.own)
        columns["component"] += range(len(each.own))
        gauge = [None] * len(each.own) if embedding.endswith("null") else None
        columns["test_score"] += gauge or list(each.scores.T.astype(np.float32))
        columns["train_loading"] += gauge or list(each.loadings.astype(np.float32))
    shares = {"explained": "explained", "own_explained": "own", "other_explained": "other"}
    columns |= {name: np.concatenate([getattr(each, of) for each in found.values()]).tolist() for name, of in shares.items()}
    n = len(columns["component"])
    columns |= {"other_study": [other.name] * n, "other_fit": [orders.fit_partition(other).name] * n}
    return component_rows(partition, orders.fit_partition(study).name, columns)
