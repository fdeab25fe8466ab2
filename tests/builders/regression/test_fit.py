"""What all estimators share: the parts are checked, and held-out skill from sums is that from rows."""

import numpy as np
import pytest

from builders.regression import empty
from builders.regression.fit import finish, joined, judge
from builders.regression.moments import centred


def test_skill_from_sums_is_skill_from_rows(models):
    fit, heldout = models.parts()
    rng = np.random.default_rng(1)
    weights = (models.weights + 0.2 * rng.normal(size=models.weights.shape)).astype(np.float32)
    mse, r = judge(centred(heldout.totals(), around=fit.totals()), weights)
    x, y = heldout.centred(around=fit)
    predicted = x @ weights.T.astype(np.float64)
    np.testing.assert_allclose(mse, ((y - predicted) ** 2).mean(0), rtol=1e-5)
    np.testing.assert_allclose(r, [np.corrcoef(a, b)[0, 1] for a, b in zip(y.T, predicted.T, strict=True)], rtol=1e-5)


def test_a_constant_prediction_has_no_correlation(models):
    fit, heldout = models.parts()
    held = centred(heldout.totals(), around=fit.totals())
    weights = models.weights.astype(np.float32)
    weights[0], weights[1] = 0, 0.25  # equal weights, on subsets of one size
    mse, r = judge(held, weights)
    assert np.isnan(r[:2]).all()
    assert not np.isnan(r[2:]).any()
    assert mse[0] == pytest.approx(held.square[0])


def test_prediction_is_bias_plus_mask_times_weights(models):
    whole = models.totals()
    weights = models.weights.astype(np.float32)
    fit = finish(whole, weights, judge(centred(whole), weights))
    predicted = fit.bias + models.masks @ fit.weights.T
    np.testing.assert_allclose(predicted.mean(0), models.margins.mean(0), rtol=1e-5)
    assert fit.n_nonzero.tolist() == [6] * 12
    assert np.isnan([*fit.lam, *fit.kkt, *fit.duality_gap]).all()


def test_parts_are_checked(models):
    fit, heldout = (part.totals() for part in models.parts())
    assert joined(fit, heldout, None).n_models == 600
    with pytest.raises(ValueError, match=r"5 models to fit on, of 4 initialisations; needed: at least 6"):
        joined(models[[*np.unique(models.init_ids, return_index=True)[1], 0]].totals(), heldout, None)
    with pytest.raises(ValueError, match="1 held-out models; needed: at least 2"):
        joined(fit, models[:1].totals(), None)
    with pytest.raises(ValueError, match="480 to fit on and 120 held out"):
        joined(fit, heldout, fit)
    with pytest.raises(ValueError, match="n_train"):
        joined(fit, empty(61, 12, 4), None)
