"""Queries of the theme lake: what is there, what it cost, what went wrong."""

import pytest


def test_fits_of_a_lake_worked_by_hand(lake_of, ask):
    fits = [
        {"target_id": 0, "n_nonzero": 2, "lam": 0.1, "kkt": 1e-8, "duality_gap": 1e-7, "validation_r": 0.5},
        {
            "target_id": 1,
            "n_nonzero": 4,
            "lam": 0.3,
            "kkt": 1e-3,
            "duality_gap": 1e-9,
            "validation_r": None,
            "converged": False,
        },
        {
            "target_id": 0,
            "fit": "ridge-00002",
            "estimator": "ridge",
            "n_models": 2,
            "lam": None,
            "kkt": None,
            "duality_gap": None,
        },
    ]
    lasso, ridge = ask(lake_of(fits=fits), "fits")
    assert [lasso[name] for name in ("fit", "n_models", "n_targets", "mean_nonzero", "converged", "validation_r")] == [
        "lasso-00004",
        4,
        2,
        3,
        0.5,
        0.5,
    ]
    assert [lasso["median_lam"], lasso["worst_kkt"], lasso["worst_gap"]] == pytest.approx([0.2, 1e-3, 1e-7])
    assert [ridge[name] for name in ("fit", "n_models", "median_lam", "worst_kkt")] == ["ridge-00002", 2, None, None]


def test_fits_by_pattern_and_split(lake_of, ask):
    lake = lake_of(
        fits=[
            {"target_id": 0, "fit": fit, "split": split}
            for fit in ("lasso-00004", "ridge-00004")
            for split in ("test", "train")
        ]
    )
    assert [(row["split"], row["fit"]) for row in ask(lake, "fits", fit="ridge*")] == [
        ("test", "ridge-00004"),
        ("train", "ridge-00004"),
    ]
    assert {row["split"] for row in ask(lake, "fits", split="train")} == {"train"}


def test_partitions_say_what_the_footers_say(lake_of, ask):
    lake = lake_of(
        masks=[{"mask_id": 0, "mask": "10"}],
        margins=[{"model_id": 0, "mask_id": 0}, {"model_id": 1, "mask_id": 0, "status": "failed"}],
        examples=[{"example_id": 0}],
    )
    rows = ask(lake, "partitions")
    assert [(r["table_name"], r["study_id"], r["role"], r["index"], r["rows"], r["n_failed"]) for r in rows] == [
        ("examples", "pixels", "images", 0, 1, 0),
        ("margins", "toy", "fit", 0, 2, 1),
        ("masks", "toy", "fit", 0, 1, 0),
    ]
    assert {row["fingerprint"] for row in rows} == {"f1"}
    assert [row["table_name"] for row in ask(lake, "partitions", study="pixels")] == ["examples"]
    facts = {p.path: f for table in ("examples", "margins", "masks") for p, f in lake.facts(lake.present(table)).items()}
    assert [row["content"] for row in rows] == [facts[path].content for path in sorted(facts)]


def test_failures_are_the_models_that_did_not_end_well(lake_of, ask):
    margins = [
        {"model_id": i, "mask_id": i, "init_id": 5, "status": status} for i, status in enumerate(["ok", "failed", "diverged"])
    ]
    rows = ask(lake_of(margins=margins), "failures")
    assert [(row["model_id"], row["init_id"], row["status"]) for row in rows] == [(1, 5, "failed"), (2, 5, "diverged")]
