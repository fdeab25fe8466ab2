"""PatchNet: small networks trained many at once on a CPU, one model a SIMD lane.

The first layer sees square patches of the image, every further hidden layer joins 2 x 2 neighbours without overlap, and a
linear layer reads out the classes. With positions kept in nested 2 x 2 block order, every layer is one matrix product of a
reshaped array: no convolution is left. No hidden layer gives multinomial logistic regression; a patch of the whole image
gives a multi-layer perceptron. SGD with Nesterov momentum, label smoothing, linear warm-up then linear decay.

A model is a pure function of (seed, init_id, order_id, role, mask): its result is equal by bit alone or in any group.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from builders import counter
from builders.training.interface import Data, Group, Logits, Trainer, standardised
from builders.training.patchnet_kernel import descend, predict
from builders.training.registry import PatchNet as Recipe
from builders.training.simd import LANES, aligned


@dataclass(frozen=True)
class Network:
    """Shapes of a PatchNet: layer i maps rows[i] positions an example from fans[i] inputs to widths[i] outputs."""

    side: int
    rows: tuple[int, ...]
    fans: tuple[int, ...]
    widths: tuple[int, ...]

    @property
    def n_weights(self) -> int:
        """Parameters of one model: each layer's matrix [fan, width], then its bias [width]."""
        return sum((f + 1) * w for f, w in zip(self.fans, self.widths, strict=True))

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one example forward; training costs three times this, less the first input gradient."""
        return sum(r * f * w for r, f, w in zip(self.rows, self.fans, self.widths, strict=True))


def network(recipe: Recipe, image_side: int, channels: int, n_classes: int) -> Network:
    """Shapes for square images; ValueError when the patches do not tile the image or a layer has no 2 x 2 blocks left."""
    span = image_side + 2 * recipe.padding - recipe.patch
    if span < 0 or span % recipe.stride:
        raise ValueError(
            f"patch {recipe.patch}, stride {recipe.stride}, padding {recipe.padding} do not tile {image_side} pixels: "
            f"(side + 2 padding - patch) must be a multiple of stride"
        )
    side, hidden = span // recipe.stride + 1, len(recipe.widths)
    if hidden and side % 2 ** (hidden - 1):
        raise ValueError(
            f"{hidden} hidden layers halve a {side} x {side} grid {hidden - 1} times: choose a stride that gives a multiple"
        )
    rows = [side * side // 4**i for i in range(hidden)]
    fans = [channels * recipe.patch**2] + [4 * w for w in recipe.widths[:-1]] if hidden else []
    read = rows[-1] * recipe.widths[-1] if hidden else side * side * channels * recipe.patch**2
    return Network(side, (*rows, 1), (*fans, read), (*recipe.widths, n_classes))


def patches(images: NDArray[np.float32], recipe: Recipe, net: Network) -> NDArray[np.float32]:
    """First-layer inputs [n, rows[0] * fans[0]] of standardised images [n, side, side, channels], blocks in nested order."""
    pad = recipe.padding
    padded = np.pad(images, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (recipe.patch, recipe.patch), (1, 2))
    grid = windows[:, :: recipe.stride, :: recipe.stride]  # [n, side, side, channels, patch, patch]
    flat = grid.reshape(len(images), net.side**2, -1)
    return np.ascontiguousarray(flat[:, _block_order(net.side, max(len(net.widths) - 2, 0))]).reshape(len(images), -1)


def prepare(recipe: Recipe, data: Data) -> Trainer:
    """A trainer of PatchNets on `data`; ValueError when the recipe does not fit its images."""
    side, _, channels = data.train_images.shape[1:]
    net = network(recipe, side, channels, data.n_classes)
    tables = [patches(images, recipe, net) for images in standardised(data)]
    layers = np.array([net.rows, net.fans, net.widths], np.int64)
    acts = aligned(_activations(net, recipe.batch))

    def train(group: Group) -> Logits:
        logits = [np.empty((-(-group.n_models // LANES) * LANES, len(t), data.n_classes), np.float32) for t in tables]
        for first in range(0, group.n_models, LANES):
            part = group.take(np.minimum(np.arange(first, first + LANES), group.n_models - 1))
            weights = trained(recipe, net, tables[0], data.train_labels, part)
            for table, out in zip(tables, logits, strict=True):
                predict(table, layers, weights, recipe.batch, acts, out[first : first + LANES])
        return Logits(*(out[: group.n_models] for out in logits))

    return train


def trained(
    recipe: Recipe, net: Network, table: NDArray[np.float32], labels: NDArray[np.int64], group: Group
) -> NDArray[np.float32]:
    """Weights [n_weights * LANES] of a group of LANES models after training on first-layer inputs `table` [n, ...]."""
    layers = np.array([net.rows, net.fans, net.widths], np.int64)
    scratch = [aligned(_activations(net, recipe.batch)) for _ in range(2)] + [aligned(net.n_weights) for _ in range(2)]
    weights = initial_weights(net, group)
    stream, classes = orders(recipe, group), labels.astype(np.int32)
    descend(table, classes, layers, *stream, weights, recipe.batch, *_constants(recipe), *scratch)
    return weights


def initial_weights(net: Network, group: Group) -> NDArray[np.float32]:
    """Weights [n_weights * LANES]: uniform with He's variance (2015), by (seed, init_id, layer, position); biases 0."""
    weights, at = aligned(net.n_weights), 0
    lanes = weights.reshape(-1, LANES)
    for layer, (fan, width) in enumerate(zip(net.fans, net.widths, strict=True)):
        u = counter.uniform(counter.words(group.seed, "init", group.init_ids[None], layer, np.arange(fan * width)[:, None]))
        lanes[at : at + fan * width] = (2 * u - 1) * np.sqrt(6 / fan)
        at += (fan + 1) * width
    return weights


def orders(recipe: Recipe, group: Group) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Which examples each model sees and at which rate: [LANES, n_steps * batch] int32 and [n_steps, LANES] float32.

    A model visits its own subset epoch by epoch in the order of a word of (seed, role, order_id, epoch, example), so taking
    an example away leaves the order of the rest alone. Each takes as many steps as its own subset asks for; in a group with
    larger subsets it then waits at rate 0.
    """
    sizes = group.masks.sum(1)
    steps = np.maximum(recipe.epochs * sizes // recipe.batch, 1)
    order = np.zeros((group.n_models, steps.max() * recipe.batch), np.int32)
    rates = np.zeros((steps.max(), group.n_models), np.float32)
    for k in range(group.n_models):
        members = np.flatnonzero(group.masks[k])
        word = counter.words(
            group.seed, f"order/{group.role}", group.order_ids[k], np.arange(recipe.epochs)[:, None], members[None]
        )
        stream = members[np.argsort(word, axis=1)].ravel()
        order[k, : steps[k] * recipe.batch] = np.resize(stream, steps[k] * recipe.batch)
        rates[: steps[k], k] = schedule(recipe, steps[k])
    return order, rates


def schedule(recipe: Recipe, n_steps: int) -> NDArray[np.float64]:
    """Learning rate of each step [n_steps]: from 0 up to the peak over the warm-up, then down towards 0."""
    progress = np.arange(1, n_steps + 1) / (n_steps + 1)
    rise = progress / recipe.warmup if recipe.warmup else np.ones(n_steps)
    return recipe.learning_rate * np.minimum(rise, (1 - progress) / (1 - recipe.warmup))


def _constants(recipe: Recipe) -> tuple[np.float32, np.float32, np.float32]:
    return np.float32(recipe.momentum), np.float32(recipe.weight_decay), np.float32(recipe.label_smoothing)


def _activations(net: Network, batch: int) -> int:
    """Vectors that hold the inputs and outputs of all layers for one batch."""
    return batch * (net.rows[0] * net.fans[0] + sum(r * w for r, w in zip(net.rows, net.widths, strict=True)))


def _block_order(side: int, levels: int) -> NDArray[np.int64]:
    """Positions of a side x side grid such that `levels` times four consecutive ones form a 2 x 2 block."""
    grid = np.arange(side * side).reshape(side, side)
    for _ in range(levels):
        half = grid.shape[0] // 2
        blocks = grid.reshape(half, 2, half, 2, *grid.shape[2:])
        grid = np.moveaxis(blocks, 2, 1)
        grid = grid.reshape(half, half, -1)
    return grid.ravel()
