"""FISTA alone: against a closed form and from any start; portions within their memory."""

import numpy as np
import pytest
import torch

from builders.regression import fista
from builders.regression.fista import Blocks, Problem, quadratic, solve, violation
from builders.regression.operators import operator


def test_with_a_diagonal_gram_weights_are_soft_thresholds():
    diagonal = torch.tensor([[0.25, 1.0, 4.0]])
    g0, bars = torch.tensor([[1.0, -3.0, 0.5]]), torch.full((1, 3), 0.6)
    zero, tol = torch.zeros(1, 3), torch.tensor([1e-6])
    w = fista.fista(Blocks(torch.diag_embed(diagonal)), g0, zero, zero, bars, tol, torch.tensor([0.25]))
    np.testing.assert_allclose(w, [[1.6, -2.4, 0]], atol=1e-5)


def test_a_step_that_is_too_long_is_taken_back():
    """The curvature of the diagonal is 48 times too small here, so that plain steps would diverge."""
    block = torch.full((1, 60, 60), 0.2) + 0.05 * torch.eye(60)
    g0 = torch.linspace(0.5, 1, 60)[None]
    zero, bars = torch.zeros(1, 60), torch.full((1, 60), 0.1)
    w = fista.fista(Blocks(block), g0, zero, zero, bars, torch.tensor([1e-5]), torch.tensor([0.25]))
    assert violation(g0 - Blocks(block).product(w), w, bars) <= 1.1e-5


def solved(models, w, problem_tol=1e-5, memory=1 << 20):
    totals = models.totals()
    c = operator(totals, totals, torch.device("cpu"))
    x, y = models.centred()
    cross = torch.from_numpy((y.T @ x / len(x)).astype(np.float32))
    top = cross.abs().amax(1)
    w = w.clone()
    g = cross - c.product(w)
    problem = Problem(cross, torch.zeros_like(w), torch.ones_like(w), 0.1 * top, problem_tol * top)
    solve(c, problem, w, g, problem.lam, memory)
    bars = problem.lam[:, None].expand_as(w)
    assert (violation(cross - c.product(w), w, bars) <= 1.5 * problem.tol).all()
    np.testing.assert_allclose(g, cross - c.product(w), atol=1e-6)
    return w


@pytest.mark.parametrize("n_models", [28, 600], ids=["masks", "gram"])
def test_the_start_and_the_portions_do_not_matter(planted, n_models):
    models = planted(n_models)
    cold = solved(models, torch.zeros(12, 60))
    warm = solved(models, torch.from_numpy(models.weights.astype(np.float32)))
    portions = solved(models, torch.zeros(12, 60), memory=1)
    for other in (warm, portions):
        np.testing.assert_allclose(other, cold, atol=2e-3)


def test_targets_leave_when_they_are_done_and_keep_what_they_had(planted, monkeypatch):
    models = planted()
    together = solved(models, torch.zeros(12, 60))
    monkeypatch.setattr(fista, "CHECK", 1)
    np.testing.assert_allclose(solved(models, torch.zeros(12, 60)), together, atol=1e-3)


def test_every_member_of_a_target_is_placed_once():
    inside = torch.tensor([[0, 1, 0, 1], [0, 0, 0, 0], [1, 0, 0, 0]], dtype=torch.bool)
    members, there = fista._members(inside, 2)
    assert members.tolist() == [[1, 3], [0, 0], [0, 0]]
    assert there.tolist() == [[True, True], [False, False], [True, False]]


@pytest.mark.parametrize("n_models", [28, 600], ids=["masks", "gram"])
def test_quadratic_is_the_mean_square_of_the_prediction(planted, n_models):
    models = planted(n_models)
    totals = models.totals()
    c = operator(totals, totals, torch.device("cpu"))
    weights = models.weights.copy()
    weights[3] = 0
    x = models.centred()[0]
    got = quadratic(c, torch.from_numpy(weights.astype(np.float32)), 4_000)
    np.testing.assert_allclose(got, ((x @ weights.T) ** 2).mean(0), rtol=1e-5, atol=1e-12)
