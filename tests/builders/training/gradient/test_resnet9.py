"""The paper's network and the fast one: sizes, whitening, identities, and which parameters each rule owns."""

import re

import numpy as np
import pytest
import torch

from builders.training.gradient import images, resnet9, resnet9_fast
from builders.training.gradient.models import names_by_rule
from builders.training.recipes import ResNet9, ResNet9Fast


def test_the_paper_s_network_has_its_number_of_parameters_and_its_layers():
    net = resnet9.network(64, 3, 10)
    assert sum(p.numel() for p in net.parameters()) == 2_274_880
    convolutions = [m for m in net.modules() if isinstance(m, torch.nn.Conv2d)]
    assert [(m.in_channels, m.out_channels, m.kernel_size[0], m.stride[0], m.padding[0]) for m in convolutions] == [
        *((3, 64, 3, 1, 1), (64, 128, 5, 2, 2), (128, 128, 3, 1, 1), (128, 128, 3, 1, 1)),
        *((128, 256, 3, 1, 1), (256, 256, 3, 1, 1), (256, 256, 3, 1, 1), (256, 128, 3, 1, 0)),
    ]
    assert net(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


def test_the_defaults_are_the_released_recipe():
    recipe = ResNet9()
    assert (recipe.epochs, recipe.batch, recipe.learning_rate, recipe.momentum, recipe.nesterov) == (24, 512, 0.5, 0.9, False)
    assert (recipe.weight_decay, recipe.label_smoothing, recipe.warmup * 24) == (5e-4, 0.1, 5)
    assert (recipe.flip, recipe.translate, recipe.cutout, recipe.views) == ("random", 2, 4, 2)
    assert recipe.pixel_mean == (125.307, 122.961, 113.8575)


def test_the_whitening_layer_makes_patches_uncorrelated(data):
    options = ResNet9Fast()
    filters = resnet9_fast.whitening(data, options)
    assert filters.shape == (24, 3, 2, 2)
    assert torch.equal(filters[:12], -filters[12:])
    pixels = images.resident(data.train_images, 0, False, *images.scale(data, (), ()), "cpu")
    out = torch.nn.functional.conv2d(images.plain(pixels, 0, 40), filters[:12]).permute(1, 0, 2, 3).reshape(12, -1)
    assert torch.allclose(out @ out.T / out.shape[1], torch.eye(12), atol=0.02)


def test_the_fast_network_starts_as_identities_and_every_parameter_has_its_rule(data):
    experiment = resnet9_fast.experiment(ResNet9Fast(widths=(4, 8, 8)), data)
    net = experiment.make()
    for block in net.blocks:
        for conv in (block.conv1, block.conv2):
            n = min(conv.weight.shape[:2])
            assert torch.equal(conv.weight[:n, :n, 1, 1], torch.eye(n))
    assert net.head.weight.detach().std() == pytest.approx(1, abs=1e-5)
    names = [name for name, p in net.named_parameters() if p.requires_grad]
    owned = names_by_rule(experiment.rules, names)
    assert [len(o) for o in owned] == [1, 6, 1, 6]
    assert all(re.search(r"conv\d\.weight", name) for name in owned[3])
    assert sorted(name for each in owned for name in each) == sorted(names)


def test_weight_decay_of_the_fast_recipe_is_that_of_its_source(data):
    rules = resnet9_fast.experiment(ResNet9Fast(batch=2_000), data).rules
    assert np.allclose([r.weight_decay * r.learning_rate for r in rules[:3]], 2e-6 * 2_000)
    assert [r.muon for r in rules] == [False, False, False, True]


def test_a_parameter_without_a_rule_is_named():
    with pytest.raises(ValueError, match="no rule updates the parameter lonely"):
        names_by_rule((), ["lonely"])
