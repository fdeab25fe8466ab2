"""PatchNets: gradients against PyTorch, bits against grouping, randomness keyed by example, and what they learn."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from builders import counter, datasets, study
from builders.training import patchnet
from builders.training.interface import Data, Group, standardised
from builders.training.patchnet_kernel import descend
from builders.training.registry import PatchNet
from builders.training.simd import LANES, aligned, exp, product

RECIPE = PatchNet(widths=(8, 16), epochs=3)


@pytest.fixture(scope="module")
def data() -> Data:
    return datasets.load(study.load("tiny").dataset)


def group(ids: list[int], n_train: int = 200, size: int = 100, drop: tuple[int, ...] = ()) -> Group:
    ids = np.array(ids)
    word = counter.words(3, "mask/fit", ids[:, None], np.arange(n_train)[None])
    masks = word <= np.sort(word, 1)[:, size - 1 : size]
    masks[:, list(drop)] = False
    return Group(3, "fit", masks, ids % 8, ids)


@pytest.mark.parametrize(("m", "n", "depth"), [(1, 1, 1), (4, 2, 8), (5, 3, 7), (25, 10, 128), (16, 16, 400)])
@pytest.mark.parametrize("add", [False, True])
def test_product_is_a_matrix_product_in_every_lane(m, n, depth, add):
    rng = np.random.default_rng(m * n)
    a, b, c = (aligned(size) for size in (m * depth, depth * n, m * n))
    for array in (a, b, c):
        array[:] = rng.normal(size=array.size)
    expected = np.einsum("mkq,knq->mnq", a.reshape(m, depth, LANES), b.reshape(depth, n, LANES)) + add * c.reshape(m, n, LANES)
    product(a, 0, depth * LANES, LANES, b, 0, n * LANES, LANES, c, 0, n * LANES, LANES, m, n, depth, add)
    assert np.allclose(c.reshape(m, n, LANES), expected, rtol=1e-4, atol=1e-4)


def test_product_reads_transposed_operands_by_their_strides():
    m, n, depth = 6, 4, 9
    rng = np.random.default_rng(0)
    a, b, c = aligned(m * depth), aligned(depth * n), aligned(m * n)
    a[:], b[:] = rng.normal(size=a.size), rng.normal(size=b.size)
    product(a, 0, LANES, m * LANES, b, 0, LANES, depth * LANES, c, 0, n * LANES, LANES, m, n, depth, False)
    expected = np.einsum("kmq,nkq->mnq", a.reshape(depth, m, LANES), b.reshape(n, depth, LANES))
    assert np.allclose(c.reshape(m, n, LANES), expected, rtol=1e-4, atol=1e-4)


def test_exp_is_within_two_units_in_the_last_place():
    x = np.linspace(-86, 0, 20_001, dtype=np.float32)
    got = np.array([exp(v) for v in x], np.float32)
    true = np.exp(x.astype(np.float64))
    assert np.max(np.abs(got - true) / np.spacing(true.astype(np.float32))) <= 2
    assert np.isnan(exp(np.float32(np.nan)))


@pytest.mark.parametrize("recipe", [PatchNet(), PatchNet(widths=()), PatchNet(widths=(5,), patch=8, padding=0, stride=1)])
def test_one_step_is_what_pytorch_does(data, recipe):
    """A reference in torch: the same patches, loss, momentum and weight decay, by autograd, two steps long."""
    recipe = recipe.model_copy(update={"epochs": 1, "batch": 50})
    part = group([0, 1], size=100)
    net = patchnet.network(recipe, 8, 1, 10)
    table = patchnet.patches(standardised(data)[0], recipe, net)
    order, rates = patchnet.orders(recipe, part)
    logits = patchnet.prepare(recipe, data)(part)
    for k in range(2):
        weights = patchnet.initial_weights(net, group([0, 1] * 4)).reshape(-1, LANES)[:, k]
        trained = _torch_sgd(recipe, net, weights, table, data.train_labels, order[k], rates[:, k])
        expected = _torch_forward(net, trained, torch.tensor(table)).detach().numpy()
        assert np.allclose(logits.train[k], expected, atol=2e-4)


def _torch_forward(net: patchnet.Network, weights: list[torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    h = x
    for i, (rows, fan) in enumerate(zip(net.rows, net.fans, strict=True)):
        h = h.reshape(len(x) * rows, fan) @ weights[2 * i] + weights[2 * i + 1]
        h = h.relu() if i + 1 < len(net.rows) else h
    return h.reshape(len(x), -1)


def _torch_sgd(recipe, net, flat, table, labels, order, rates) -> list[torch.Tensor]:
    weights, at = [], 0
    for fan, width in zip(net.fans, net.widths, strict=True):
        weights += [
            torch.tensor(flat[at : at + fan * width].reshape(fan, width)),
            torch.tensor(flat[at + fan * width :][:width]),
        ]
        at += (fan + 1) * width
    weights = [w.clone().requires_grad_() for w in weights]
    optimiser = torch.optim.SGD(weights, lr=1, momentum=recipe.momentum, nesterov=True, weight_decay=recipe.weight_decay)
    for step, rate in enumerate(rates):
        rows = order[step * recipe.batch : (step + 1) * recipe.batch]
        optimiser.param_groups[0]["lr"] = float(rate)
        optimiser.zero_grad()
        logits = _torch_forward(net, weights, torch.tensor(table[rows]))
        F.cross_entropy(logits, torch.tensor(labels[rows]), label_smoothing=recipe.label_smoothing).backward()
        optimiser.step()
    return weights


@pytest.mark.parametrize("size", [1, 7, 64])
def test_a_model_has_the_same_bits_in_any_group_and_place(data, size):
    train = patchnet.prepare(RECIPE, data)
    whole = train(group(list(range(64))))
    ids = np.random.default_rng(size).permutation(64)[:size]
    part = train(group(list(ids)))
    assert np.array_equal(part.test, whole.test[ids])
    assert np.array_equal(part.train, whole.train[ids])


@pytest.mark.slow
@pytest.mark.row("R17")
def test_margins_have_the_same_bits_without_this_processors_instructions(data):
    """IEEE arithmetic in a fixed order: a build for a generic processor, fused multiply-add by software, gives equal bits."""
    script = """
import hashlib, numpy as np
from builders import datasets, study
from builders.training import patchnet
from builders.training.interface import Group
from builders.training.registry import PatchNet
data = datasets.load(study.load("tiny").dataset)
masks = np.zeros((2, 200), bool); masks[0, ::2] = True; masks[1, ::3] = True
logits = patchnet.prepare(PatchNet(widths=(4,), patch=8, padding=0, stride=1, epochs=1), data)(Group(1, "fit", masks, np.arange(2), np.arange(2)))
print(hashlib.sha256(logits.test.tobytes() + logits.train.tobytes()).hexdigest())
"""
    cpus = ({}, {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": "+sse2"})
    runs = [_run(script, environment) for environment in cpus]
    assert len(runs[0]) == 64
    assert runs[0] == runs[1]


def _run(script: str, environment: dict[str, str]) -> str:
    import os

    found = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, **environment}, capture_output=True, text=True, check=True
    )
    return found.stdout.strip()


def test_order_and_weights_are_keyed_by_id_not_by_position(data):
    net = patchnet.network(RECIPE, 8, 1, 10)
    a, b = group(list(range(8))), group([40, 41, 42, 3, 44, 45, 46, 47])
    assert np.array_equal(patchnet.orders(RECIPE, a)[0][3], patchnet.orders(RECIPE, b)[0][3])
    weights = [patchnet.initial_weights(net, g).reshape(-1, LANES)[:, 3] for g in (a, b)]
    assert np.array_equal(*weights)
    assert not np.array_equal(weights[0], patchnet.initial_weights(net, a).reshape(-1, LANES)[:, 4])


def test_removing_examples_leaves_the_order_of_the_rest_alone():
    whole, less = group([5]), group([5], drop=(0, 1, 2, 3, 4))
    gone = set(np.flatnonzero(whole.masks[0] & ~less.masks[0]))
    assert gone
    recipe = RECIPE.model_copy(update={"batch": 1})
    before, after = (patchnet.orders(recipe, g)[0][0] for g in (whole, less))
    kept = [i for i in before if i not in gone]
    assert kept == list(after[: len(kept)])


def test_each_model_takes_the_steps_of_its_own_subset(data):
    small, large = group([1], size=50), group([2], size=150)
    both = Group(3, "fit", np.concatenate([small.masks, large.masks]), np.array([1, 2]), np.array([1, 2]))
    train = patchnet.prepare(RECIPE, data)
    assert np.array_equal(train(both).test, np.concatenate([train(small).test, train(large).test]))


def test_a_diverging_model_leaves_its_neighbours_alone(data):
    images = data.train_images.copy()
    train = patchnet.prepare(RECIPE.model_copy(update={"learning_rate": 90.0}), Data(images, *_rest(data)))
    assert not np.isfinite(train(group([0])).test).all()
    weights = patchnet.initial_weights(patchnet.network(RECIPE, 8, 1, 10), group(list(range(8))))
    weights.reshape(-1, LANES)[0, 2] = np.nan
    clean, dirty = (
        _train_from(data, w)
        for w in (patchnet.initial_weights(patchnet.network(RECIPE, 8, 1, 10), group(list(range(8)))), weights)
    )
    others = [k for k in range(8) if k != 2]
    assert np.array_equal(clean[:, others], dirty[:, others])
    assert np.isnan(dirty[:, 2]).any()


def _rest(data: Data) -> tuple:
    return data.train_labels, data.test_images, data.test_labels, data.class_names


def _train_from(data: Data, weights: np.ndarray) -> np.ndarray:
    net, part = patchnet.network(RECIPE, 8, 1, 10), group(list(range(8)))
    table = patchnet.patches(standardised(data)[0], RECIPE, net)
    layers = np.array([net.rows, net.fans, net.widths], np.int64)
    scratch = [aligned(patchnet._activations(net, 25)) for _ in range(2)] + [aligned(net.n_weights) for _ in range(2)]
    constants = patchnet._constants(RECIPE)
    descend(
        table, data.train_labels.astype(np.int32), layers, *patchnet.orders(RECIPE, part), weights, 25, *constants, *scratch
    )
    return weights.reshape(-1, LANES)


def test_schedule_rises_and_falls():
    rates = patchnet.schedule(PatchNet(learning_rate=0.2, warmup=0.25), 99)
    assert rates.argmax() == 24
    assert rates.max() == pytest.approx(0.2)
    assert (np.diff(rates[:25]) > 0).all()
    assert (np.diff(rates[24:]) < 0).all()
    assert rates.min() > 0


def test_shapes_and_counts():
    net = patchnet.network(PatchNet(widths=(24, 48)), 8, 1, 10)
    assert (net.rows, net.fans, net.widths) == ((16, 4, 1), (16, 96, 192), (24, 48, 10))
    assert net.n_weights == 17 * 24 + 97 * 48 + 193 * 10
    assert net.macs == 16 * 16 * 24 + 4 * 96 * 48 + 192 * 10
    with pytest.raises(ValueError, match="multiple of stride"):
        patchnet.network(PatchNet(stride=4), 8, 1, 10)
    with pytest.raises(ValueError, match="halve"):
        patchnet.network(PatchNet(widths=(4, 4, 4, 4)), 8, 1, 10)


def test_patches_are_the_convolution_windows_in_block_order(data):
    recipe = PatchNet(widths=(4, 4))
    net = patchnet.network(recipe, 8, 1, 10)
    images = standardised(data)[0][:3]
    rows = patchnet.patches(images, recipe, net).reshape(3, 16, 16)
    padded = np.pad(images[..., 0], ((0, 0), (1, 1), (1, 1)))
    order = [(2 * r + y, 2 * c + x) for r in range(2) for c in range(2) for y in range(2) for x in range(2)]
    for at, (y, x) in enumerate(order):
        assert np.array_equal(rows[:, at], padded[:, 2 * y : 2 * y + 4, 2 * x : 2 * x + 4].reshape(3, -1))


def test_the_digits_recipe_learns():
    chosen = study.load("digits")
    data = datasets.load(chosen.dataset)
    logits = chosen.algorithm.prepare(data)(group(list(range(16)), n_train=1000, size=500))
    assert (logits.test.argmax(2) == data.test_labels).mean() > 0.96


def test_results_are_pinned(data):
    logits = patchnet.prepare(RECIPE, data)(group(list(range(8))))
    assert hashlib.sha256(logits.test.tobytes()).hexdigest()[:16] == "231ea78ff24f2f37"
