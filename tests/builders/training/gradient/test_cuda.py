"""On a CUDA device: the captured step does what the plain one does, lanes do not mix, and results agree with the CPU's."""

import importlib

import numpy as np
import pytest
import torch

from builders.training.gradient import device
from builders.training.gradient.lane import Plan
from builders.training.registry import MODULES

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]


def logits(name, recipe, data, group, plan):
    return importlib.import_module(MODULES[name][1]).prepare(recipe, data, plan)(group)


@pytest.fixture(autouse=True)
def _on_cuda(monkeypatch, _one_thread):
    monkeypatch.setenv("DEVICE", "cuda")


@pytest.mark.parametrize("name", ["small-cnn", "resnet9", "resnet9-fast"])
@pytest.mark.parametrize("plan", [Plan(graph=True), Plan(graph=True, lanes=2), Plan(graph=True, compiled=True), Plan(fused=2)])
def test_every_plan_trains_the_same_models_but_for_rounding(name, recipes, data, group_of, plan):
    group = group_of(5)
    plain, other = (logits(name, recipes[name], data, group, p) for p in (Plan(), plan))
    near = np.corrcoef(plain.test.ravel(), other.test.ravel())[0, 1]
    assert near > 0.9  # bfloat16 in another order of sums; logits of other models correlate less
    assert len(np.unique(other.test.argmax(2))) > 1


def test_a_graph_is_replayed_for_later_groups_of_the_same_shape(recipes, data, group_of):
    train = importlib.import_module(MODULES["small-cnn"][1]).prepare(recipes["small-cnn"], data, Plan(graph=True))
    first, again = train(group_of(4)), train(group_of(4))
    assert np.allclose(first.test, again.test, atol=0.05)
    assert np.allclose(train(group_of(6)).test[:4], first.test, atol=0.05)


def test_margins_of_the_card_are_near_those_of_the_cpu(recipes, data, group_of, monkeypatch):
    card = logits("small-cnn", recipes["small-cnn"], data, group_of(4), None)
    monkeypatch.setenv("DEVICE", "cpu")
    ours = logits("small-cnn", recipes["small-cnn"], data, group_of(4), None)
    assert np.corrcoef(card.test.ravel(), ours.test.ravel())[0, 1] > 0.95


def test_the_card_is_named(monkeypatch):
    assert device.name() == f"cuda {torch.cuda.get_device_name()}"
    monkeypatch.setenv("DEVICE", "cuda:99")
    with pytest.raises(ValueError, match="DEVICE=cuda:99: there are"):
        device.chosen()


def test_a_card_without_bfloat16_trains_the_same_in_float16(recipes, data, group_of, monkeypatch):
    plan = Plan(graph=True)  # not compiled: torch's cache of compiled steps takes one half precision for the other
    ours = logits("small-cnn", recipes["small-cnn"], data, group_of(4), plan)
    monkeypatch.setattr(device, "precision", lambda _: torch.float16)
    other = logits("small-cnn", recipes["small-cnn"], data, group_of(4), plan)
    assert np.corrcoef(ours.test.ravel(), other.test.ravel())[0, 1] > 0.95
    assert not np.array_equal(ours.test, other.test)
