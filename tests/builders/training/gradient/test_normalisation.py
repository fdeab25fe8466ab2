"""Batch normalisation spelled out is torch's, forward, backward and in what it remembers; and vmap takes it in half precision."""

import copy

import pytest
import torch
from torch import nn
from torch.func import functional_call

from builders.training.gradient.normalisation import spell_out

NORMS = {
    "plain": nn.BatchNorm2d(3),
    "quick": nn.BatchNorm2d(3, eps=1e-12, momentum=0.4),
    "cumulative": nn.BatchNorm2d(3, momentum=None),
    "bare": nn.BatchNorm2d(3, affine=False),
    "forgetful": nn.BatchNorm2d(3, track_running_stats=False),
    "flat": nn.BatchNorm1d(3),
}


def both(name):
    torch.manual_seed(0)
    ours = copy.deepcopy(NORMS[name])
    for parameter in ours.parameters():
        nn.init.normal_(parameter)
    theirs = copy.deepcopy(ours)
    spell_out(ours)
    return ours, theirs


@pytest.mark.parametrize("name", NORMS)
def test_it_is_what_torch_computes(name):
    ours, theirs = both(name)
    for _ in range(3):
        x = torch.randn(6, 3, *([4, 4] if name != "flat" else []), requires_grad=True)
        gradients = []
        for norm in (ours, theirs):
            found = norm(3 * x + 2)
            gradients.append(torch.autograd.grad((found**3).sum(), [x, *norm.parameters()]))
        assert all(torch.allclose(a, b, atol=1e-3, rtol=1e-4) for a, b in zip(*gradients, strict=True))
    for mine, its in zip(ours.buffers(), theirs.buffers(), strict=True):
        assert torch.allclose(mine, its, atol=1e-6)
    x = torch.randn(5, *x.shape[1:])
    assert torch.allclose(ours.eval()(x), theirs.eval()(x), atol=1e-5)


def test_models_side_by_side_keep_their_own_statistics_in_bfloat16():
    ours, theirs = both("plain")
    x = torch.randn(2, 6, 3, 4, 4) * torch.tensor([1.0, 5.0]).view(2, 1, 1, 1, 1)
    tensors = {
        k: torch.stack([v.detach().clone()] * 2)
        for k, v in {**dict(ours.named_parameters()), **dict(ours.named_buffers())}.items()
    }
    found = torch.vmap(lambda t, x: functional_call(ours, t, (x,)))(tensors, x.bfloat16())
    assert found.dtype == torch.bfloat16
    for k in range(2):
        alone = copy.deepcopy(theirs)
        assert torch.allclose(found[k].float(), alone(x[k]), atol=0.03, rtol=0.02)
        assert torch.allclose(tensors["running_var"][k], alone.running_var, rtol=0.01)
