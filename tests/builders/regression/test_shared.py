"""The shared LASSO: prices from similar targets, and what they are worth where targets share their effects."""

import numpy as np
import pytest
from scipy.sparse import csr_array

from builders.regression.lasso import lasso
from builders.regression.shared import POWER, PRIOR, learned_prices, shared


def test_prices_of_a_target_come_from_the_others_that_are_like_it():
    weights = np.array([[2, 1, 0, 0], [4, 2, 0, 0], [0, 0, 3, 1], [0, 0, 1, 3]], np.float32)
    prices = learned_prices(weights)
    share = np.array([4, 2, 0, 0]) / 1.5  # of target 1, the one like target 0, whose weights have a mean of 1.5
    np.testing.assert_allclose(prices[0], ((share + PRIOR) / (1 + PRIOR)) ** -POWER, rtol=1e-6)
    np.testing.assert_allclose(prices[1], prices[0], rtol=1e-6)
    assert prices[2, 0] == prices[2, 1] > prices[2, 2] > prices[2, 3]


def test_a_targets_own_weights_are_left_out():
    weights = np.zeros((3, 5), np.float32)
    weights[:, 0], weights[0, 4] = 1, 0.5
    prices = learned_prices(weights)
    assert prices[0, 4] == prices[0, 3]
    assert prices[1, 4] < prices[1, 3]


def test_without_likeness_all_prices_are_one():
    assert (learned_prices(np.zeros((3, 4), np.float32)) == 1).all()
    assert (learned_prices(np.array([[0, 0, 0], [1, 2, 0], [0, 0, 1]], np.float32)) == 1).all()


def test_many_targets_are_compared_in_blocks(monkeypatch):
    weights = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)
    at_once = learned_prices(weights)
    monkeypatch.setattr("builders.regression.shared.BLOCK", 7)
    np.testing.assert_allclose(learned_prices(weights), at_once, rtol=1e-4)


@pytest.mark.parametrize("chosen", [slice(None), slice(0, 3), slice(17, 50), slice(49, 50)])
def test_sparse_weights_give_the_prices_of_dense_ones(monkeypatch, chosen):
    rng = np.random.default_rng(1)
    weights = rng.normal(size=(50, 30)) * (rng.random((50, 30)) < 0.2)
    weights[[4, 40]] = 0  # targets without weights are like none
    weights = weights.astype(np.float32)
    monkeypatch.setattr("builders.regression.shared.SPARSE_BLOCK", 7)
    sparse = learned_prices(csr_array(weights), chosen)
    assert sparse.dtype == np.float32
    np.testing.assert_allclose(sparse, learned_prices(weights)[chosen], rtol=1e-5)
    np.testing.assert_allclose(learned_prices(weights, chosen), learned_prices(weights)[chosen], rtol=1e-5)


def test_shared_effects_are_found_with_fewer_models(planted):
    models = planted(n_models=150, n_train=100, n_targets=30, noise=0)
    rng = np.random.default_rng(2)
    likeness = rng.integers(0, 3, 30)
    base = models.weights[:3]
    weights = base[likeness] * rng.uniform(0.5, 1.5, (30, 1))
    margins = (models.masks @ weights.T + 3 * rng.normal(size=(150, 30))).astype(np.float32)
    parts = [type(models)(p.masks, m, p.init_ids, weights) for p, m in zip(models.parts(), _parts(margins), strict=True)]
    totals = [part.totals() for part in parts]
    plain, better = lasso(*totals), shared(*totals)
    assert better.converged.all()
    assert _skill(better.weights, weights) > _skill(plain.weights, weights) + 0.05
    assert better.validation_mse.mean() < plain.validation_mse.mean()


def test_targets_that_have_nothing_in_common_lose_nothing(planted):
    parts = [part.totals() for part in planted(n_models=300).parts()]
    assert (shared(*parts).validation_mse <= lasso(*parts).validation_mse * (1 + 1e-6)).all()


def _parts(margins):
    apart = np.arange(len(margins)) % 5 == 4
    return margins[~apart], margins[apart]


def _skill(found, planted):
    """Mean correlation of predictions on new masks."""
    x = np.random.default_rng(9).random((500, 100)) < 0.5
    return np.nanmean([np.corrcoef(x @ a, x @ b)[0, 1] if a.any() else 0 for a, b in zip(found, planted, strict=True)])
