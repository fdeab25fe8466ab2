"""Orders of removal: each method's first examples by hand, and imported scores."""

import numpy as np
import pyarrow as pa
import pytest

from builders import datasets, orders
from builders.training.interface import standardised
from lake.errors import UsageError
from lake.partition import Partition
from lake.tables import TABLES


@pytest.fixture(scope="module")
def evidence(checked, checked_study):
    """What the lake says of three targets."""
    return orders.Evidence(checked, checked_study, np.array([2, 7, 11]))


def by_hand(evidence, values, keep) -> list[list[int]]:
    return [sorted(np.flatnonzero(row), key=lambda i: (values[t][i], i)) for t, row in enumerate(keep)]


def test_datamodel_and_opponents_are_the_two_ends_of_the_weights(evidence):
    weights = evidence.weights
    assert np.count_nonzero(weights) > 0
    for method, sign in (("datamodel", -1), ("opponents", 1)):
        first = orders.order(evidence, method, 60)
        assert np.array_equal(np.sort(first, 1), np.tile(np.arange(60), (3, 1)))
        assert (np.diff(np.take_along_axis(sign * weights, first, 1), axis=1) >= 0).all()
    assert (orders.order(evidence, "difference", 60) != orders.order(evidence, "datamodel", 60)).any()


def test_weights_are_those_of_the_lake(evidence, checked, checked_study):
    rows = checked.read(orders.fit_partition(checked_study)).to_pylist()
    for place, target in enumerate(evidence.targets):
        own = {r["train_id"]: r["weight"] for r in rows if r["split"] == "test" and r["target_id"] == target}
        assert {i: np.float32(w) for i, w in enumerate(evidence.weights[place]) if w} == own


def test_pixels_are_nearest_first_and_the_target_s_class_before_others(evidence):
    data = evidence.data
    train, test = (images.reshape(len(images), -1).astype(float) for images in standardised(data))
    first = orders.order(evidence, "pixels", 60)
    for place, target in enumerate(evidence.targets):
        apart = ((train - test[target]) ** 2).sum(1)
        same = np.flatnonzero(data.train_labels == data.test_labels[target])
        assert first[place, : len(same)].tolist() == sorted(same, key=lambda i: apart[i])
        assert set(first[place, len(same) :]) == set(range(60)) - set(same)


@pytest.mark.parametrize("method", ["features", "unrelated"])
def test_those_of_the_class_come_first(evidence, method):
    first = orders.order(evidence, method, 60)
    for place, n in enumerate(evidence.of_class.sum(1)):
        assert evidence.of_class[place, first[place]].tolist() == [True] * n + [False] * (60 - n)
    assert np.array_equal(first[:, :3], orders.order(evidence, method, 3))


def test_smoothed_weights_are_shared_by_examples_that_stand_in_for_each_other(checked, checked_study):
    found = orders.Evidence(checked, checked_study, np.array([2]))
    labels = found.data.train_labels
    like = np.flatnonzero(labels == labels[0])
    places = np.arange(60.0)[:, None] * 100
    places[like[1]] = places[like[0]]  # the networks cannot tell the two
    vars(found)["features"] = [(places, places[:1])]
    weights = np.zeros((1, 60))
    weights[0, like[0]], weights[0, np.flatnonzero(labels != labels[0])[0]] = 1, 0.3
    vars(found)["weights"] = weights
    smoothed = -orders._by_smoothed_weight(found)[0]
    assert smoothed[like[1]] == pytest.approx(smoothed[like[0]])
    assert (smoothed[labels != labels[0]] > 0).any()
    for label in range(10):  # a mean over the class never leaves it
        members = labels == label
        assert weights[0, members].min() <= smoothed[members].min()
        assert smoothed[members].max() <= weights[0, members].max()
    assert weights[0, like[1]] == 0
    assert set(orders.order(found, "smoothed", 2)[0]) == set(like[:2])


def test_unrelated_examples_have_the_smallest_weights_of_their_class(evidence):
    first = orders.order(evidence, "unrelated", 2)
    for place in range(3):
        sizes = np.sort(np.abs(evidence.weights[place])[evidence.of_class[place]])
        assert np.sort(np.abs(evidence.weights[place][first[place]])) == pytest.approx(sizes[:2])


def test_scores_of_others_are_an_order(built_copy, checked_study, facts_of):
    partition = Partition("scores", "small", "trak", 0)
    columns = {"study_id": ["small"] * 3, "method": ["trak"] * 3, "split": ["test"] * 3}
    ids = {"target_id": pa.array([2, 2, 7], pa.int32()), "train_id": pa.array([5, 9, 1], pa.int32())}
    table = pa.table({**columns, **ids, "score": pa.array([1, 3, -1], pa.float32())}, schema=TABLES["scores"].schema)
    built_copy.publish(partition, table, facts_of(partition))
    found = orders.Evidence(built_copy, checked_study, np.array([2, 7]))
    first = orders.order(found, "scores:trak", 60)
    assert first[0, :3].tolist() == [9, 5, 0]
    assert first[1, -1] == 1
    with pytest.raises(UsageError, match="import-scores small FILE --method tracin"):
        orders.order(found, "scores:tracin", 1)


def test_what_an_order_needs_is_what_it_reads(checked_study):
    fit, difference = (Partition("weights", "small", e, 48) for e in ("lasso", "difference"))
    assert orders.needed(checked_study, ("pixels", "datamodel")) == (fit,)
    assert orders.needed(checked_study, ("difference",)) == (fit, difference)
    assert datasets.load(checked_study.dataset).n_classes == 10
