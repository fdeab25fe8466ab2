"""Fits, weights and predictions agree with each other and with the margins they came from, and find planted effects."""

import importlib
import shutil

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from builders import datamodels, masks
from builders.regression import device
from lake.partition import Partition
from lake.store import Lake
from lake.tables import TABLES

FITS = ["lasso-00048", "difference-00048"]
SIZES = {"test": 20, "train": 60}


def frame(lake: Lake, table: str, *names: str) -> pl.DataFrame:
    """Rows of a table of the small study, of the named partitions."""
    return pl.from_arrow(lake.scan([p for p in lake.present(table, "small") if p.name in names]))


def dense(lake: Lake, fit: str, split: str) -> np.ndarray:
    """Weights [n_targets, n_train] of a fit."""
    weights = np.zeros((SIZES[split], 60))
    rows = frame(lake, "weights", fit).filter(pl.col("split") == split)
    weights[rows["target_id"], rows["train_id"]] = rows["weight"]
    return weights


def margins(lake: Lake, split: str) -> np.ndarray:
    """Margins [n_models, n_targets] of the fit models."""
    return np.array(frame(lake, "margins", *(f"fit-{i:05d}" for i in range(4)))[f"{split}_margin"].to_list(), float)


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("split", ["test", "train"])
def test_predictions_are_bias_plus_included_weights(built, small, fit, split):
    heldout = masks.draw(small, 60, "heldout", np.arange(4)).astype(float)
    fits = frame(built, "fits", fit).filter(pl.col("split") == split)
    predictions = frame(built, "predictions", fit).filter(pl.col("split") == split)
    assert predictions["mask_id"].to_list() == [0, 1, 2, 3]
    expected = heldout @ dense(built, fit, split).T + fits["bias"].to_numpy()
    assert np.array(predictions["predicted_margin"].to_list()) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("fit", FITS)
def test_weights_are_as_many_as_the_fits_say(built, fit):
    fits, weights = frame(built, "fits", fit), frame(built, "weights", fit)
    counted = weights.group_by("split", "target_id").len().rows_by_key(["split", "target_id"], named=False, unique=True)
    for row in fits.iter_rows(named=True):
        assert row["n_nonzero"] == counted.get((row["split"], row["target_id"]), (0,))[0]
    assert (weights["weight"] != 0).all()


@pytest.mark.parametrize("split", ["test", "train"])
def test_a_difference_of_means_is_the_difference_of_the_means(built, small, split):
    drawn, y = masks.draw(small, 60, "fit", np.arange(48)), margins(built, split)
    expected = np.stack([y[drawn[:, j]].mean(0) - y[~drawn[:, j]].mean(0) for j in range(60)], 1)
    assert dense(built, "difference-00048", split) == pytest.approx(expected, abs=1e-5)


def test_biases_and_means_put_the_mean_prediction_at_the_mean_margin(built, small):
    drawn = masks.draw(small, 60, "fit", np.arange(48)).astype(float)
    for fit in FITS:
        fits = frame(built, "fits", fit)
        y = np.hstack([margins(built, split) for split in SIZES]).mean(0)
        weights = np.vstack([dense(built, fit, split) for split in SIZES])
        assert fits["mean_margin"].to_numpy() == pytest.approx(y, abs=1e-9)
        assert (drawn @ weights.T).mean(0) + fits["bias"].to_numpy() == pytest.approx(y, abs=1e-5)


def test_every_target_has_one_row_a_fit_in_order(built):
    for fit in FITS:
        fits = frame(built, "fits", fit)
        assert fits["target_id"].to_list() == [*range(20), *range(60)]
        assert fits["split"].to_list() == ["test"] * 20 + ["train"] * 60
        assert set(fits["n_models"]) == {48}
        assert set(fits["fit"]) == {fit}
        assert set(fits["estimator"]) == {fit[:-6]}
        assert fits["converged"].all()


def test_fits_on_fewer_models_keep_predictions_of_test_targets_and_no_weights(built):
    assert [p.name for p in built.present("weights")] == sorted(FITS)
    curve = frame(built, "fits", "lasso-00032")
    assert set(curve["split"]) == {"test"}
    assert set(curve["n_models"]) == {32}
    assert set(frame(built, "predictions", "lasso-00032")["split"]) == {"test"}


def test_a_fit_on_fewer_models_is_the_fit_of_a_study_of_so_many(built, lake, study_of, build_missing):
    build_missing(lake, study_of(models=32))
    for name in ("lasso-00032", "difference-00032"):
        own, curve = (frame(each, "fits", name).filter(pl.col("split") == "test") for each in (lake, built))
        assert own["n_nonzero"].equals(curve["n_nonzero"])
        for column in ("bias", "mean_margin", "validation_r", *(["lam"] if name.startswith("lasso") else [])):
            assert own[column].to_numpy() == pytest.approx(curve[column].to_numpy(), rel=1e-5, abs=1e-6, nan_ok=True)
        own, curve = (frame(each, "predictions", name).filter(pl.col("split") == "test") for each in (lake, built))
        assert np.array(own["predicted_margin"].to_list()) == pytest.approx(
            np.array(curve["predicted_margin"].to_list()), abs=1e-5
        )


def test_a_unit_needs_the_models_it_is_fitted_on_and_no_others(small):
    whole, curve = datamodels.plan(small)
    assert (whole.rows, curve.rows) == (48, 32)
    fit = {p for p in curve.needs if p.role == "fit"}
    assert fit == {Partition(table, "small", "fit", i) for table in ("masks", "margins") for i in range(2)}
    assert set(whole.needs) - set(curve.needs) == {Partition(t, "small", "fit", 2) for t in ("masks", "margins")}


PLANTED = """
    import numpy as np
    from builders import counter
    from builders.training.interface import Logits

    def effects(n_targets, n_train):
        # five effects a target, of 2, 1.5, 1, .75 and .5 logits and either sign
        theta = np.zeros((n_targets, n_train))
        for t in range(n_targets):
            rng = np.random.default_rng(t)
            theta[t, rng.choice(n_train, 5, replace=False)] = rng.choice([-1, 1], 5) * [2, 1.5, 1, .75, .5]
        return theta

    def prepare(data, noise):
        theta = effects(len(data.test_labels) + len(data.train_labels), len(data.train_labels))
        labels = np.concatenate([data.test_labels, data.train_labels])

        def train(group):
            y = 3 + group.masks @ theta.T
            words = counter.words(group.seed, f"noise/{group.role}", group.order_ids[:, None], np.arange(len(labels))[None])
            y += noise * (counter.uniform(words) * 2 - 1)
            logits = np.zeros((group.n_models, len(labels), data.n_classes), np.float32)
            np.put_along_axis(logits, labels[None, :, None], y[..., None].astype(np.float32), 2)
            n = len(data.test_labels)
            return Logits(logits[:, n:] - 10 * (logits[:, n:] == 0), logits[:, :n] - 10 * (logits[:, :n] == 0))
        return train
"""


@pytest.fixture
def planted(own, lake, study_of, build_missing):
    """A lake of margins that are a known linear function of the mask, and of noise; its study; the function."""
    name = own(PLANTED)
    algorithm = {"name": f"{name}:prepare", "noise": 0.5}
    chosen = study_of(algorithm=algorithm, models=400, partition_models=200, curve=[], estimators=["lasso"])
    report = build_missing(lake, chosen)
    assert not report.failures
    return lake, chosen, importlib.import_module(name).effects(80, 60)


def test_the_lasso_recovers_planted_effects_in_sign_order_and_scale(planted):
    lake, _, theta = planted
    fits = frame(lake, "fits", "lasso-00400")
    weights = np.vstack([dense(lake, "lasso-00400", split) for split in SIZES])
    true = theta != 0
    assert np.array_equal(np.sign(weights[true]), np.sign(theta[true]))
    assert all(
        np.argsort(-np.abs(w))[:2].tolist() == np.argsort(-np.abs(t))[:2].tolist() for w, t in zip(weights, theta, strict=True)
    )
    assert np.corrcoef(weights.ravel(), theta.ravel())[0, 1] > 0.99
    assert (weights[true] * theta[true]).sum() / (theta[true] ** 2).sum() == pytest.approx(0.95, abs=0.05)  # a penalty shrinks
    assert np.abs(weights[~true]).mean() < 0.02
    assert (fits["validation_r"] > 0.95).all()
    assert fits["mean_margin"].to_numpy() == pytest.approx(13 + theta.sum(1) / 2, abs=0.3)


def test_margins_of_other_masks_are_not_predicted(planted, tmp_path, build_missing):
    lake, chosen, theta = planted
    shuffled = Lake(tmp_path / "shuffled")
    order = np.random.default_rng(0).permutation(400)
    pair = [Partition("margins", "small", "fit", i) for i in range(2)]
    rows, facts = lake.scan(pair), lake.facts({p: lake.present("margins")[p] for p in pair})
    for table in ("examples", "neighbours", "masks", "margins"):
        shutil.copytree(lake.root / table, shuffled.root / table)
    for i, partition in enumerate(pair):
        shuffled.quarantine(partition)
        moved = {f"{split}_margin": rows[f"{split}_margin"].take(pa.array(order[200 * i :][:200])) for split in SIZES}
        own = rows.slice(200 * i, 200).to_pydict() | {name: column.to_pylist() for name, column in moved.items()}
        shuffled.publish(partition, pa.Table.from_pydict(own, TABLES["margins"].schema), facts[partition])
    report = build_missing(shuffled, chosen)
    assert set(report.added) == {"fits", "weights", "predictions"}
    fits = frame(shuffled, "fits", "lasso-00400")
    r = fits["validation_r"].fill_null(0).to_numpy()
    assert abs(r.mean()) < 0.15  # chance, and what choosing lambda on the same 80 models adds
    assert fits["n_nonzero"].median() <= 3
    weights = np.vstack([dense(shuffled, "lasso-00400", split) for split in SIZES])
    assert abs(np.corrcoef(weights.ravel(), theta.ravel())[0, 1]) < 0.1


def test_a_model_that_failed_is_no_part_of_a_fit(own, lake, study_of, build_missing):
    name = own(
        PLANTED.replace(
            "def train(group):", "def train(group):\n            if 0 in group.order_ids: raise RuntimeError('first')"
        )
    )
    chosen = study_of(algorithm={"name": f"{name}:prepare", "noise": 1.0})
    report = build_missing(lake, chosen)
    assert not report.failures
    assert set(frame(lake, "fits", *FITS)["n_models"]) == {47}
    assert set(frame(lake, "fits", "lasso-00032")["n_models"]) == {31}


@pytest.mark.parametrize(
    ("models", "wanted"), [(5, "1 held-out models; needed: at least 2 to choose lambda on"), (4, "needed")]
)
def test_too_few_models_to_fit_on_are_named_and_everything_else_is_there(lake, study_of, build_missing, models, wanted):
    report = build_missing(lake, study_of(models=models, heldout_repeats=1, partition_models=5, curve=[]))
    assert len(report.failures) == 1
    assert f"study small, {models} models: " in report.failures[0]
    assert wanted in report.failures[0]
    assert set(report.added) == {"examples", "neighbours", "masks", "margins"}


def test_the_way_of_a_cuda_device_leads_to_the_same_fits(built_copy, small, monkeypatch):
    """A processor stands in for the device: counts lie in a tensor there, sums are made by torch, solved is in batches."""
    monkeypatch.setattr(device, "cuda", lambda: True)
    shutil.rmtree(built_copy.root / ".lake" / "totals")
    (unit,) = [unit for unit in datamodels.plan(small) if unit.partitions[0].index == 48]
    tables = dict(datamodels.build(built_copy, small, unit))
    own = {partition.table: rows for partition, rows in tables.items() if partition.role == "lasso"}
    there = {table: built_copy.read(Partition(table, "small", "lasso", 48)) for table in own}
    for name in ("lam", "bias", "validation_r"):
        ours, theirs = (np.array(rows["fits"][name].to_pylist(), float) for rows in (own, there))
        assert np.isclose(ours, theirs, rtol=0.02, atol=0.05, equal_nan=True).mean() > 0.9
    assert all(own["fits"]["converged"].to_pylist())
    ours, theirs = (np.stack(rows["predictions"]["predicted_margin"].to_pylist()[:4]) for rows in (own, there))
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.999
