"""All estimators through one door, and the best of them for each target."""

import numpy as np
import pytest

from builders.regression import ESTIMATORS, Fit, best, fit_all
from builders.regression.estimators import CANDIDATES


@pytest.fixture(scope="module")
def fits(planted) -> dict[str, Fit]:
    parts = planted(n_models=300).parts()
    fit, heldout = (part.totals() for part in parts)
    return {name: estimate(fit, heldout, threads=2) for name, estimate in ESTIMATORS.items()}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_every_estimator_finds_planted_effects_with_their_sign(planted, fits, name: str):
    truth = planted(n_models=300).weights
    largest = np.abs(truth).argmax(1), np.arange(12)
    found = fits[name].weights[largest[1], largest[0]]
    assert (np.sign(found) == np.sign(truth[largest[1], largest[0]])).all()
    np.testing.assert_allclose(found, truth[largest[1], largest[0]], atol=0.9)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_fields_have_the_documented_shapes_and_types(fits, name: str):
    fit = fits[name]
    assert fit.weights.shape == (12, 60)
    assert fit.weights.dtype == np.float32
    for field in ("bias", "lam", "mean_margin", "validation_mse", "kkt", "duality_gap"):
        assert (getattr(fit, field).shape, getattr(fit, field).dtype) == ((12,), np.float64), field
    assert (fit.n_nonzero.shape, fit.n_nonzero.dtype) == ((12,), np.int64)
    assert (fit.validation_r.dtype, fit.converged.dtype) == (np.float32, bool)
    assert fit.converged.all()


def test_sparse_truth_is_for_sparse_estimators(fits):
    error = {name: fit.validation_mse.mean() for name, fit in fits.items()}
    assert max(error["lasso"], error["shared"]) < error["ridge"] < error["banzhaf"] < error["difference"]


def test_best_takes_each_target_from_its_best_fit(fits):
    chosen = best(fits)
    lowest = np.stack([fit.validation_mse for fit in fits.values()]).min(0)
    np.testing.assert_array_equal(chosen.validation_mse, lowest)
    for t in range(12):
        source = next(f for f in fits.values() if f.validation_mse[t] == lowest[t])
        np.testing.assert_array_equal(chosen.weights[t], source.weights[t])
        assert chosen.bias[t] == source.bias[t]
        assert chosen.n_nonzero[t] == source.n_nonzero[t]


def test_best_needs_fits_of_one_shape(planted, fits):
    with pytest.raises(ValueError, match="no estimator"):
        best({})
    fit, heldout = (part.totals() for part in planted(n_targets=3).parts())
    with pytest.raises(ValueError, match="one shape"):
        best({"lasso": fits["lasso"], "ridge": ESTIMATORS["ridge"](fit, heldout)})


def test_all_at_once_are_the_same_fits_as_one_by_one(planted, fits):
    fit, heldout = (part.totals() for part in planted(n_models=300).parts())
    together = fit_all((*ESTIMATORS, "best"), fit, heldout)
    assert set(together) == {*ESTIMATORS, "best"}
    for name, alone in fits.items():
        np.testing.assert_array_equal(together[name].weights, alone.weights)
    np.testing.assert_array_equal(together["best"].weights, best({name: fits[name] for name in CANDIDATES}).weights)


def test_only_the_named_estimators_are_fitted(planted):
    fit, heldout = (part.totals() for part in planted(n_models=300).parts())
    assert set(fit_all(("ridge",), fit, heldout)) == {"ridge"}
    with pytest.raises(KeyError):
        fit_all(("rigde",), fit, heldout)
