"""Structure of a small study: components and clusters are those of the fit's weights, and come out the same every time."""

import numpy as np
import pytest

from builders import datasets, orders, structure
from builders.training.embedding import embed
from builders.training.interface import Group
from lake.partition import Partition


def read(lake, table, study):
    return lake.read(Partition(table, "small", structure.role(study), 0)).to_pylist()


@pytest.fixture(scope="module")
def components(structured, structured_study):
    return read(structured, "components", structured_study)


@pytest.fixture(scope="module")
def clusters(structured, structured_study):
    return read(structured, "clusters", structured_study)


@pytest.fixture(scope="module")
def weights(structured, structured_study):
    """Weights of the test targets [20, 60], of length 1."""
    found = orders.Evidence(structured, structured_study, np.arange(20)).weights
    return found / np.linalg.norm(found, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def own(structured, structured_study):
    """Weights of the training targets but for themselves [60, 60], of length 1 or 0."""
    found = np.zeros((60, 60))
    for row in structured.read(orders.fit_partition(structured_study)).to_pylist():
        if row["split"] == "train" and row["target_id"] != row["train_id"]:
            found[row["target_id"], row["train_id"]] = row["weight"]
    return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-300)


def test_components_are_those_of_the_weights(components, weights, structured_study):
    rows = [row for row in components if row["embedding"] == "weights"]
    centred = weights - weights.mean(0)
    values = np.linalg.svd(centred, compute_uv=False) ** 2
    assert np.allclose([row["explained"] for row in rows], (values / values.sum())[: len(rows)], atol=1e-8)
    assert [row["component"] for row in rows] == list(range(len(rows)))
    assert {row["fit"] for row in rows} == {orders.fit_partition(structured_study).name}
    for row in rows[:6]:
        loading = np.array(row["train_loading"])
        assert loading[np.abs(loading).argmax()] > 0
        assert np.allclose(row["test_score"], centred @ loading, atol=1e-4)
    assert [row["test_score"] for row in rows[6:]] == [None] * (len(rows) - 6)


def test_the_spectra_of_features_and_pixels_stand_beside_it(components, structured_study):
    data, one = datasets.load(structured_study.dataset), np.zeros(1, int)
    group = Group(0, "removal", np.ones((1, 60), bool), orders.base_init(structured_study) + one, one)
    features = embed(structured_study.algorithm, data, group)[1][0].astype(float)
    for name, rows in (("features", features), ("pixels", data.test_images.reshape(20, -1) / 255 - 0.5)):
        found = [row for row in components if row["embedding"] == name]
        assert sum(row["explained"] for row in found) == pytest.approx(1)
        assert {row["test_score"] for row in found} == {None}
        if name == "features":
            rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-300)
            values = np.linalg.svd(rows - rows.mean(0), compute_uv=False) ** 2
            assert found[0]["explained"] == pytest.approx(values[0] / values.sum(), rel=1e-6)


def test_every_example_with_weights_is_in_one_cluster_and_a_class_has_its_own(clusters, own, structured_study):
    data = datasets.load(structured_study.dataset)
    embedded = own.any(1)
    assert 40 < embedded.sum() < 60
    labels = {"test": data.test_labels, "train": data.train_labels}
    every = {(row["split"], row["example_id"]) for row in clusters if row["within"] == "all"}
    assert len(every) == sum(row["within"] == "all" for row in clusters) == 20 + embedded.sum()
    assert {i for split, i in every if split == "train"} == set(np.flatnonzero(embedded).tolist())
    classes: dict[int, set[int]] = {}
    for row in (row for row in clusters if row["within"] == "class"):
        classes.setdefault(row["cluster"], set()).add(int(labels[row["split"]][row["example_id"]]))
    assert all(len(found) == 1 for found in classes.values())
    assert sorted(classes) == list(range(len(classes)))
    known = set(data.test_labels.tolist())
    assert sum(row["within"] == "class" for row in clusters) == 20 + sum(
        label in known for label in data.train_labels[embedded]
    )


def test_a_training_example_is_in_the_cluster_whose_mean_is_most_like_its_weights(clusters, weights, own):
    rows = [row for row in clusters if row["within"] == "all"]
    of_test = np.array([row["cluster"] for row in rows if row["split"] == "test"])
    centres = np.stack([weights[of_test == c].mean(0) for c in range(of_test.max() + 1)])
    near = own @ (centres / np.linalg.norm(centres, axis=1, keepdims=True)).T
    near = near[own.any(1)]
    found = [row for row in rows if row["split"] == "train"]
    assert np.allclose([row["similarity"] for row in found], near.max(1), atol=1e-6)
    assert [row["cluster"] for row in found] == near.argmax(1).tolist()


def test_the_role_changes_with_what_is_asked_and_with_the_fit(study_of, structured_study):
    asked = structured_study.structure.model_dump()
    changes = [{}, {"components": 7}, {"clusters": 6}, {"subpopulations": 3}]
    assert len({structure.role(study_of(structure={**asked, **change})) for change in changes}) == len(changes)
    assert structure.role(study_of(structure=asked, models=64)) != structure.role(structured_study)
    assert structure.role(study_of(structure={**asked, "interventions": 1})) == structure.role(structured_study)
    assert structure.plan(study_of()) == []


def test_twice_adds_nothing_and_a_second_lake_has_the_same_content(
    structured, structured_study, built_copy, build_missing, contents
):
    assert build_missing(structured, structured_study).added == {}
    assert build_missing(built_copy, structured_study).added["components"] == 1
    assert contents(built_copy) == contents(structured)
