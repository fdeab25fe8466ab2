"""The batched solver against coordinate descent, scikit-learn and its own certificates, on every device there is."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Lasso

from builders.regression import batched, fit_all, lasso, operators, plus, shared
from builders.regression.batched import Batched, Block, in_blocks
from builders.regression.lasso import MAX_GAP, MAX_KKT, Descent, Path
from builders.regression.moments import centred, targets
from builders.regression.operators import operator
from lake.errors import LakeError

CPU = torch.device("cpu")
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


def split(models):
    return tuple(part.totals() for part in models.parts())


def descent(fit, heldout):
    return Descent(centred(fit), centred(heldout, around=fit), 1)


def ones(totals):
    return np.ones((totals.n_targets, totals.n_train), np.float32)


def both(models, where="cpu", path=lasso.DEFAULT_PATH):
    """Fits of the same models by either solver."""
    parts = split(models)
    return tuple(lasso.lasso(*parts, by=by, path=path) for by in (descent(*parts), Batched(*parts, torch.device(where))))


def assert_agree(ours, theirs, spread):
    """Equal up to what two solutions within the accuracy bar may differ by; `spread` is the scale of the margins.

    Where two lambdas are as good, solvers may choose differently, so one in ten may differ; held-out errors never do.
    """
    assert ours.converged.all()
    assert (ours.kkt <= MAX_KKT).all()
    assert (ours.duality_gap <= MAX_GAP).all()
    same = np.isclose(ours.lam, theirs.lam, rtol=1e-5)
    assert same.mean() > 0.9
    np.testing.assert_allclose(ours.weights[same], theirs.weights[same], atol=1e-3 * spread)
    np.testing.assert_allclose(ours.bias[same], theirs.bias[same], atol=1e-2 * spread)
    np.testing.assert_allclose(ours.validation_mse, theirs.validation_mse, rtol=2e-3)
    np.testing.assert_allclose(ours.validation_r, theirs.validation_r, atol=1e-2)


@pytest.mark.parametrize("where", DEVICES)
@pytest.mark.parametrize("shape", [(600, 60, 12), (400, 120, 5), (150, 240, 5)], ids=["many", "some", "few"])
def test_it_agrees_with_coordinate_descent(planted, where, shape):
    models = planted(*shape)
    theirs, ours = both(models, where)
    assert (split(models)[0].pairs.counts is None) == (shape[0] < shape[1])
    assert_agree(ours, theirs, models.margins.std())


def test_weights_are_those_of_scikit_learn(models):
    fit = both(models)[1]
    x, y = models.centred()
    for t in range(y.shape[1]):
        reference = Lasso(alpha=fit.lam[t], fit_intercept=False, tol=1e-10, max_iter=100_000).fit(x, y[:, t])
        np.testing.assert_allclose(fit.weights[t], reference.coef_, atol=3e-4)


@pytest.mark.parametrize("few", [False, True], ids=["gram", "masks"])
def test_its_certificates_are_those_of_coordinate_descent(planted, few):
    models = planted(28 if few else 300)
    totals = models.totals()
    rng = np.random.default_rng(2)
    weights = (models.weights * rng.uniform(0.9, 1.1, models.weights.shape)).astype(np.float32)
    prices = rng.uniform(0.5, 2, weights.shape).astype(np.float32)
    lam = rng.uniform(0.01, 0.1, len(weights))
    theirs = lasso.certify(centred(totals, dtype=np.float64), prices, lam, weights)
    own = targets(totals, totals)
    block = Block(*(torch.from_numpy(a) for a in (own.cross.T, own.square, prices)))
    ours = batched.certify(operator(totals, totals, CPU), block, torch.from_numpy(lam), torch.from_numpy(weights))
    np.testing.assert_allclose(ours.gradient, theirs.gradient, atol=1e-12)
    np.testing.assert_allclose(ours.kkt, theirs.kkt, rtol=1e-9)
    np.testing.assert_allclose(ours.gap, theirs.gap, rtol=1e-9)


def to_tf32(x: torch.Tensor) -> torch.Tensor:
    """Rounded to ten bits of mantissa, as a tensor core reads float32."""
    return ((x.contiguous().view(torch.int32) + 0x1000) & ~0x1FFF).view(torch.float32)


@pytest.mark.parametrize("few", [False, True], ids=["gram", "masks"])
def test_products_rounded_to_tf32_lead_to_the_same_certified_fit(planted, monkeypatch, few):
    models = planted(150, 200, 4) if few else planted(noise=1.0)
    theirs = both(models)[0]
    monkeypatch.setattr(operators, "fast", lambda a, b: to_tf32(a) @ to_tf32(b))
    assert_agree(both(models)[1], theirs, models.margins.std())


def test_the_shared_lasso_and_the_best_fit_agree_too(planted, monkeypatch):
    parts = split(planted(n_targets=20))
    theirs = fit_all(("lasso", "shared", "best"), *parts)
    for module in ("lasso", "shared", "estimators"):
        monkeypatch.setattr(f"builders.regression.{module}.solver", lambda *totals: Batched(*totals, CPU))
    ours = fit_all(("lasso", "shared", "best"), *parts)
    for name, fit in theirs.items():
        np.testing.assert_allclose(ours[name].weights, fit.weights, atol=0.03, err_msg=name)
        np.testing.assert_allclose(ours[name].validation_mse, fit.validation_mse, rtol=2e-3, err_msg=name)
        assert ours[name].converged.all()


def test_prices_are_penalties(models):
    prices = np.random.default_rng(5).uniform(0.5, 2, (12, 60)).astype(np.float32)
    parts = split(models)
    theirs, ours = (lasso.lasso(*parts, prices=prices, by=by) for by in (descent(*parts), Batched(*parts, CPU)))
    assert_agree(ours, theirs, models.margins.std())


def test_constant_targets_columns_and_twins(models):
    masks, margins = models.masks.copy(), models.margins.copy()
    masks[:, 3], masks[:, 5], masks[:, 8] = True, False, masks[:, 7]
    margins[:, 0] = 0.1
    late = np.arange(len(margins)) % 5 == 4
    margins[:, 1] = np.where(late, margins[:, 1], 2.5)  # constant in the fit part alone
    margins[:, 2] = np.where(late, 2.5, margins[:, 2])  # constant in the held-out part alone
    theirs, ours = both(replace(models, masks=masks, margins=margins))
    assert not ours.weights[:2].any()
    assert not ours.weights[:, [3, 5]].any()
    assert ours.converged.all()
    assert np.isnan(ours.validation_r[:2]).all()
    np.testing.assert_allclose(ours.lam, theirs.lam, rtol=1e-5)
    np.testing.assert_allclose(ours.bias, theirs.bias, atol=1e-2)
    pair = [7, 8]  # twins share a weight as they please
    np.testing.assert_allclose(ours.weights[:, pair].sum(1), theirs.weights[:, pair].sum(1), atol=2e-3)


def test_a_dense_solution_is_found_on_all_of_the_gram(planted):
    models = planted(n_models=2000, n_targets=4, noise=0.05)
    theirs, ours = both(models, path=Path(n_lams=60, depth=1e-4))
    assert (ours.n_nonzero > 60 // 8).all()
    assert_agree(ours, theirs, models.margins.std())


@pytest.mark.slow
@settings(max_examples=25)
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
    parts = split(models)
    choice = Batched(*parts, CPU).choose(ones(parts[0]))
    whole = plus(*parts)
    ours = Batched(*parts, CPU).settle(whole, ones(whole), choice)
    theirs = lasso.settle(whole, centred(parts[1], around=parts[0]), ones(whole), choice)
    assert ours.converged.all()
    np.testing.assert_array_equal(ours.lam, theirs.lam)
    x = models.centred()[0]
    fitted, reference = (x @ fit.weights.T.astype(np.float64) for fit in (ours, theirs))
    np.testing.assert_allclose(fitted, reference, atol=0.05 * models.margins.std())


@pytest.mark.parametrize("size", [1, 5])
def test_blocks_of_any_size_give_the_same_fit(planted, monkeypatch, size):
    models = planted(n_targets=6)
    whole = both(models)[1]
    monkeypatch.setitem(batched.TARGETS, "cpu", size)
    monkeypatch.setitem(batched.MEMORY, "cpu", 20_000)
    np.testing.assert_allclose(both(models)[1].weights, whole.weights, atol=5e-4)


def test_a_block_too_large_for_the_device_is_halved_and_nothing_is_done_twice(capsys):
    done = []

    def work(block: slice, loaded: slice) -> None:
        assert loaded == block
        if block.stop - block.start > 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        done.extend(range(block.start, block.stop))

    in_blocks(lambda block: block, work, 10, 12)
    assert done == list(range(10))
    assert capsys.readouterr().err.splitlines()[-1].endswith("going on with 3 targets at a time")


def test_a_device_too_small_for_one_target_is_one_line(models, monkeypatch):
    def short(*arguments):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9.31 GiB. GPU 0 has")

    monkeypatch.setattr(batched, "follow", short)
    with pytest.raises(LakeError, match=r"60 train examples does not fit .*Tried|60 train examples does not fit") as caught:
        both(models)
    assert "CUDA_VISIBLE_DEVICES=" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_counts_on_a_device_give_the_fit_of_counts_in_memory(models):
    fit, heldout = split(models)
    theirs = Batched(fit, heldout, CPU).choose(ones(fit))
    for part in (fit, heldout):
        part.pairs.counts = torch.from_numpy(part.pairs.counts)
    ours = Batched(fit, heldout, CPU).choose(ones(fit))
    np.testing.assert_array_equal(ours.weights, theirs.weights)
    assert isinstance(plus(fit, heldout).pairs.counts, torch.Tensor)
    assert isinstance(fit.gram, np.ndarray)


def test_a_processor_solves_on_masks_where_a_gram_would_be_out_of_proportion(planted, monkeypatch):
    few, many = split(planted(30, n_targets=3)), split(planted(300, n_targets=3))
    assert isinstance(lasso.solver(*few), Descent)
    monkeypatch.setattr(lasso, "MOST_COLUMNS", 50)
    assert isinstance(lasso.solver(*few), Batched)
    assert isinstance(lasso.solver(*many), Descent)
    assert shared.shared(*few).converged.all()
