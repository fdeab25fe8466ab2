"""The LASSO against scikit-learn on demeaned rows, and its own certificates against rows."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Lasso, lasso_path

from builders.regression import plus
from builders.regression.lasso import MAX_GAP, MAX_KKT, Path, _refit, certify, choose, lasso
from builders.regression.moments import centred


def split(models):
    return tuple(part.totals() for part in models.parts())


@pytest.fixture(scope="module")
def fitted(models):
    return lasso(*split(models))


def ones(models):
    return np.ones((models.margins.shape[1], models.masks.shape[1]), np.float32)


def certificate(x, y, w, lam):
    """Optimality violation over lambda_max, and gap over the null objective, from rows in float64."""
    m, r = len(x), y - x @ w
    g = x.T @ r / m
    off = np.where(w != 0, np.abs(g - lam * np.sign(w)), np.maximum(np.abs(g) - lam, 0)).max()
    primal = r @ r / (2 * m) + lam * np.abs(w).sum()
    dual_point = min(1, lam / np.abs(g).max()) * r
    dual = (y @ y - (y - dual_point) @ (y - dual_point)) / (2 * m)
    return off / np.abs(x.T @ y / m).max(), (primal - dual) / (y @ y / (2 * m))


def test_weights_are_those_of_scikit_learn(models, fitted):
    x, y = models.centred()
    for t in range(y.shape[1]):
        reference = Lasso(alpha=fitted.lam[t], fit_intercept=False, tol=1e-10, max_iter=100_000).fit(x, y[:, t])
        np.testing.assert_allclose(fitted.weights[t], reference.coef_, atol=2e-4)


def test_chosen_lambda_is_the_best_of_scikit_learns_path(models):
    fit, heldout = models.parts()
    x, y = fit.centred()
    xh, yh = heldout.centred(around=fit)
    lam, weights, lowest = choose(centred(fit.totals()), centred(heldout.totals(), around=fit.totals()), ones(models))
    for t in range(y.shape[1]):
        top = np.abs(x.T @ y[:, t]).max() / len(x)
        grid, path, _ = lasso_path(x, y[:, t], alphas=top * np.geomspace(1, 1e-2, 30), tol=1e-8)
        errors = ((yh[:, t : t + 1] - xh @ path) ** 2).mean(0)
        assert lam[t] == pytest.approx(grid[errors.argmin()], rel=1e-5)
        assert lowest[t] == pytest.approx(errors.min(), rel=1e-3)
        np.testing.assert_allclose(weights[t], path[:, errors.argmin()], atol=1e-3)


def test_certificates_hold_and_are_those_of_the_rows(models, fitted):
    x, y = models.centred()
    assert fitted.converged.all()
    for t in range(y.shape[1]):
        kkt, gap = certificate(x, y[:, t], fitted.weights[t].astype(np.float64), fitted.lam[t])
        assert kkt <= MAX_KKT
        assert gap <= MAX_GAP
        assert fitted.kkt[t] == pytest.approx(kkt, abs=1e-8)
        assert fitted.duality_gap[t] <= gap + 1e-8  # the best scale of the residual is no worse than a plain one


@pytest.mark.row("R18", control=True)
def test_a_wrong_answer_has_no_certificate(models, fitted):
    moments = centred(models.totals(), dtype=np.float64)
    wrong = fitted.weights + np.float32(0.01) * (fitted.weights != 0)
    assert not certify(moments, ones(models), fitted.lam, wrong).holds.any()


@pytest.mark.parametrize(("share", "most"), [(1.0001, 0), (0.9999, 60)])
def test_lambda_max_is_where_the_first_weight_appears(models, share: float, most: int):
    moments = centred(models.totals(), dtype=np.float64)
    lam = share * np.abs(moments.cross).max(0)
    weights, proof = _refit(moments, ones(models), lam, np.zeros((12, 60), np.float32), threads=1)
    nonzero = np.count_nonzero(weights, axis=1)
    assert (nonzero <= most).all()
    assert (nonzero >= (most > 0)).all()
    assert proof.holds.all()


def test_planted_effects_come_out(planted):
    models = planted(n_models=3000, noise=0.1)
    fit = lasso(*split(models), path=Path(n_lams=60, depth=1e-4))
    found = fit.weights - np.median(fit.weights, axis=1, keepdims=True)
    np.testing.assert_allclose(found, models.weights, atol=0.03)
    largest = np.abs(models.weights).argmax(1)
    assert (np.abs(fit.weights).argmax(1) == largest).all()
    assert (np.sign(fit.weights[models.weights != 0]) == np.sign(models.weights[models.weights != 0])).all()
    assert (fit.validation_r > 0.99).all()


def test_permuted_margins_have_no_skill(planted):
    models = planted(n_targets=40)
    order = np.random.default_rng(3).permutation(len(models.masks))
    fit = lasso(*split(replace(models, masks=models.masks[order])))
    assert np.median(fit.n_nonzero) <= 6
    assert np.nan_to_num(fit.validation_r).mean() < 0.1
    assert lasso(*split(models)).validation_r.mean() > 0.8


def test_fewer_models_than_train_examples(planted):
    models = planted(n_models=120, n_train=300, n_targets=4)
    fit = lasso(*split(models))
    x, y = models.centred()
    assert fit.converged.all()
    for t in range(4):
        reference = Lasso(alpha=fit.lam[t], fit_intercept=False, tol=1e-10, max_iter=100_000).fit(x, y[:, t])
        np.testing.assert_allclose(fit.weights[t], reference.coef_, atol=1e-3)


def test_threads_do_not_change_a_bit(planted):
    parts = split(planted(n_models=200, n_targets=150))
    np.testing.assert_array_equal(lasso(*parts).weights, lasso(*parts, threads=3).weights)


def test_prices_are_penalties(models):
    prices = np.random.default_rng(5).uniform(0.5, 2, (12, 60)).astype(np.float32)
    fit = lasso(*split(models), prices=prices)
    x, y = models.centred()
    for t in range(12):
        cheap = Lasso(alpha=fit.lam[t], fit_intercept=False, tol=1e-10, max_iter=100_000).fit(x / prices[t], y[:, t])
        np.testing.assert_allclose(fit.weights[t], cheap.coef_ / prices[t], atol=3e-4)
    assert fit.converged.all()


@pytest.mark.parametrize("bad", [np.ones((12, 59)), np.zeros((12, 60)), np.full((12, 60), np.nan)])
def test_bad_prices_are_refused(models, bad):
    with pytest.raises(ValueError, match="finite and positive"):
        lasso(*split(models), prices=bad)


@pytest.mark.row("R18")
def test_constant_targets_columns_and_twins(models):
    masks, margins = models.masks.copy(), models.margins.copy()
    masks[:, 3], masks[:, 5], masks[:, 8] = True, False, masks[:, 7]
    margins[:, 0] = 0.1
    late = np.arange(len(margins)) % 5 == 4
    margins[:, 1] = np.where(late, margins[:, 1], 2.5)  # constant in the fit part alone
    margins[:, 2] = np.where(late, 2.5, margins[:, 2])  # constant in the held-out part alone
    fit = lasso(*split(replace(models, masks=masks, margins=margins)))
    assert fit.converged.all()
    assert not fit.weights[:2].any()
    assert not fit.weights[:, [3, 5]].any()
    assert fit.weights[3:].any(axis=1).all()
    assert np.isfinite([fit.bias, fit.lam, fit.kkt, fit.duality_gap, fit.validation_mse]).all()
    assert np.isnan(fit.validation_r[:2]).all()
    assert fit.bias[0] == pytest.approx(0.1)


def test_the_whole_may_be_given(models):
    parts = split(models)
    np.testing.assert_array_equal(lasso(*parts).weights, lasso(*parts, plus(*parts)).weights)


def test_stopping_soon_after_the_best_chooses_as_the_whole_path_does(models):
    fit, heldout = split(models)
    part, held = centred(fit), centred(heldout, around=fit)
    soon, late = (choose(part, held, ones(models), Path(patience=patience)) for patience in (3, 30))
    np.testing.assert_array_equal(soon.lam, late.lam)
    np.testing.assert_array_equal(soon.weights, late.weights)
    deepest = choose(part, held, ones(models), Path(n_lams=1))
    assert not deepest.weights.any()


@pytest.mark.row("R18")
@pytest.mark.case(66)
def test_what_does_not_converge_says_so(models, monkeypatch):
    monkeypatch.setattr("builders.regression.lasso.refine", lambda *arguments: None)
    fit = lasso(*split(models))
    assert not fit.converged.any()
    assert (fit.kkt > MAX_KKT).all()


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10_000),
    n_models=st.integers(20, 90),
    n_train=st.integers(6, 70),
    n_inits=st.integers(1, 3),
    twins=st.booleans(),
)
def test_every_small_problem_is_solved_to_the_bar(planted, seed: int, n_models: int, n_train: int, n_inits: int, twins: bool):
    models = planted(n_models, n_train, 3, n_inits, noise=1.0, seed=seed)
    if twins:
        models = replace(models, masks=np.concatenate([models.masks, models.masks], axis=1))
    fit = lasso(*split(models))
    x, y = models.centred()
    assert fit.converged.all()
    for t in range(3):
        kkt, gap = certificate(x, y[:, t], fit.weights[t].astype(np.float64), fit.lam[t])
        assert kkt <= 1.01 * MAX_KKT
        assert -1e-9 <= fit.duality_gap[t] <= gap + 1e-8


@settings(max_examples=15)
@given(shift=st.floats(-4, 4), scale=st.sampled_from([0.25, 0.5, 2.0, 4.0]))
def test_margins_shifted_and_scaled_move_the_fit_along(models, fitted, shift: float, scale: float):
    moved = lasso(*split(replace(models, margins=(scale * models.margins + np.float32(shift)).astype(np.float32))))
    np.testing.assert_allclose(moved.weights, scale * fitted.weights, atol=2e-4 * scale)
    np.testing.assert_allclose(moved.bias, scale * fitted.bias + shift, atol=5e-3 * scale)
