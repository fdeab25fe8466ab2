"""Difference of means, which a query computes too, so that it must be that to the last digit."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from builders.regression.banzhaf import banzhaf
from builders.regression.difference import difference


def split(models):
    return tuple(part.totals() for part in models.parts())


def test_plain_difference_is_mean_in_minus_mean_out(models):
    fit = difference(*split(models))
    y = models.margins.astype(np.float64)
    means = [y[held].mean(0) - y[~held].mean(0) for held in models.masks.T]
    np.testing.assert_allclose(fit.weights.T, means, atol=1e-6)
    np.testing.assert_allclose(fit.bias, y.mean(0) - fit.weights @ models.masks.mean(0), rtol=1e-6)
    assert np.isnan(fit.lam).all()


def test_within_difference_is_the_slope_on_centred_rows(models):
    fit = banzhaf(*split(models))
    x, y = models.centred()
    slopes = (x.T @ y) / (x * x).sum(0)[:, None]
    np.testing.assert_allclose(fit.weights.T, slopes, rtol=1e-5, atol=1e-7)
    plain = difference(*split(models))
    assert np.abs(fit.weights - models.weights).mean() < np.abs(plain.weights - models.weights).mean()


def test_all_subsets_of_one_size_give_the_weights_less_their_mean_times_six_fifths(models):
    masks = np.array([[j in chosen for j in range(6)] for chosen in itertools.combinations(range(6), 3)])
    weights = np.array([[1.0, -2, 0.5, 0, 3, 0.25]])
    every = replace(models, masks=masks, margins=(masks @ weights.T).astype(np.float32), init_ids=np.zeros(20, int))
    fit = difference(*split(every))
    np.testing.assert_allclose(fit.weights, 6 / 5 * (weights - weights.mean()), rtol=1e-5)


def test_null_weights_spread_as_their_standard_error_says(planted):
    models = planted(n_models=1500, n_train=400, n_targets=1)
    noise = replace(models, margins=np.random.default_rng(4).normal(0, 2, (1500, 1)).astype(np.float32))
    fit = difference(*split(noise))
    assert fit.weights.std() == pytest.approx(2 / np.sqrt(1500 / 4), rel=0.15)


def test_a_column_that_never_changes_gets_no_weight(models):
    masks = models.masks.copy()
    masks[:, 3], masks[:, 5] = True, False
    constant = replace(models, masks=masks)
    assert not difference(*split(constant)).weights[:, [3, 5]].any()
    assert not banzhaf(*split(constant)).weights[:, [3, 5]].any()
