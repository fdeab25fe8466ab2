"""What a footer tells of the machine: the card's name where the work was a card's, the processor's otherwise."""

import platform

import pytest

from builders import loop
from builders.regression import device
from builders.study import parse


@pytest.mark.parametrize(("name", "told"), [("patchnet", "cpu"), ("small-cnn", "cuda"), ("logistic", "cpu")])
def test_the_card_is_named_for_models_that_it_trained(monkeypatch, name, told):
    monkeypatch.setattr(device, "cuda", lambda: True)
    monkeypatch.setattr(device, "card", lambda: "cuda NVIDIA H100 80GB HBM3")
    study = parse({"name": "mine", "algorithm": {"name": name}}, "mine.toml")
    assert str(loop.provenance(loop._on_gpu(study, "margins"))["device"]).startswith(told)
    assert loop.provenance(loop._on_gpu(study, "masks"))["device"] == f"cpu {platform.machine()}"


def test_without_a_card_it_is_the_processor(monkeypatch):
    monkeypatch.setattr(device, "cuda", lambda: False)
    assert loop.provenance(gpu=True)["device"] == f"cpu {platform.machine()}"
