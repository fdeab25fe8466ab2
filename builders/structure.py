"""The tables components and clusters: what the weights of a study's datamodels say about its images as a whole.

Ilyas et al. 2022 section 4: a target is embedded as its weights. Principal components of the test targets are directions over
training examples; both ends of one are removed in builders/interventions.py. Beside the spectrum of the weights stand those
of two feature embeddings of the same targets, so that their effective dimensions can be compared. Spectral clusters are taken
of all test targets together and of those of each class by itself (subpopulations); a training example joins the cluster
whose mean weights are nearest to its own. All of it is of the fit that removals are predicted by, and a word for the fit and
for what is asked is part of the role.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from builders import datasets, orders
from builders.study import Study
from builders.training.embedding import embed
from builders.training.interface import Data, standardised
from builders.unit import Unit
from lake.fingerprint import fingerprint
from lake.partition import Partition
from lake.store import Lake
from lake.tables import TABLES
from lake.verify import unusable

if TYPE_CHECKING:
    from scipy.sparse import csr_array

NAME: str = "structure"
BUILDS: tuple[str, ...] = ("components", "clusters")

RULES = 1
"""Version of the rules by which components and clusters are made."""

Ids = NDArray[np.int64]


def role(study: Study) -> str:
    """Role of the partitions: `structure-` and eight hex digits that change with what is asked and with the fit."""
    asked = {name: getattr(study.structure, name) for name in ("components", "clusters", "subpopulations")}
    return f"structure-{fingerprint({'rules': RULES, 'fit': orders.fit_partition(study).name, **asked})[:8]}"


def plan(study: Study) -> list[Unit]:
    """One unit; none without structure.components."""
    if not study.structure.components:
        return []
    partitions = tuple(Partition(table, study.name, role(study), 0) for table in BUILDS)
    return [Unit(NAME, partitions, (orders.fit_partition(study),), study.structure.components)]


def build(lake: Lake, study: Study, unit: Unit) -> Iterator[tuple[Partition, pa.Table]]:
    """Components of the weights beside the spectra of features and pixels, then the clusterings."""
    data, fit = datasets.load(study.dataset), orders.fit_partition(study)
    rows = {split: embedded(lake, fit, split, data) for split in ("test", "train")}
    components, clusters = unit.partitions
    yield components, _components(study, components, rows["test"], data)
    yield clusters, _clusters(study, clusters, rows, data)


def embedded(lake: Lake, fit: Partition, split: str, data: Data) -> "csr_array":
    """Weights of a fit as rows of length 1 [n_targets, n_train]; the weight of a training example for itself left out."""
    import pyarrow.compute as pc  # 40 ms that a look at a lake can spare

    from builders import embeddings

    rows = lake.read(fit, ["split", "target_id", "train_id", "weight"])
    rows = rows.filter(pc.equal(rows["split"], split))  # pyright: ignore[reportAttributeAccessIssue]
    target, train, weight = (rows[name].to_numpy() for name in ("target_id", "train_id", "weight"))
    others = np.ones(len(target), bool) if split == "test" else target != train
    shape = len(data.test_labels if split == "test" else data.train_labels), len(data.train_labels)
    if len(target) and not (target.max() < shape[0] and train.max() < shape[1]):
        raise unusable(fit, f"holds weights beyond {shape[0]} {split} targets and {shape[1]} training examples")
    return embeddings.unit(embeddings.sparse(target[others], train[others], weight[others], shape))


def component_rows(partition: Partition, fit: str, found: dict[str, list[Any]]) -> pa.Table:
    """Rows of the table components from some of its columns; what is left out is NULL."""
    n = len(found["component"])
    owner = {"study_id": [partition.value] * n, "role": [partition.role] * n, "fit": [fit] * n}
    filled = {**owner, **found}
    schema = TABLES["components"].schema
    return pa.table([pa.array(filled.get(f.name, [None] * n), f.type) for f in schema], schema=schema)


def _components(study: Study, partition: Partition, rows: "csr_array", data: Data) -> pa.Table:
    from builders import embeddings

    found = embeddings.principal(rows, study.structure.components)
    kept = len(found.loadings)
    features, pixels = (embeddings.spectrum(each) for each in (_features(study, data), _pixels(data)))
    explained = {"features": features, "pixels": pixels, "weights": found.explained}
    nothing = [None] * (len(features) + len(pixels))
    beyond = [None] * (len(found.explained) - kept)
    columns = {
        "embedding": [name for name, shares in explained.items() for _ in shares],
        "component": [place for shares in explained.values() for place in range(len(shares))],
        "explained": np.concatenate(list(explained.values())).tolist(),
        "test_score": nothing + list(found.scores.T.astype(np.float32)) + beyond,
        "train_loading": nothing + list(found.loadings.astype(np.float32)) + beyond,
    }
    return component_rows(partition, orders.fit_partition(study).name, columns)


def _features(study: Study, data: Data) -> NDArray[np.floating]:
    """What the first base model of the retrains makes of the test images [n_test, width]."""
    whole = orders.coupled(study, np.ones((1, len(data.train_labels)), bool), np.zeros(1, np.int64))
    return embed(study.algorithm, data, whole)[1][0]


def _pixels(data: Data) -> NDArray[np.floating]:
    test = standardised(data)[1]
    return test.reshape(len(test), -1)


def _clusters(study: Study, partition: Partition, rows: dict[str, "csr_array"], data: Data) -> pa.Table:
    """A row an example and clustering; an example of a class without test targets is in no cluster within its class."""
    asked, tables = study.structure, []
    test, train = np.arange(len(data.test_labels)), np.arange(len(data.train_labels))
    tables.append(_clustering(partition, study, rows, data, (test, train), asked.clusters, "all"))
    first = 0
    for label in range(data.n_classes):
        members = np.flatnonzero(data.test_labels == label), np.flatnonzero(data.train_labels == label)
        if len(members[0]):
            tables.append(_clustering(partition, study, rows, data, members, asked.subpopulations, "class", first))
            first = 1 + max(tables[-1]["cluster"].to_pylist())
    keys = [(name, "ascending") for name in TABLES["clusters"].sort]
    return pa.concat_tables(tables).sort_by(keys)


def _clustering(
    partition: Partition, study: Study, rows: dict[str, "csr_array"], data: Data, members: tuple[Ids, Ids], n: int,
    within: str, first: int = 0,
) -> pa.Table:  # fmt: skip
    """Rows of one clustering of `members` (test, train), whose clusters are numbered from `first`.

    A training example whose datamodel has no weight but its own is like nothing, and in no cluster.
    """
    from builders import embeddings

    members = members[0], members[1][np.diff(rows["train"].indptr)[members[1]] > 0]
    test, train = rows["test"][members[0]], rows["train"][members[1]]
    found = embeddings.numbered(embeddings.cluster(test, n), data.test_labels[members[0]])
    centres = embeddings.centres(test, found)
    near, nearest = (test @ centres.T).toarray(), (train @ centres.T).toarray()
    clusters = np.concatenate([found, nearest.argmax(1)])
    similarity = np.concatenate([near[np.arange(len(found)), found], nearest.max(1, initial=-1)])
    size = len(clusters)
    columns = {
        "study_id": [study.name] * size, "role": [partition.role] * size, "within": [within] * size,
        "split": ["test"] * len(found) + ["train"] * len(nearest),
        "example_id": np.concatenate(members).astype(np.int32), "cluster": (first + clusters).astype(np.int32),
        "similarity": similarity.astype(np.float32), "fit": [orders.fit_partition(study).name] * size,
    }  # fmt: skip
    return pa.table(columns, schema=TABLES["clusters"].schema)
