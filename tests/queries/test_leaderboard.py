"""Query leaderboard: a lake worked by hand, and scipy and scikit-learn on a random one."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

ROLE = "removal-0"


def lake_with(lake_of, weights, scores, sets, drops, wrong=(), heldout=None):
    """A lake of one fit and one imported method: `weights` and `scores` [target][train], `sets` of (method, ids), the drop of
    every target without each set, and the training examples whose labels are wrong."""
    weights, scores, drops = (np.array(a, float) for a in (weights, scores, drops))
    n_targets, n_train = weights.shape
    rng = np.random.default_rng(0)
    masks = rng.random((6, n_train)) < 0.5 if heldout is None else heldout
    outputs = masks @ weights.T
    fits = [
        {"fit": fit, "estimator": fit.rpartition("-")[0], "target_id": t, "n_models": int(fit[-5:])}
        for fit in ("lasso-00004", "trak-00002")
        for t in range(n_targets)
    ]
    predictions = [
        {"fit": fit, "mask_id": m, "predicted_margin": row.tolist()}
        for fit, theirs in (("lasso-00004", weights), ("trak-00002", scores))
        for m, row in enumerate(masks @ theirs.T)
    ]
    removals = [
        {
            "role": ROLE,
            "removal_id": i,
            "target_id": t,
            "method": m,
            "k": len(ids),
            "removed": list(ids),
            "predicted_change": 0.0,
            "curved_change": 0.0,
        }
        for i, (m, ids) in enumerate(sets, 1)
        for t in range(n_targets)
    ]
    margins = [{"role": ROLE, "model_id": 0, "mask_id": 0, "test_margin": [9.0] * n_targets}] + [
        {"role": ROLE, "model_id": i, "mask_id": i, "test_margin": (9 - row).tolist()} for i, row in enumerate(drops, 1)
    ]
    heldout_rows = [
        {"role": "heldout", "model_id": 2 * m + r, "mask_id": m, "repeat": r, "test_margin": row.tolist()}
        for m, row in enumerate(outputs)
        for r in range(2)
    ]
    long = [(t, i) for t in range(n_targets) for i in range(n_train)]
    return lake_of(
        examples=[{"example_id": i} for i in range(n_train)],
        planted=[{"example_id": i} for i in wrong],
        masks=[{"role": "heldout", "mask_id": m, "mask": "".join(map(str, row.astype(int)))} for m, row in enumerate(masks)],
        margins=[*margins, *heldout_rows],
        fits=fits,
        predictions=predictions,
        weights=[{"target_id": t, "train_id": i, "weight": weights[t, i]} for t, i in long if weights[t, i]],
        scores=[{"target_id": t, "train_id": i, "score": scores[t, i]} for t, i in long if scores[t, i]],
        removals=removals,
    )


def test_leaderboard_of_a_lake_worked_by_hand(lake_of, ask):
    # target 0 loses 3, 1 and 0 without examples 0, 1 and 2; random sets change nothing; the other tool has 0 and 1 exchanged
    lake = lake_with(
        lake_of,
        weights=[[3, 1, 0]],
        scores=[[10, 30, 0]],
        sets=[("datamodel", [0]), ("pixels", [1]), ("features", [2]), ("random", [2])],
        drops=[[3], [1], [0], [0]],
        wrong=[2],
        heldout=np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0]], bool),
    )
    ours, theirs = ask(lake, "leaderboard")
    assert (ours["method"], ours["fit"], ours["n_trainings"]) == ("lasso", "lasso-00004", 4)
    assert (theirs["method"], theirs["fit"], theirs["n_trainings"]) == ("trak", "trak-00002", 2)
    # outputs 3 1 0 4; ours has the same order, theirs 10 30 0 40: ranks 3 2 1 4 against 2 3 1 4
    assert (ours["lds_repeats"], theirs["lds_repeats"]) == pytest.approx((1, 1 - 6 * 2 / 60))
    # drops 3 1 0 against predicted 3 1 0 and 10 30 0: ranks 3 2 1 against 2 3 1
    assert (ours["counterfactual_spearman"], theirs["counterfactual_spearman"]) == pytest.approx((1, 0.5))
    assert (ours["counterfactual_within"], theirs["counterfactual_within"]) == pytest.approx((1, 0.5))
    assert (ours["n_sets"], ours["n_targets"], ours["ceiling"]) == (3, 1, 1)
    # example 2 has the lowest effect of all by both
    assert (ours["label_auc"], theirs["label_auc"]) == (1, 1)
    assert {row["fingerprint"] for row in (ours, theirs)} == {"f1"}
    assert ours["lds_low"] <= ours["lds_repeats"] <= ours["lds_high"]


def test_leaderboard_equals_scipy_and_scikit_learn(lake_of, ask):
    rng = np.random.default_rng(3)
    n_targets, n_train = 4, 12
    weights, scores = rng.integers(-2, 3, (2, n_targets, n_train)).astype(float)
    sets = [
        (m, rng.choice(n_train, k, replace=False).tolist())
        for k in (2, 3)
        for m in ["random"] * 2 + ["datamodel", "pixels", "features"]
    ]
    drops, wrong = rng.integers(-3, 4, (len(sets), n_targets)).astype(float), [1, 4, 7]
    rows = {row["method"]: row for row in ask(lake_with(lake_of, weights, scores, sets, drops, wrong), "leaderboard")}
    for name, theirs in (("lasso", weights), ("trak", scores)):
        predicted = np.array([theirs[:, ids].sum(1) for _, ids in sets])
        beyond = [
            [
                a - np.mean([b for (m, o), b in zip(sets, x, strict=True) if m == "random" and len(o) == len(ids)], axis=0)
                for (_, ids), a in zip(sets, x, strict=True)
            ]
            for x in (predicted, drops)
        ]
        x, y = (np.array([row for (m, _), row in zip(sets, side, strict=True) if m != "random"]) for side in beyond)
        assert rows[name]["counterfactual_spearman"] == pytest.approx(stats.spearmanr(x.ravel(), y.ravel()).statistic)
        within = [stats.spearmanr(x[:, t], y[:, t]).statistic for t in range(n_targets)]
        assert rows[name]["counterfactual_within"] == pytest.approx(np.mean(within))
        alone = np.broadcast_to(y.mean(0), y.shape)
        bias_only = stats.spearmanr(alone.round(9).ravel(), y.ravel()).statistic
        assert rows[name]["counterfactual_bias_only"] == pytest.approx(bias_only)
        truth = np.isin(np.arange(n_train), wrong)
        assert rows[name]["label_auc"] == pytest.approx(roc_auc_score(truth, -theirs.mean(0)))
        assert rows[name]["n_sets"] == 6 * n_targets


def test_what_was_not_measured_is_null(lake_of, ask):
    lake = lake_with(lake_of, [[1, 2]], [[2, 1]], sets=[], drops=np.zeros((0, 1)))
    rows = ask(lake, "leaderboard", fit="trak-*")
    assert [row["method"] for row in rows] == ["trak"]
    missing = ("counterfactual_spearman", "counterfactual_within", "counterfactual_bias_only", "label_auc", "n_sets")
    assert [rows[0][name] for name in missing] == [None] * 5
