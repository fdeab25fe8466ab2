"""Totals add exactly, whatever the order; centred moments are those of the rows."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.regression import Totals, add, empty, gram, load, plus, save, statistics
from builders.regression.moments import centred
from builders.regression.statistics import pooled


def packed(masks):
    return np.packbits(masks, axis=1)


def assert_same(a: Totals, b: Totals):
    for name in (*statistics.SUMS, "gram"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)


def assert_moments(got, x, y):
    m = len(x)
    np.testing.assert_allclose(got.gram, x.T @ x / m, atol=1e-7)
    np.testing.assert_allclose(got.cross, x.T @ y / m, atol=1e-6)
    np.testing.assert_allclose(got.square, (y * y).mean(0), rtol=1e-10)
    np.testing.assert_allclose(got.mask, x.mean(0), atol=1e-12)
    np.testing.assert_allclose(got.margin, y.mean(0), atol=1e-12)


@settings(max_examples=25)
@given(cut=st.lists(st.integers(0, 90), max_size=4), seed=st.integers(0, 99))
def test_float16_totals_do_not_depend_on_order_or_partition(cut: list[int], seed: int):
    rng = np.random.default_rng(seed)
    masks, inits = rng.integers(0, 2, (90, 21), dtype=np.uint8), rng.integers(0, 3, 90)
    margins = rng.normal(3, 4, (90, 5)).astype(np.float16)
    whole = add(empty(21, 5, 3), packed(masks), margins, inits)
    order = rng.permutation(90)
    grown = empty(21, 5, 3)
    for rows in np.split(order, sorted(cut)):
        grown = plus(grown, add(empty(21, 5, 3), packed(masks[rows]), margins[rows], inits[rows]))
    assert_same(whole, grown)
    assert whole.n_models == 90


def test_adding_in_place_over_several_blocks_is_adding_once(models, monkeypatch):
    once = models.totals()
    monkeypatch.setattr(statistics, "BLOCK", 64)
    monkeypatch.setattr(gram, "BLOCK", 64)
    blocks = empty(60, 12, 4)
    assert add(blocks, packed(models.masks), models.margins, models.init_ids, threads=2) is blocks
    np.testing.assert_array_equal(blocks.gram, once.gram)
    np.testing.assert_allclose(blocks.cross, once.cross, rtol=1e-12)


def test_sums_are_those_of_the_rows(models):
    totals, x = models.totals(), models.masks.astype(int)
    assert totals.gram.tolist() == (x.T @ x).tolist()
    assert totals.counts.tolist() == np.bincount(models.init_ids).tolist()
    np.testing.assert_allclose(totals.cross, x.T @ models.margins.astype(np.float64), rtol=1e-12)
    np.testing.assert_allclose(totals.mean_mask, x.mean(0))
    np.testing.assert_allclose(totals.mean_margin, models.margins.astype(np.float64).mean(0))


def test_centred_within_initialisations_by_their_own_means(models):
    assert_moments(centred(models.totals()), *models.centred())


def test_centred_around_the_means_of_others(models):
    fit, heldout = models.parts()
    fit = fit[fit.init_ids != 2]  # initialisation 2 is judged around the overall mean
    assert_moments(centred(heldout.totals(), around=fit.totals()), *heldout.centred(around=fit))


def test_a_shift_of_one_initialisation_changes_nothing(models):
    shifted = replace(models, margins=models.margins + 4 * (models.init_ids == 1)[:, None].astype(np.float32))
    before, after = centred(models.totals()), centred(shifted.totals())
    np.testing.assert_allclose(before.cross, after.cross, atol=1e-6)
    assert np.abs(centred(pooled(models.totals())).square - centred(pooled(shifted.totals())).square).min() > 0.1


def test_pooled_totals_are_those_without_initialisations(models):
    alone = replace(models, init_ids=np.zeros(len(models.masks), int)).totals(n_inits=1)
    assert_moments(centred(pooled(models.totals())), *replace(models, init_ids=0 * models.init_ids).centred())
    assert_same(replace(pooled(models.totals()), margin_sums=alone.margin_sums), alone)


def test_fixed_size_subsets_make_a_singular_gram(models):
    moments = centred(models.totals(), dtype=np.float64)
    np.testing.assert_allclose(moments.gram.sum(1), 0, atol=1e-12)


def test_constant_target_and_column_have_no_moments(models):
    masks, margins = models.masks.copy(), models.margins.copy()
    masks[:, 3], masks[:, 5], margins[:, 0] = True, False, 1.7
    margins[:, 1] = models.init_ids * 1.3
    moments = centred(replace(models, masks=masks, margins=margins).totals(), dtype=np.float64)
    assert not moments.gram[[3, 5]].any()
    assert not moments.cross[[3, 5]].any()
    assert not moments.cross[:, :2].any()
    assert not moments.square[:2].any()
    assert moments.square[2:].all()


def test_saved_totals_come_back(models, tmp_path):
    path = tmp_path / "totals.cache"
    save(models.totals(), path)
    assert_same(models.totals(), load(path))
    few = models[:30].totals()
    save(few, path)
    assert_same(few, load(path))
    assert load(path).pairs.groups.tolist() == models.init_ids[:30].tolist()


@pytest.mark.parametrize("damage", ["truncated", "other arrays", "no archive"])
def test_a_file_without_totals_is_refused(models, tmp_path, damage: str):
    path = tmp_path / "totals.npz"
    save(models.totals(), path)
    if damage == "other arrays":
        np.savez(path, gram=np.zeros(3))
    else:
        path.write_bytes(path.read_bytes()[:5000] if damage == "truncated" else b"nothing")
    with pytest.raises(ValueError, match="does not hold totals"):
        load(path)


def test_a_pickle_is_never_run(tmp_path):
    path = tmp_path / "totals.npz"
    np.savez(path, **{name: np.array([{}], dtype=object) for name in (*statistics.SUMS, "gram")})
    with pytest.raises(ValueError, match="allow_pickle"):
        load(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"masks": np.zeros((2, 21), np.uint8)}, r"packed uint8 \[n_models, 3\]"),
        ({"masks": np.zeros((2, 3), bool)}, "packed uint8"),
        ({"margins": np.zeros((2, 4), np.float32)}, r"needed: float16 or float32 \[2, 5\]"),
        ({"margins": np.zeros((2, 5))}, "float64"),
        ({"margins": np.full((2, 5), np.nan, np.float32)}, "2 models have a margin that is not finite"),
        ({"init_ids": np.array([0, 3])}, "span 0 to 3; needed: 0 to 2"),
        ({"init_ids": np.array([0])}, r"integers \[2\]"),
        ({"init_ids": np.array([0.0, 1.0])}, "float64"),
    ],
)
def test_models_that_do_not_fit_are_refused_and_nothing_is_added(change, message: str):
    totals = empty(21, 5, 3)
    good = {"masks": np.zeros((2, 3), np.uint8), "margins": np.ones((2, 5), np.float32), "init_ids": np.array([0, 2])}
    with pytest.raises(ValueError, match=message):
        add(totals, **{**good, **change})
    assert totals.n_models == 0
    assert add(totals, **good).n_models == 2


def test_totals_of_other_shapes_do_not_add():
    with pytest.raises(ValueError, match="n_targets: 5 and 6"):
        plus(empty(8, 5), empty(8, 6))
    with pytest.raises(ValueError, match="no models"):
        centred(empty(8, 5))
