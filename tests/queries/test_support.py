"""Queries about data support: a lake worked by hand, and a curve that never falls."""

import numpy as np
import pytest


def search(target_id, *tries, change="removal", method="datamodel"):
    """Rows of a search from (size, margins, confirming, predicted margin) of each try, the first with nothing changed."""
    return [
        {
            **{"target_id": target_id, "method": method, "change": change, "step": step, "size": size, "margins": margins},
            **{"confirming": confirming, "flips": float(np.mean(margins)) < 0, "changed": list(range(size))},
            "predicted_margin": predicted,
        }
        for step, (size, margins, confirming, predicted) in enumerate(tries)
    ]


@pytest.fixture
def toy(lake_of):
    """Target 0 flips without 4; 1 is refuted at 5 and flips without 6; 2 never does; 3 is wrong with everything."""
    rows = [
        *search(0, (0, [2, 4], False, 3), (4, [-1, 0.5], False, -0.5), (3, [1, 1], False, 0.5), (4, [-1, -1], True, -0.5)),
        *search(0, (0, [2, 4], False, None), (2, [-1, -1], False, None), (2, [-1, -3], True, None), change="relabelling"),
        *search(1, (0, [1, 1], False, 1), (5, [0.5, 1], False, -1), (6, [-1, -1], False, -1.5), (6, [-2, 1], True, -1.5)),
        *search(2, (0, [5, 5], False, 5), (9, [1, 1], False, 2)),
        *search(3, (0, [-1, 0], False, -0.5)),
    ]
    return lake_of(supports=rows)


def test_supports_of_a_lake_worked_by_hand(toy, ask):
    first, second, third = ask(toy, "data_support")
    assert [row["target_id"] for row in (first, second, third)] == [0, 1, 2]
    assert [row["removal_size"] for row in (first, second, third)] == [4, 6, None]
    assert [row["verified"] for row in (first, second, third)] == [True, True, False]
    assert [row["relabelling_size"] for row in (first, second, third)] == [2, None, None]
    assert [row["margin"] for row in (first, second, third)] == [3, 1, 5]
    assert [row["predicted_size"] for row in (first, second, third)] == [4, 5, None]
    assert [row["flips_as_predicted"] for row in (first, second, third)] == [True, False, None]
    assert [row["flips_a_fifth_later"] for row in (first, second, third)] == [True, True, None]
    assert [row["n_models"] for row in (first, second, third)] == [6 + 4, 6, 2]
    assert first["largest"] == 4


def test_one_target(toy, ask):
    (row,) = ask(toy, "data_support", target_id=1)
    assert row["removal_size"] == 6


def test_a_set_that_only_the_search_saw_flip_is_not_verified(lake_of, ask):
    rows = search(0, (0, [1], False, 1), (5, [-1], False, -1), (5, [0.5], True, -1), (6, [0.25], True, -1))
    (row,) = ask(lake_of(supports=rows), "data_support")
    assert (row["removal_size"], row["verified"], row["flips_as_predicted"]) == (None, False, True)
    assert ask(lake_of(supports=rows), "support_curve") == []


def test_the_curve_counts_targets_that_are_right_with_everything(toy, ask):
    relabelling, four, six = ask(toy, "support_curve")
    assert (relabelling["change"], relabelling["size"], relabelling["share"], relabelling["n_targets"]) == (
        "relabelling",
        2,
        1,
        1,
    )
    assert [(row["size"], row["share"], row["n_targets"], row["largest"]) for row in (four, six)] == [
        (4, pytest.approx(1 / 3), 3, 9),
        (6, pytest.approx(2 / 3), 3, 9),
    ]
    # Wilson's interval of 1 of 3
    assert (four["share_low"], four["share_high"]) == pytest.approx((0.06149, 0.79234), abs=1e-4)


def test_a_curve_rises_to_the_share_of_verified_targets(lake_of, ask):
    rng = np.random.default_rng(0)
    rows = []
    for target in range(30):
        size, flips = int(rng.integers(1, 9)), bool(rng.random() < 0.7)
        rows += search(target, (0, [1], False, 1), (size, [-1 if flips else 1], True, 0))
    lake = lake_of(supports=rows)
    curve = ask(lake, "support_curve")
    verified = [row["verified"] for row in ask(lake, "data_support")]
    shares = [row["share"] for row in curve]
    assert shares == sorted(set(shares))
    assert shares[-1] == pytest.approx(np.mean(verified))
    assert all(row["share_low"] < row["share"] < row["share_high"] for row in curve)
