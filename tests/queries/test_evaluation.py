"""Queries of the theme evaluation: lakes worked by hand, and scipy, numpy and a plain bootstrap on random lakes."""

import hashlib
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lake import connect
from lake.catalog import STEPS

SHELL = connect("no-lake-here")

MASKS = [{"role": "heldout", "mask_id": m, "mask": text} for m, text in enumerate(["1100", "0110", "0011", "1001"])]
OUTPUTS = [([1, 4], [3, 4]), ([2, 3], [4, 3]), ([5, 2], [7, 2]), ([6, 1], [8, 1])]
"""Margins of the two targets, by mask, of its even and its odd repeat."""
MARGINS = [
    {"role": "heldout", "model_id": 2 * m + r, "mask_id": m, "repeat": r, "test_margin": margins}
    for m, repeats in enumerate(OUTPUTS)
    for r, margins in enumerate(repeats)
]
FITS = [{"target_id": 0, "mean_margin": 4.5}, {"target_id": 1, "mean_margin": 2.5}]
PREDICTIONS = [{"mask_id": m, "predicted_margin": margins} for m, margins in enumerate([[1, 1], [2, 2], [3, 4], [4, 3]])]


@pytest.fixture
def toy(lake_of):
    """Target 0 is predicted in the right order, target 1 in nearly the wrong one."""
    return lake_of(masks=MASKS, margins=MARGINS, fits=FITS, predictions=PREDICTIONS)


def test_lds_of_a_lake_worked_by_hand(toy, ask):
    row = ask(toy, "lds", split="test")[0]
    # repeats: target 0 has ranks 1 2 3 4 against 1 2 3 4; target 1 has 1 2 4 3 against 4 3 2 1, so 1 - 6 * 18 / 60 = -0.8
    assert row["lds_repeats"] == pytest.approx((1 - 0.8) / 2)
    # single outputs, target 0: 1.5 1.5 3.5 3.5 5.5 5.5 7.5 7.5 against 1 3 2 4 5 7 6 8: 36 / sqrt(40 * 42)
    assert row["lds_single"] == pytest.approx((36 / math.sqrt(1680) - 0.8) / 2)
    # target 0: means 2 3 6 7 vary by 17/3, repeats by 2, so S = 17/3 - 2/2 = 14/3; target 1 has no noise
    assert row["ceiling"] == pytest.approx((math.sqrt(14 / 17) + 1) / 2)
    assert row["ceiling_single"] == pytest.approx((math.sqrt(0.7) + 1) / 2)
    assert row["noise_ceiling"] == pytest.approx(1)
    # pooled outputs 2 3 6 7 4 3 2 1 have centred ranks -2 0 2.5 3.5 1.5 0 -2 -3.5, predictions -3 -1 1 3 -3 -1 3 1
    assert row["pooled_spearman"] == pytest.approx(5 / math.sqrt(40 * 41))
    assert row["pooled_bias_only"] == pytest.approx(8 / math.sqrt(8 * 41))
    assert (row["n_masks"], row["n_targets"], row["n_repeats"], row["n_models"], row["fingerprint"]) == (4, 2, 2.0, 4, "f1")
    assert row["lds_low"] <= row["lds_repeats"] <= row["lds_high"]


def test_newest_fit_of_each_estimator_is_judged_unless_a_pattern_asks_for_others(toy, ask, add):
    older = {"fit": "lasso-00002", "n_models": 2}
    ridge = {"fit": "ridge-00002", "estimator": "ridge", "n_models": 2}
    for fit in (older, ridge):
        add(toy, "fits", [{**row, **fit} for row in FITS])
        add(toy, "predictions", [{**row, "fit": fit["fit"]} for row in PREDICTIONS])
    assert {row["fit"] for row in ask(toy, "lds")} == {"lasso-00004", "ridge-00002"}
    assert {row["fit"] for row in ask(toy, "lds", fit="lasso-*")} == {"lasso-00002", "lasso-00004"}
    assert [row["fit"] for row in ask(toy, "lds", fit="ridge-00002")] == ["ridge-00002"]


def test_how_many_models_lists_every_fit_with_its_gain(toy, ask, add):
    add(toy, "fits", [{**row, "fit": "lasso-00002", "n_models": 2} for row in FITS])
    upside_down = [
        {**row, "fit": "lasso-00002", "predicted_margin": [-x for x in row["predicted_margin"]]} for row in PREDICTIONS
    ]
    add(toy, "predictions", upside_down)
    rows = ask(toy, "how_many_models")
    assert [(row["estimator"], row["n_models"]) for row in rows] == [("lasso", 2), ("lasso", 4)]
    assert [row["lds_repeats"] for row in rows] == pytest.approx([-0.1, 0.1])
    assert rows[0]["gain"] is None
    assert rows[1]["gain"] == pytest.approx(0.2)
    assert rows[1]["ceiling_share"] == pytest.approx(0.1 / ((math.sqrt(14 / 17) + 1) / 2))
    assert rows[1] | ask(toy, "lds", split="test")[0] == ask(toy, "lds", split="test")[0] | rows[1]


def test_the_lds_of_more_models_is_extrapolated_by_the_closed_form(lake_of, ask, add):
    # one target without noise: ceiling 1; orders of four masks with Spearman 1, 0.8 and 0.4, and no correlation at all
    orders = {1.0: [1, 2, 3, 4], 0.8: [1, 2, 4, 3], 0.4: [2, 3, 1, 4], 0.0: [3, 1, 4, 2]}
    lake = lake_of(masks=MASKS, margins=[{**row, "test_margin": [row["mask_id"]]} for row in MARGINS])
    found = {"lasso": [0.4, 0.8, 1.0], "ridge": [0.8, 0.8, 0.8], "difference": [0.0, 0.4, 0.4]}
    for estimator, values in found.items():
        for n_models, value in zip((1, 2, 4), values, strict=True):
            fit = {"fit": f"{estimator}-0000{n_models}", "n_models": n_models}
            add(lake, "fits", [{**fit, "estimator": estimator, "target_id": 0}])
            add(
                lake,
                "predictions",
                [{"fit": fit["fit"], "mask_id": m, "predicted_margin": [orders[value][m]]} for m in range(4)],
            )
    rows = {(row["estimator"], row["n_models"]): row for row in ask(lake, "how_many_models")}
    assert [rows[key]["lds_repeats"] for key in sorted(rows)] == pytest.approx([0, 0.4, 0.4, 0.4, 0.8, 1, 0.8, 0.8, 0.8])
    # lasso, 1 / LDS²: 6.25, 1.5625 and 1. One fit is at hand for 2 models: 1 + 5.25 / 2. Two for 4, but their line would pass
    # the ceiling: 1 + 0.5625 * 2 / 4
    assert rows["lasso", 1]["predicted"] is None
    assert rows["lasso", 2]["predicted"] == pytest.approx(1 / math.sqrt(1 + 5.25 / 2))
    assert rows["lasso", 4]["predicted"] == pytest.approx(1 / math.sqrt(1 + 0.5625 / 2))
    assert rows["lasso", 4]["error"] == pytest.approx(1 / math.sqrt(1 + 0.5625 / 2) - 1)
    assert rows["lasso", 2]["predicted_double"] == pytest.approx(1 / math.sqrt(1 + 0.5625 / 2))
    # 90% of the ceiling where 1 + 0.5625 * 2 / m is 1 / 0.81
    assert rows["lasso", 2]["enough"] == pytest.approx(1.125 / (1 / 0.81 - 1))
    # ridge stays where it is: no number of models is enough
    assert (rows["ridge", 4]["predicted"], rows["ridge", 4]["predicted_double"]) == pytest.approx((0.8, 0.8))
    assert rows["ridge", 4]["enough"] is None
    # no correlation, no line; a second point alone then goes to the ceiling
    assert rows["difference", 2]["predicted"] is None
    assert rows["difference", 2]["predicted_double"] == pytest.approx(1 / math.sqrt(1 + 5.25 / 2))


def test_constant_prediction_counts_as_zero_and_constant_outputs_are_left_out(lake_of, ask):
    margins = [{**row, "test_margin": [row["test_margin"][0], 3, row["test_margin"][1]]} for row in MARGINS]
    predictions = [{**row, "predicted_margin": [row["predicted_margin"][0], 1, 7]} for row in PREDICTIONS]
    fits = [{"target_id": t} for t in range(3)]
    row = ask(lake_of(masks=MASKS, margins=margins, fits=fits, predictions=predictions), "lds", split="test")[0]
    assert row["n_targets"] == 2
    assert row["lds_repeats"] == pytest.approx((1 + 0) / 2)


def test_all_fits_are_judged_on_the_masks_that_all_of_them_predict(toy, ask, add):
    add(toy, "fits", [{**row, "fit": "ridge-00004", "estimator": "ridge"} for row in FITS])
    add(toy, "predictions", [{**row, "fit": "ridge-00004"} for row in PREDICTIONS[:3]])
    assert {row["n_masks"] for row in ask(toy, "lds")} == {3}


def random_lake(seed, lake_of, n_repeats=3):
    """Six masks, five targets, margins with ties, one model lost; (lake, outputs by target and mask, predictions)."""
    rng = np.random.default_rng(seed)
    outputs = {m: [rng.integers(-3, 4, 5) + 0.5 * m * np.array([1, -1, 0, 2, 0]) for _ in range(n_repeats)] for m in range(6)}
    lost = (int(rng.integers(6)), int(rng.integers(n_repeats)))
    predicted = rng.integers(-3, 4, (6, 5)) + np.arange(6)[:, None] * np.array([0.5, 0, 0.25, 1, 0])
    predicted[:, 2] = 1.0
    margins = [
        {
            **{"role": "heldout", "model_id": n_repeats * m + r, "mask_id": m, "repeat": r},
            **({"status": "failed"} if (m, r) == lost else {"test_margin": outputs[m][r].tolist()}),
        }
        for m in outputs
        for r in range(n_repeats)
    ]
    masks = [{"role": "heldout", "mask_id": m, "mask": "1" * m + "0" * (6 - m)} for m in outputs]
    predictions = [{"mask_id": m, "predicted_margin": predicted[m].tolist()} for m in outputs]
    fits = [{"target_id": t, "mean_margin": float(t % 3)} for t in range(5)]
    outputs[lost[0]].pop(lost[1])
    return lake_of(masks=masks, margins=margins, fits=fits, predictions=predictions), outputs, predicted


def spearman(predicted, outputs):
    """scipy's Spearman by the query's rule: None for constant outputs, 0 for a constant prediction."""
    if np.ptp(outputs) == 0:
        return None
    return 0.0 if np.ptp(predicted) == 0 else stats.spearmanr(predicted, outputs).statistic


def anova_ceiling(groups):
    """The most that a correlation with the groups' means can be, from their scatter."""
    s2 = sum(np.var(g) * len(g) for g in groups) / sum(len(g) - 1 for g in groups)
    r = len(groups) / sum(1 / len(g) for g in groups)
    signal = max(np.var([np.mean(g) for g in groups], ddof=1) - s2 / r, 0)
    return math.sqrt(signal / (signal + s2 / r))


@pytest.mark.parametrize("seed", range(5))
def test_lds_equals_scipy_with_ties_and_lost_models(seed, lake_of, ask):
    lake, outputs, predicted = random_lake(seed, lake_of)
    row = ask(lake, "lds", split="test")[0]
    masks = range(6)
    means = np.array([[np.mean([run[t] for run in outputs[m]]) for m in masks] for t in range(5)])
    repeats = [spearman(predicted[:, t], means[t]) for t in range(5)]
    pairs = [[(predicted[m, t], run[t]) for m in masks for run in outputs[m]] for t in range(5)]
    single = [spearman(*np.transpose(pair)) for pair in pairs]
    assert row["lds_repeats"] == pytest.approx(np.mean([r for r in repeats if r is not None]), abs=1e-12)
    assert row["lds_single"] == pytest.approx(np.mean([r for r in single if r is not None]), abs=1e-12)
    assert row["pooled_spearman"] == pytest.approx(stats.spearmanr(predicted.T.ravel(), means.ravel()).statistic, abs=1e-12)
    bias_only = stats.spearmanr(np.repeat([t % 3 for t in range(5)], 6), means.ravel()).statistic
    assert row["pooled_bias_only"] == pytest.approx(bias_only, abs=1e-12)
    ceilings = [anova_ceiling([[run[t] for run in outputs[m]] for m in masks]) for t in range(5)]
    assert row["ceiling"] == pytest.approx(np.mean(ceilings), abs=1e-12)


def poisson(key):
    """The count that a key draws: thresholds of the Poisson(1) distribution on the first 32 bits of its MD5."""
    return int(stats.poisson.ppf(int(hashlib.md5(key.encode()).hexdigest()[:8], 16) / 2**32, 1))


def test_interval_equals_a_plain_bootstrap_over_masks_and_targets(lake_of, ask):
    lake, outputs, predicted = random_lake(9, lake_of)
    x = stats.rankdata(predicted.T, axis=1)
    y = stats.rankdata([[np.mean([run[t] for run in outputs[m]]) for m in range(6)] for t in range(5)], axis=1)
    found = []
    for b in range(50):
        w = np.array([poisson(f"{b}/mask/{i}") for i in range(6)], float)
        v = np.array([poisson(f"{b}/target/{t}") for t in range(5)], float)
        cov = [np.cov(x[t], y[t], aweights=w, bias=True) if (w > 0).sum() > 1 else np.zeros((2, 2)) for t in range(5)]
        kept = [t for t in range(5) if v[t] and cov[t][1, 1] > 1e-12]
        r = [cov[t][0, 1] / math.sqrt(cov[t][0, 0] * cov[t][1, 1]) if cov[t][0, 0] > 1e-12 else 0.0 for t in kept]
        if kept:
            found.append(np.average(r, weights=v[kept]))
    row = ask(lake, "lds", split="test", resamples=50)[0]
    assert [row["lds_low"], row["lds_high"]] == pytest.approx(np.quantile(found, [0.025, 0.975]), abs=1e-9)


def test_targets_of_a_lake_worked_by_hand(toy, ask, add):
    add(toy, "examples", [{"split": "test", "example_id": t, "label": 7 + t} for t in range(2)])
    first, second = ask(toy, "targets")
    assert (first["mean_margin"], first["label"], first["accuracy"], first["n_masks"]) == (4.5, 7, 1.0, 4)
    assert [first["sd_masks"], first["sd_repeats"], first["icc"]] == pytest.approx([math.sqrt(14 / 3), math.sqrt(2), 0.7])
    assert [second["sd_repeats"], second["icc"], second["ceiling"]] == [0.0, 1.0, 1.0]
    assert (first["fit"], first["validation_r"], first["n_nonzero"]) == ("lasso-00004", 0.5, 1)


def test_targets_need_no_fit(lake_of, ask):
    rows = ask(lake_of(masks=MASKS, margins=MARGINS), "targets")
    assert [(row["target_id"], row["fit"]) for row in rows] == [(0, None), (1, None)]


def test_accuracy_of_a_lake_worked_by_hand(lake_of, ask):
    accuracies = [(0.5, 1.0), (0.75, 0.5), (None, None), (None, None)]
    statuses = ["ok", "ok", "diverged", "failed"]
    margins = [
        {"model_id": i, "mask_id": i, "status": status, "test_accuracy": test, "train_accuracy": train}
        for i, (status, (test, train)) in enumerate(zip(statuses, accuracies, strict=True))
    ]
    heldout = {"role": "heldout", "model_id": 0, "mask_id": 0, "test_accuracy": 0.25, "train_accuracy": 1.0}
    fit, held = ask(lake_of(margins=[*margins, heldout]), "accuracy")
    assert [fit[name] for name in ("role", "n_models", "n_ok", "n_diverged", "n_failed")] == ["fit", 4, 2, 1, 1]
    assert [fit["test_accuracy"], fit["train_accuracy"]] == [0.625, 0.75]
    assert [fit["test_accuracy_sd"], fit["train_accuracy_sd"]] == pytest.approx([math.sqrt(2) / 8, math.sqrt(2) / 4])
    assert (held["role"], held["test_accuracy"], held["test_accuracy_sd"]) == ("heldout", 0.25, None)


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=12))
@settings(max_examples=30)
def test_centred_ranks_equal_scipy(numbers):
    expected = stats.rankdata(numbers) - (len(numbers) + 1) / 2
    assert SHELL.execute("select centred_ranks($1::double[])", [numbers]).fetchone()[0] == expected.tolist()


@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(1, 4)), min_size=1, max_size=8))
@settings(max_examples=30)
def test_weighted_ranks_equal_ranks_of_the_repeated_numbers(pairs):
    numbers, counts = zip(*pairs, strict=True)
    ranks = stats.rankdata(np.repeat(numbers, counts)) - (sum(counts) + 1) / 2
    expected = [ranks[sum(counts[:i])] for i in range(len(counts))]
    assert SHELL.execute("select weighted_ranks($1::double[], $2::double[])", [numbers, counts]).fetchone()[0] == expected


def test_poisson_counts_are_those_of_the_distribution():
    keys = [f"{i}/mask/{i * i}" for i in range(4_000)]
    counts = [SHELL.execute("select poisson($1)", [key]).fetchone()[0] for key in keys[:200]]
    assert counts == [poisson(key) for key in keys[:200]]
    drawn = SHELL.execute("select poisson(k) from (select unnest($1) as k)", [keys]).fetchall()
    assert np.mean(drawn) == pytest.approx(1, abs=0.05)
    assert np.var(drawn) == pytest.approx(1, abs=0.1)


def test_every_step_of_the_catalog_is_there(tmp_path):
    shell = connect(tmp_path / "none")
    known = {
        row[0]
        for row in shell.execute(
            "select view_name from duckdb_views() union all select function_name from duckdb_functions()"
        ).fetchall()
    }
    assert set(STEPS) <= known
