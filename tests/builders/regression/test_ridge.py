"""Ridge against scikit-learn on demeaned rows, its lambda against a search over rows."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from builders.regression.moments import centred
from builders.regression.ridge import ridge


def split(models):
    return tuple(part.totals() for part in models.parts())


@pytest.fixture(scope="module")
def fitted(models):
    return ridge(*split(models))


def test_weights_are_those_of_scikit_learn(models, fitted):
    x, y = models.centred()
    for t in range(y.shape[1]):
        reference = Ridge(alpha=len(x) * fitted.lam[t], fit_intercept=False).fit(x, y[:, t])
        np.testing.assert_allclose(fitted.weights[t], reference.coef_, rtol=1e-4, atol=1e-6)
    assert fitted.kkt.max() < 1e-6
    assert np.isnan(fitted.duality_gap).all()


def test_lambda_has_the_lowest_error_on_held_out_rows(models, fitted):
    fit, heldout = models.parts()
    x, y = fit.centred()
    xh, yh = heldout.centred(around=fit)
    grid = np.linalg.eigvalsh(centred(fit.totals(), dtype=np.float64).gram).mean() * np.geomspace(1e-2, 1e3, 25)
    fits = [Ridge(alpha=len(x) * lam, fit_intercept=False).fit(x, y) for lam in grid]
    errors = np.stack([((yh - f.predict(xh)) ** 2).mean(0) for f in fits])
    np.testing.assert_allclose(fitted.lam, grid[errors.argmin(0)])
    np.testing.assert_allclose(fitted.validation_mse, errors.min(0), rtol=1e-4)


def test_without_noise_the_planted_weights_come_out_up_to_the_gauge(planted):
    models = planted(n_models=2000, noise=0)
    fit = ridge(*split(models), lowest=1e-9, highest=1e-7)
    gauge = models.weights - models.weights.mean(1, keepdims=True)  # subsets of one size say nothing of the mean
    np.testing.assert_allclose(fit.weights, gauge, atol=1e-4)
    predicted = fit.bias + models.masks @ fit.weights.T
    same_start = models.init_ids == 0
    np.testing.assert_allclose(
        predicted[same_start] - predicted[same_start].mean(0),
        models.margins[same_start] - models.margins[same_start].mean(0),
        atol=1e-3,
    )


def test_constant_targets_and_columns_get_no_weight(models):
    masks, margins = models.masks.copy(), models.margins.copy()
    masks[:, 3], margins[:, 0] = True, 0.1
    fit = ridge(*split(replace(models, masks=masks, margins=margins)))
    assert not fit.weights[0].any()
    np.testing.assert_allclose(fit.weights[:, 3], 0, atol=1e-7)
    assert fit.bias[0] == pytest.approx(0.1)
    assert np.isnan(fit.validation_r[0])


def test_fewer_models_than_train_examples(planted):
    models = planted(n_models=100, n_train=200, n_targets=4)
    fit = ridge(*split(models))
    x, y = models.centred()
    reference = Ridge(alpha=len(x) * fit.lam[1], fit_intercept=False).fit(x, y[:, 1])
    np.testing.assert_allclose(fit.weights[1], reference.coef_, rtol=1e-3, atol=1e-6)
