"""Removals: the sets of a plan, what is predicted of them, and a role that changes when the plan does."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import datasets, orders, removals
from builders.plan import take_inventory
from lake.errors import UsageError
from lake.partition import Partition

METHODS = ("datamodel", "smoothed", "difference", "pixels", "features", "opponents", "unrelated")


@pytest.fixture(scope="module")
def rows(checked, checked_study):
    """Rows of the study's own retrains."""
    return checked.read(Partition("removals", "small", next(iter(removals.roles(checked_study))), 0)).to_pylist()


def test_every_set_of_the_plan_is_there_with_its_size(rows, checked_study):
    sets = {(row["removal_id"], row["method"], row["k"]) for row in rows}
    assert len(sets) == 2 * 8 + len(METHODS) * 2 * 3  # random sets, and a method's by size and target
    assert sorted({i for i, *_ in sets}) == list(range(1, 59))
    assert all(len(set(row["removed"])) == row["k"] for row in rows)
    assert {row["method"] for row in rows} == {"random", *METHODS}
    assert {row["target_id"] for row in rows} == set(orders.chosen_targets(checked_study, 3, 8).tolist())


def test_random_sets_are_shared_by_the_targets_and_differ_from_each_other(rows):
    random = [row for row in rows if row["method"] == "random"]
    assert len(random) == 16 * 3
    by_id = {row["removal_id"]: set(row["removed"]) for row in random}
    assert all(set(row["removed"]) == by_id[row["removal_id"]] for row in random)
    assert len(set(map(frozenset, by_id.values()))) == 16


def test_the_prediction_is_minus_the_sum_of_the_removed_weights(rows, checked, checked_study):
    fit = orders.fit_partition(checked_study)
    assert fit == Partition("weights", "small", "lasso", 48)
    weight = {(w["target_id"], w["train_id"]): w["weight"] for w in checked.read(fit).to_pylist() if w["split"] == "test"}
    for row in rows:
        total = sum(weight.get((row["target_id"], i), 0.0) for i in row["removed"])
        assert row["predicted_change"] == pytest.approx(-total, abs=1e-6)
        assert row["fit"] == fit.name
    assert any(row["predicted_change"] < 0 for row in rows)


@given(slope=st.floats(-2, 2), bend=st.floats(-1, 1), drop=st.floats(-3, 3))
def test_the_curve_is_the_change_of_a_parabola(slope, bend, drop):
    def margin(x):  # x is 0 with all examples, and falls by the drop
        return 1.5 + slope * x + bend * x**2

    assert removals._curved(np.array([slope, bend]), drop) == pytest.approx(margin(-drop) - margin(0), abs=1e-9)


def test_a_study_whose_margins_are_a_parabola_gets_it_back(built, small, monkeypatch):
    chosen, rng = np.array([0, 1]), np.random.default_rng(0)
    weights = rng.normal(size=(2, 60))

    def read_models(lake, study, index, splits):
        masks = np.random.default_rng(index).random((16, 60)) < 0.5
        x = masks @ weights.T - weights.sum(1)
        return {"masks": np.packbits(masks, axis=1), "margins": 3 + 2 * x - 0.25 * x**2}

    monkeypatch.setattr("builders.totals.read_models", read_models)
    assert removals._curves(built, small, chosen, weights) == pytest.approx(np.array([[2, -0.25]] * 2))


def test_other_algorithms_have_the_same_sets_under_a_role_of_their_own(rows, checked, checked_study):
    own, other = (Partition("removals", "small", role, 0) for role in removals.roles(checked_study))
    assert own.role != other.role
    told = {"role", "algorithm"}
    same = [{k: v for k, v in row.items() if k not in told} for row in checked.read(other).to_pylist()]
    assert same == [{k: v for k, v in row.items() if k not in told} for row in rows]
    assert {row["algorithm"] for row in rows} == {None}
    assert set(checked.read(other)["algorithm"].to_pylist()) == {"patchnet widths=[] epochs=1"}


def test_another_plan_makes_new_files_and_another_algorithm_only_adds(study_of, checked, checked_study):
    asked = {"targets": 3, "sizes": [4, 8], "repeats": 2}
    roles = {
        next(iter(removals.roles(study_of(**changes))))
        for changes in (
            {"removals": asked},
            {"removals": {**asked, "targets": 4}},
            {"removals": {**asked, "sizes": [4]}},
            {"removals": {**asked, "repeats": 3}},
            {"removals": {**asked, "methods": ["pixels"]}},
            {"removals": asked, "models": 64},
        )
    }
    assert len(roles) == 6
    assert next(iter(removals.roles(study_of(removals=asked)))) == next(iter(removals.roles(checked_study)))
    more = take_inventory(checked, study_of(removals={**asked, "targets": 4}))
    assert len(more.missing("removals")) == 1
    assert not set(more.missing("removals")[0].partitions) & more.files.keys()


def test_more_targets_hold_fewer(checked_study):
    few, many = (set(orders.chosen_targets(checked_study, n, 1).tolist()) for n in (3, 12))
    assert few < many


@pytest.mark.parametrize(("asked", "wanted"), [((21, 1), "21 test targets; .* allows 20"), ((1, 60), "60 training .* 59")])
def test_more_than_there_are_is_refused(checked_study, asked, wanted):
    with pytest.raises(UsageError, match=wanted):
        orders.chosen_targets(checked_study, *asked)


def test_a_study_without_targets_plans_none(small):
    assert removals.plan(small) == []
    assert removals.planned(small) == ()
    assert len(datasets.load(small.dataset).test_labels) == 20
