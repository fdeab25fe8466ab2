"""Data supports: searched sets say what their models say, and relabelled copies are examples like others."""

from itertools import groupby
from types import SimpleNamespace

import numpy as np
import pytest

from builders import datasets, orders, supports
from builders.margins import margin
from builders.training.interface import Group, Logits
from lake.errors import LakeError


@pytest.fixture(scope="module")
def rows(checked):
    """Every try."""
    return checked.scan(sorted(checked.present("supports"))).to_pylist()


@pytest.fixture(scope="module")
def searches(rows):
    """Tries by target, method and change, in order."""
    return {key: list(tries) for key, tries in groupby(rows, lambda r: (r["target_id"], r["method"], r["change"]))}


def retrained(study, data, mask, repeats) -> np.ndarray:
    """Margins [n_repeats, n_test] of models trained on `mask`, as they are stored."""
    ids = np.array(repeats)
    group = Group(study.seed, "removal", np.tile(mask, (len(ids), 1)), orders.base_init(study) + ids, ids)
    return margin(study.algorithm.prepare(data)(group).test, data.test_labels, study.margin).astype(np.float16)


def test_every_target_is_searched_by_every_method_in_both_ways(searches, checked_study):
    targets = orders.chosen_targets(checked_study, 12, 1).tolist()
    assert list(searches) == [(t, m, c) for t in targets for m in ("datamodel", "pixels") for c in ("relabelling", "removal")]
    for tries in searches.values():
        assert [t["step"] for t in tries] == list(range(len(tries)))
        assert (tries[0]["size"], tries[0]["changed"], len(tries[0]["margins"])) == (0, [], 4)
        assert all(len(set(t["changed"])) == t["size"] <= 30 for t in tries)
        assert all(t["flips"] == (np.mean(t["margins"]) < 0) for t in tries)


def test_a_target_that_is_wrong_with_everything_is_not_searched(searches):
    wrong = {key: len(tries) for key, tries in searches.items() if np.mean(tries[0]["margins"]) <= 0}
    right = {key: len(tries) for key, tries in searches.items() if np.mean(tries[0]["margins"]) > 0}
    assert set(wrong.values()) == {1}
    assert min(right.values()) > 1


def test_the_smallest_set_that_was_found_is_confirmed_by_other_models(searches):
    confirmed = [tries for tries in searches.values() if tries[-1]["confirming"] and tries[-1]["flips"]]
    assert len(confirmed) > 5
    for tries in confirmed:
        assert not [t for t in tries if t["confirming"] and t["flips"] and t["size"] < tries[-1]["size"]]
    for tries in searches.values():
        assert tries[-1]["confirming"] or tries[-1]["size"] in (0, max(t["size"] for t in tries))


def test_a_removal_s_margins_are_those_of_models_trained_by_hand(searches, checked_study):
    data = datasets.load(checked_study.dataset)
    for confirming, repeats in ((False, (0, 1)), (True, (2, 3))):
        key, tried = next(
            (key, t)
            for key, tries in searches.items()
            for t in tries[1:]
            if key[2] == "removal" and t["confirming"] == confirming
        )
        mask = ~np.isin(np.arange(60), tried["changed"])
        assert np.array_equal(tried["margins"], retrained(checked_study, data, mask, repeats)[:, key[0]])


def test_a_relabelling_gives_the_class_that_comes_second_to_examples_of_others(searches, checked_study):
    data = datasets.load(checked_study.dataset)
    whole = Group(0, "removal", np.ones((4, 60), bool), orders.base_init(checked_study) + np.arange(4), np.arange(4))
    logits = checked_study.algorithm.prepare(data)(whole).test.mean(0)
    for (target, _, change), tries in searches.items():
        if change == "relabelling":
            order = np.argsort(-logits[target])
            assert {t["label"] for t in tries} == {int(order[order != data.test_labels[target]][0])}
            assert all(data.train_labels[t["changed"]].tolist().count(t["label"]) == 0 for t in tries)


def test_where_all_have_the_second_class_already_nothing_is_relabelled_or_tried(checked_study):
    data = datasets.load(checked_study.dataset)
    label = int(data.test_labels[0] + 1) % 10
    whole = np.zeros((4, 20, 10))
    whole[:, 0, label] = 1
    first = np.flatnonzero(data.train_labels == label)
    case = supports.Case(0, "pixels", first, None, supports.Search(1, len(first)), [supports.Try(0, False, np.ones(4))])
    _, relabellings = supports._relabellings(SimpleNamespace(data=data), [case], whole)
    supports._search(checked_study, data, 60, relabellings)
    assert (len(first) > 0, len(relabellings[0].first), len(relabellings[0].tries)) == (True, 0, 1)


def test_a_relabelled_copy_is_another_example(checked_study):
    data = datasets.load(checked_study.dataset)
    case = supports.Case(3, "pixels", np.array([4, 9, 2]), None, supports.Search(1, 3), [], 5, np.array([60, 62, 61]))
    assert np.flatnonzero(~case.mask(2, 60, 63)).tolist() == [4, 9, 61]
    assert np.flatnonzero(~case.mask(0, 60, 63)).tolist() == [60, 61, 62]
    assert len(data.train_labels) == 60


def test_the_predicted_margin_falls_by_the_weights(searches, checked, checked_study):
    targets = orders.chosen_targets(checked_study, 12, 1)
    weights = dict(zip(targets.tolist(), orders.Evidence(checked, checked_study, targets).weights, strict=True))
    for (target, _, change), tries in searches.items():
        for tried in tries:
            if change == "relabelling":
                assert tried["predicted_margin"] is None
            else:
                expected = np.mean(tries[0]["margins"]) - weights[target][tried["changed"]].sum()
                assert tried["predicted_margin"] == pytest.approx(expected, abs=1e-3)


def test_models_that_all_fail_are_no_evidence(checked_study):
    def train(group):
        raise RuntimeError("no more memory")

    data = datasets.load(checked_study.dataset)
    with pytest.raises(LakeError, match="every model failed, first with: RuntimeError: no more memory"):
        supports._logits(checked_study, train, data, np.ones((2, 60), bool), np.arange(2))


def test_a_model_that_did_not_end_well_is_left_out(checked_study):
    data = datasets.load(checked_study.dataset)

    def train(group):
        logits = np.where(group.order_ids == 1, np.nan, 1.0)[:, None, None] * np.ones((1, 80, 10), np.float32)
        return Logits(logits[:, :60].astype(np.float32), logits[:, 60:].astype(np.float32))

    found = supports._logits(checked_study, train, data, np.ones((3, 60), bool), np.arange(3))
    assert np.isnan(found).all((1, 2)).tolist() == [False, True, False]
    assert len(supports._finite(found[:, 0, 0])) == 2
    assert not supports.Try(3, True, supports._finite(found[1:2, 0, 0])).flips


def test_the_role_changes_with_what_is_asked(study_of, checked_study):
    asked = checked_study.support.model_dump()
    changes = [{}, {"targets": 13}, {"methods": ["pixels"]}, {"repeats": 3}, {"confirmations": 3}, {"most": 0.4}]
    assert len({supports.role(study_of(support={**asked, **change})) for change in changes}) == len(changes)
    assert supports.plan(study_of()) == []
    assert [u.partitions[0].index for u in supports.plan(checked_study)] == [0, 1]
