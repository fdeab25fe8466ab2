"""Updates against torch's own SGD and against the singular values that Muon promises."""

import pytest
import torch

from builders.training.gradient.rules import Rule, muon, orthogonal, sgd


@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd_is_that_of_torch(nesterov):
    torch.manual_seed(0)
    weights, momenta = torch.randn(12), torch.zeros(12)
    theirs = torch.nn.Parameter(weights.clone())
    optimiser = torch.optim.SGD([theirs], lr=0.1, momentum=0.9, weight_decay=0.01, nesterov=nesterov)
    for step in range(4):
        grads = torch.randn(12)
        theirs.grad = grads.clone()
        optimiser.param_groups[0]["lr"] = rate = 0.1 / (step + 1)
        optimiser.step()
        sgd(Rule(".*", 0.1, 0.9, nesterov, 0.01), weights, grads, momenta, torch.tensor([rate]))
    assert torch.allclose(weights, theirs, atol=1e-6)


@pytest.mark.parametrize("shape", [(3, 8, 27), (3, 27, 8)])
def test_singular_values_are_brought_near_1_and_directions_kept(shape):
    torch.manual_seed(0)
    made = torch.randn(shape)
    found = orthogonal(made, torch.float32, steps=5)
    values = torch.linalg.svdvals(found)
    assert 0.6 < values.min() < values.max() < 1.3
    u, _, v = torch.linalg.svd(made, full_matrices=False)
    assert (found * (u @ v)).sum((1, 2)).div(8).min() > 0.8  # near the nearest semi-orthogonal matrix
    assert torch.allclose(found[1], orthogonal(made[1:2], torch.float32, steps=5)[0], atol=1e-5)


def test_muon_steps_against_the_gradient_from_weights_of_fixed_norm():
    torch.manual_seed(0)
    weights, grads, momenta = torch.randn(2, 4, 9), torch.randn(2, 4, 9), torch.zeros(2, 4, 9)
    before = weights.clone()
    muon(Rule(".*", 1, 0.6, True, muon=True), weights, grads.clone(), momenta, torch.tensor([0.0, 0.1]), torch.float32)
    assert torch.linalg.vector_norm(weights[0]) == pytest.approx(2)  # the square root of its four filters
    assert torch.allclose(weights[0], before[0] * 2 / before[0].norm(), atol=1e-6)
    moved = weights[1] - before[1] * 2 / before[1].norm()
    assert (moved * grads[1]).sum() < -0.1
