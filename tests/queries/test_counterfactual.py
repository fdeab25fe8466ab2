"""Queries of the theme counterfactual: a lake worked by hand, and scipy on a random one."""

import math

import numpy as np
import pytest
from scipy import stats

ROLE = "removal"


def lake_with(lake_of, removals, before, after, algorithm=None):
    """A lake of removals (method, k, target_id, predicted drop) with id from 1; `before` [repeat][target], `after` [id][repeat]."""
    rows = [
        {
            "removal_id": i,
            "method": m,
            "k": k,
            "target_id": t,
            "predicted_change": -d,
            "curved_change": -2 * d,
            "removed": [0] * k,
            "algorithm": algorithm,
        }
        for i, (m, k, t, d) in enumerate(removals, 1)
    ]
    outputs = {0: before, **dict(enumerate(after, 1))}
    margins = [
        {"role": ROLE, "mask_id": i, "repeat": r, "test_margin": margin}
        for i, repeats in outputs.items()
        for r, margin in enumerate(repeats)
    ]
    numbered = [{**row, "model_id": n} for n, row in enumerate(margins)]
    return lake_of(removals=[{"role": ROLE, **row} for row in rows], margins=numbered)


@pytest.fixture
def toy(lake_of):
    """Three targets that are right; by the datamodel they drop 1, 2 and 6 where 1, 2 and 3 are predicted, by chance 0, 0 and 1."""
    removals = [("datamodel", 1, t, d) for t, d in enumerate([1.0, 2.0, 3.0])] + [("random", 1, t, 0.0) for t in range(3)]
    before = [[3, 3, 5], [5, 3, 5]]
    after = [[[2, 9, 9], [4, 9, 9]], [[9, 1, 9], [9, 1, 9]], [[9, 9, -1], [9, 9, -1]]]
    return lake_with(lake_of, removals, before, [*after, *([[3, 3, 4], [5, 3, 4]],) * 3])


def test_counterfactual_of_a_lake_worked_by_hand(toy, ask):
    one, every, *random = ask(toy, "counterfactual")
    assert (one["method"], one["k"], every["k"], one["n_targets"], one["repeats"]) == ("datamodel", 1, None, 3, 2)
    assert {row["method"] for row in random} == {"random"}
    # drops beyond random: 1, 2, 5 against 1, 2, 3: slope 4 / 2; residuals 1/3 -2/3 1/3 about mean 8/3
    assert one["spearman"] == pytest.approx(1)
    assert one["pearson"] == pytest.approx(4 / math.sqrt(2 * 26 / 3))
    assert one["slope"] == pytest.approx(2)
    half = 1.96 * math.sqrt((1 / 3) ** 2 + 0 + (1 / 3) ** 2) / 2
    assert (one["slope_low"], one["slope_high"]) == pytest.approx((2 - half, 2 + half))
    assert (one["predicted_drop"], one["observed_drop"], one["curved_drop"]) == pytest.approx((2, 8 / 3, 4))
    assert one["observed_error"] == pytest.approx(math.sqrt(26 / 3 / 2 / 3))
    assert one["flipped"] == pytest.approx(1 / 3)
    assert one["role"] == ROLE
    assert {name: every[name] for name in ("spearman", "slope", "observed_drop")} == {
        n: one[n] for n in ("spearman", "slope", "observed_drop")
    }


def test_absolute_drops_are_those_of_the_margins(toy, ask):
    one = ask(toy, "counterfactual", relative="false")[0]
    assert one["observed_drop"] == pytest.approx((1 + 2 + 6) / 3)
    assert ask(toy, "counterfactual", relative="false")[2]["observed_drop"] == pytest.approx(1 / 3)


def test_a_model_that_failed_takes_its_repeat_along(toy, ask, lake_of):
    broken = {"status": "failed", "test_margin": None}
    failed = [{**row, **(broken if (row["mask_id"], row["repeat"]) == (0, 1) else {})} for row in toy_rows(toy)]
    removals = toy_rows(toy, "removals")
    half = lake_of(removals=removals, margins=failed)
    assert {row["repeats"] for row in ask(half, "counterfactual")} == {1}
    assert ask(half, "coupling") == []


def toy_rows(lake, table="margins"):
    return [row for p in lake.present(table) for row in lake.read(p).to_pylist()]


def test_correlations_are_those_of_scipy(lake_of, ask):
    rng = np.random.default_rng(0)
    n = 12
    removals = [(m, k, t, float(rng.integers(0, 5))) for m in ("datamodel", "random") for k in (1, 2) for t in range(n)]
    before, after = rng.normal(3, 1, (2, n)), rng.normal(2, 1, (len(removals), 2, n))
    found = ask(lake_with(lake_of, removals, before.tolist(), after.tolist()), "counterfactual")
    before, after = (a.astype(np.float16).astype(float) for a in (before, after))
    drop = np.array([(before[:, t] - after[i][:, t]).mean() for i, (_, _, t, _) in enumerate(removals)]).reshape(2, 2, n)
    predicted = np.array([d for *_, d in removals]).reshape(2, 2, n)
    observed, expected = (a[0] - a[1] for a in (drop, predicted))
    for row, x, y in zip(found, [*expected, expected.ravel()], [*observed, observed.ravel()], strict=False):
        fit = stats.linregress(x, y)
        assert (row["pearson"], row["slope"]) == pytest.approx((fit.rvalue, fit.slope))
        assert row["spearman"] == pytest.approx(stats.spearmanr(x, y).statistic)
        assert row["slope_low"] < row["slope"] < row["slope_high"]
    *one, every = found[:3]
    within = [stats.spearmanr(x, y).statistic for x, y in zip(expected.T, observed.T, strict=True) if len(set(x)) == 2]
    assert every["spearman_within"] == pytest.approx(np.mean(within))
    alone = np.broadcast_to(observed.mean(0), observed.shape)
    assert every["spearman_bias_only"] == pytest.approx(stats.spearmanr(alone.ravel(), observed.ravel()).statistic)
    assert {row[name] for row in one for name in ("spearman_within", "spearman_bias_only")} == {None}  # one set a target


def test_coupling_is_the_ratio_of_variances(lake_of, ask):
    # before 1, 3, 5 (variance 4); after 0, 2, 3 (7/3): drops 1, 1, 2 (1/3)
    lake = lake_with(lake_of, [("random", 5, 0, 0.0)], [[1], [3], [5]], [[[0], [2], [3]]])
    (row,) = ask(lake, "coupling")
    assert row["ratio"] == pytest.approx((4 + 7 / 3) * 3)
    assert (row["coupled_sd"], row["independent_sd"]) == pytest.approx((math.sqrt(1 / 3), math.sqrt(19 / 3)))
    assert (row["method"], row["k"], row["n_effects"], row["repeats"]) == ("random", 5, 1, 3)


def test_other_algorithms_are_a_question_of_their_own(lake_of, ask):
    removals = [("datamodel", 1, t, d) for t, d in enumerate([1.0, 2.0, 3.0])]
    after = [[[2, 9, 9]], [[9, 0, 9]], [[9, 9, 0]]]
    lake = lake_with(lake_of, removals, [[3, 3, 5]], after, algorithm="logistic C=0.1")
    assert ask(lake, "counterfactual") == []
    one, every = ask(lake, "transfer", relative="false")
    assert (one["algorithm"], one["k"], every["k"], one["n_targets"], one["role"]) == ("logistic C=0.1", 1, None, 3, ROLE)
    # drops 1, 3, 5 where 1, 2, 3 are predicted
    assert (one["spearman"], one["pearson"], one["slope"]) == pytest.approx((1, 1, 2))
    assert (one["predicted_drop"], one["observed_drop"]) == pytest.approx((2, 3))
