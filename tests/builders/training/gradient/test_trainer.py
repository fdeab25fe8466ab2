"""Trained networks: the same alone and in any group, what plain PyTorch makes of the recipe, and what they learn."""

import importlib

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from builders import counter, datasets, margins
from builders.study import Dataset
from builders.training.gradient import images, lane, resnet9, trainer
from builders.training.gradient.lane import Plan
from builders.training.gradient.models import Models, calls
from builders.training.gradient.tables import Rounds, rates, visits
from builders.training.registry import MODULES, Algorithm
from lake.errors import LakeError, UsageError


def prepare(name, recipe, data, plan=None):
    return importlib.import_module(MODULES[name][1]).prepare(recipe, data, plan)


@pytest.mark.parametrize("name", ["small-cnn", "resnet9", "resnet9-fast"])
def test_a_model_has_the_same_bits_alone_in_another_place_and_among_other_sizes(name, recipes, data, group_of):
    train = prepare(name, recipes[name], data)
    group = group_of(10, sizes=(20, 31, 20))
    together = train(group)
    order = np.array([7, 1, 9])
    apart = train(group.take(order))
    assert np.array_equal(apart.test, together.test[order])
    assert np.array_equal(apart.train, together.train[order])
    assert len({model.tobytes() for model in together.test}) == 10


@pytest.mark.parametrize("name", ["small-cnn", "resnet9-fast"])
def test_models_fused_by_vmap_are_those_of_a_loop(name, recipes, data, group_of):
    recipe = recipes[name].model_copy(update={"epochs": 1})
    group = group_of(3, sizes=(20, 32))
    loop, fused = (prepare(name, recipe, data, plan)(group) for plan in (Plan(), Plan(fused=3)))
    assert np.allclose(fused.test, loop.test, atol=2e-3)
    assert np.allclose(fused.train, loop.train, atol=2e-3)


def test_a_lane_that_trained_longer_and_shorter_models_before_trains_the_same(recipes, data, group_of):
    train, fresh = (prepare("small-cnn", recipes["small-cnn"], data, Plan()) for _ in range(2))
    for sizes in ((20,), (39,), (15,)):
        found = train(group_of(1, sizes=sizes))
    assert np.array_equal(found.test, fresh(group_of(1, sizes=(15,))).test)


def test_the_recipe_is_what_plain_pytorch_makes_of_it(recipes, data, group_of):
    """A reference with a module, torch.optim.SGD and its own batches: weights, order, views, rates, smoothing, statistics."""
    recipe, group = recipes["resnet9"], group_of(1)
    ours = prepare("resnet9", recipe, data, Plan())(group)
    torch.manual_seed(int(counter.words(5, "init", group.init_ids[0]) >> np.uint64(1)))
    net = resnet9.network(4, 3, 2)
    optimiser = torch.optim.SGD(net.parameters(), lr=1, momentum=0.9, weight_decay=5e-4)
    pixels = images.resident(data.train_images, 2, False, *images.scale(data, (), ()), "cpu")
    examples, draws = visits(Rounds(3, 10, "random"), group, 0, "cpu")
    for seen, word, rate in zip(examples, draws, 0.1 * rates(len(examples), 5 / 24), strict=True):
        optimiser.param_groups[0]["lr"] = rate
        optimiser.zero_grad()
        x = images.batch(pixels, seen, word, 4)
        F.cross_entropy(net(x), torch.from_numpy(data.train_labels)[seen], label_smoothing=0.1).backward()
        optimiser.step()
    net.eval()
    x = images.resident(data.test_images, 0, False, *images.scale(data, (), ()), "cpu")
    with torch.no_grad():
        theirs = (net(images.plain(x, 0, 20)) + net(images.plain(x, 0, 20).flip(-1))) / 2
    assert np.allclose(ours.test[0], theirs.numpy(), atol=1e-3)


def test_gradients_that_overflow_half_precision_count_as_zero_and_halve_the_scale(recipes, data):
    """As on a card without bfloat16: of two models one overflows, and only that one is held back."""
    setting = trainer.prepared(resnet9.experiment(recipes["resnet9"], 3, 2), recipes["resnet9"], data)
    both = Models(setting.experiment, setting.module, calls(setting.experiment, setting.module, 2), 2, torch.float16)
    both.reset([1, 2])
    assert both.scales.tolist() == [2**14, 2**14]
    both.grads.copy_(torch.where(both.owner == 0, 2.0**14, 2.0**15))
    both.grads[torch.nonzero(both.owner == 0)[0]] = torch.inf
    both._unscale()
    assert both.grads[both.owner == 0].abs().max() == 0
    assert (both.grads[both.owner == 1] == 2).all()
    assert both.scales.tolist() == [2**13, 2**14]
    assert both.good.tolist() == [0, 1]


def test_randomness_is_keyed_by_init_order_and_role(recipes, data, group_of):
    train, group = prepare("small-cnn", recipes["small-cnn"], data, Plan(fused=4)), group_of(1)
    others = [
        group,
        *(
            type(group)(5, role, group.masks, np.array([i]), np.array([o]))
            for role, i, o in (("fit", 1, 10), ("fit", 0, 11), ("heldout", 0, 10))
        ),
    ]
    found = [train(g).test for g in others]
    assert all(np.abs(found[0] - other).max() > 1e-3 for other in found[1:])


def test_networks_learn_digits():
    """On 150 of 300 real digits, two models: far above the tenth that chance gives."""
    real = datasets.load(Dataset(n_train=300, n_test=60))
    algorithm = Algorithm.model_validate(
        {"name": "small-cnn", "widths": (8, 16), "epochs": 8, "batch": 25, "learning_rate": 0.2}
    )
    masks = np.stack([np.random.default_rng(k).permutation(300) < 150 for k in range(2)])
    group = margins.Group(0, "fit", masks, np.arange(2), np.arange(2))
    found = importlib.import_module(MODULES["small-cnn"][1]).prepare(algorithm.options, real, Plan(fused=2))(group)
    assert (found.test.argmax(2) == real.test_labels).mean() > 0.5


def test_a_study_of_a_network_builds_to_the_end(lake, study_of, build_missing):
    algorithm = {"name": "small-cnn", "widths": (4,), "epochs": 1, "batch": 10}
    report = build_missing(lake, study_of(algorithm=algorithm, models=16, heldout_masks=2, curve=[]))
    assert not report.failures
    assert report.models == 16 + 8


class Branching(nn.Module):
    """Looks at values as it runs, which vmap refuses."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 2)

    def forward(self, x):
        x = x.mean((2, 3))
        return self.linear(x) if x.sum() > -1e9 else x


class Dropping(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(768, 2))

    def forward(self, x):
        return self.layers(x)


class Forgetting(nn.Module):
    """Drops by the function, so that no layer tells of it."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(768, 2)

    def forward(self, x):
        return self.linear(nn.functional.dropout(x.flatten(1), 0.5, self.training))


class Untrainable(Forgetting):
    """Fails in training alone."""

    def forward(self, x):
        return super().forward(x if not self.training else x[:, 0])


def test_a_network_that_fails_in_training_alone_is_refused_before_it(data, own, monkeypatch):
    monkeypatch.setattr(importlib.import_module("math"), "Net", Untrainable, raising=False)
    with pytest.raises(UsageError, match="the network fails when it trains"):
        Algorithm.model_validate({"name": "module", "module": "math:Net"}).prepare(data)


@pytest.mark.parametrize("net", [Branching, Dropping, Forgetting])
def test_networks_that_cannot_be_fused_are_trained_one_by_one(net, data, group_of, own, capsys, monkeypatch):
    monkeypatch.setattr(importlib.import_module("math"), "Net", net, raising=False)
    train = Algorithm.model_validate({"name": "module", "module": "math:Net", "epochs": 2, "batch": 10}).prepare(data)
    said = capsys.readouterr().err
    assert said.startswith("this network cannot be fused") == (net is Branching)
    assert said.count("\n") == int(net is Branching)
    group = group_of(3)
    together = train(group)
    assert np.array_equal(train(group.take(np.array([2, 0]))).test, together.test[[2, 0]])


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"module": "math:pi"}, "'math:pi' is a float, not callable"),
        ({"module": "builtins:dict"}, "builtins:dict returned a dict; needed is a torch.nn.Module"),
        ({"module": "torch.nn:Flatten"}, "the network has no parameters to train"),
        ({"module": "torchvision.models:squeezenet1_0", "parameters": {"num_classes": 2}}, "does not take images"),
        (
            {"module": "torchvision.models:shufflenet_v2_x0_5", "parameters": {"num_classes": 3}},
            r"the network returns \(2, 3\) for two images; needed are logits \(2, 2\)",
        ),
        ({"module": "torch.nn:Linear", "parameters": {"in_features": 3, "out_features": 2}}, "does not take images"),
        ({"module": "torch.nn:Linear"}, "missing 2 required positional arguments"),
    ],
)
def test_what_is_no_network_for_these_images_is_refused_in_one_line(data, options, wanted):
    with pytest.raises(UsageError, match=f"{wanted}") as error:
        Algorithm.model_validate({"name": "module", **options}).prepare(data)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["resnet9", "resnet9-fast"])
def test_images_that_are_too_small_are_refused(name):
    with pytest.raises(UsageError, match=f"^algorithm {name}: {name} needs images of at least 1. pixels a side, these have 8"):
        Algorithm.model_validate({"name": name}).prepare(datasets.load(Dataset(n_train=60, n_test=20)))


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"name": "small-cnn", "cutout": 9}, "algorithm small-cnn: cutout = 9 is more than the 8 pixels of an image's side"),
        ({"name": "small-cnn", "translate": 8}, "algorithm small-cnn: translate = 8 shifts images of 8 pixels out of sight"),
    ],
)
def test_squares_and_shifts_that_leave_nothing_of_an_image_are_refused(options, wanted):
    with pytest.raises(UsageError, match=f"^{wanted}"):
        Algorithm.model_validate(options).prepare(datasets.load(Dataset(n_train=60, n_test=20)))


def test_a_rate_that_ends_before_its_peak_is_refused():
    with pytest.raises(ValueError, match=r"warmup = 0\.4 must be less than frozen_after = 0\.375"):
        Algorithm.model_validate({"name": "resnet9-fast", "warmup": 0.4})


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), MemoryError()])
def test_out_of_memory_halves_the_models_at_once_says_so_and_goes_on(recipes, data, group_of, capsys, monkeypatch, error):
    train, group, real = prepare("small-cnn", recipes["small-cnn"], data, Plan(fused=8)), group_of(3), lane.Lane.load

    def load(self, part):
        if part.n_models > 2:
            raise error
        real(self, part)

    monkeypatch.setattr(lane.Lane, "load", load)
    found = train(group)
    said = capsys.readouterr().err.splitlines()
    assert [line.split(" (")[0] for line in said] == [
        "out of memory with 8 models at once: going on with 4",
        "out of memory with 4 models at once: going on with 2",
    ]
    monkeypatch.undo()
    assert np.array_equal(found.test, prepare("small-cnn", recipes["small-cnn"], data, Plan(fused=2))(group).test)


def test_out_of_memory_with_one_model_ends_in_one_line(recipes, data, group_of, monkeypatch):
    def load(self, part):
        raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate")

    monkeypatch.setattr(lane.Lane, "load", load)
    with pytest.raises(LakeError, match=r"^out of memory with one model at a time .*: use a smaller batch") as error:
        prepare("small-cnn", recipes["small-cnn"], data, Plan(lanes=2))(group_of(1))
    assert "\n" not in str(error.value)


def test_a_step_that_cannot_be_compiled_is_run_as_it_is(recipes, data, group_of, capsys, monkeypatch):
    def refuse(*inputs):
        raise RuntimeError("no C++ compiler\nwas found")

    monkeypatch.setattr(torch, "compile", lambda call, **options: refuse)
    found = prepare("small-cnn", recipes["small-cnn"], data, Plan(fused=2, compiled=True))(group_of(2))
    said = capsys.readouterr().err
    assert said == "the step cannot be compiled here, going on without (no C++ compiler was found)\n"
    assert np.array_equal(found.test, prepare("small-cnn", recipes["small-cnn"], data, Plan(fused=2))(group_of(2)).test)


def test_another_error_is_not_taken_for_a_lack_of_memory(recipes, data, group_of, monkeypatch):
    monkeypatch.setattr(lane.Lane, "load", lambda self, part: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        prepare("small-cnn", recipes["small-cnn"], data, Plan())(group_of(1))


def test_what_fuses_is_tried_once(recipes, data):
    setting = trainer.prepared(resnet9.experiment(recipes["resnet9"], 3, 2), recipes["resnet9"], data)
    assert trainer._fuses(setting)
    assert Algorithm.model_validate({"name": "resnet9"}).options.width == 64


@pytest.mark.row("R16")
@pytest.mark.parametrize("value", [float("nan"), float("inf")], ids=str)
@pytest.mark.parametrize("epoch", [0, 1, 2], ids=["first", "middle", "last"])
def test_weights_that_overflow_in_any_epoch_spoil_one_of_the_fused_models(recipes, data, group_of, monkeypatch, epoch, value):
    """One of four models in one step; it is tried again alone, and the others keep every bit."""
    train, group = prepare("small-cnn", recipes["small-cnn"], data, Plan(fused=4)), group_of(4)
    whole, calm, _ = margins.train_group(train, group, data)
    load, step, tried = lane.Lane.load, lane.Lane._step, []

    def loaded(self, part):
        self.bad = torch.tensor(part.order_ids == group.order_ids[2])
        tried.append(bool(self.bad.any()))
        load(self, part)

    def stepped(self):
        step(self)
        if self.steps - self.left == 1 + epoch * self.steps // 3:
            with torch.no_grad():
                self.models.weights[self.bad[self.models.owner]] = value

    monkeypatch.setattr(lane.Lane, "load", loaded)
    monkeypatch.setattr(lane.Lane, "_step", stepped)
    found, status, reason = margins.train_group(train, group, data)
    assert (calm.tolist(), status.tolist(), reason) == (["ok"] * 4, ["ok", "ok", "diverged", "ok"], "")
    assert np.array_equal(found.test[[0, 1, 3]], whole.test[[0, 1, 3]])
    assert not np.isfinite(found.test[2]).all()
    assert tried == [True] * (1 + margins.RETRIES)
