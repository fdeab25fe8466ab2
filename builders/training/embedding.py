"""Where a trained network sees two images as alike: activations of the last hidden layer, by which nearest neighbours go.

An algorithm that shows no hidden layer gives its logits instead: the only space that every classifier has.
"""

import numpy as np
from numpy.typing import NDArray

from builders.training.interface import Data, Group, standardised
from builders.training.registry import Algorithm, PatchNet


def embed(algorithm: Algorithm, data: Data, group: Group) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Train the models of `group`; what each makes of training and test images [n_models, n, width], two arrays."""
    if isinstance(algorithm.options, PatchNet):
        return _penultimate(algorithm.options, data, group)
    logits = algorithm.prepare(data)(group)
    return logits.train, logits.test


def _penultimate(recipe: PatchNet, data: Data, group: Group) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    from builders.training import patchnet
    from builders.training.simd import LANES

    net = patchnet.network(recipe, data.train_images.shape[1], data.train_images.shape[3], data.n_classes)
    tables = [patchnet.patches(images, recipe, net) for images in standardised(data)]
    found = []
    for first in range(0, group.n_models, LANES):
        part = group.take(np.minimum(np.arange(first, first + LANES), group.n_models - 1))
        weights = patchnet.trained(recipe, net, tables[0], data.train_labels, part).reshape(-1, LANES)
        found += [[_hidden(net.fans, net.widths, w, table) for table in tables] for w in weights.T]
    train, test = zip(*found[: group.n_models], strict=True)
    return np.stack(train), np.stack(test)


def _hidden(
    fans: tuple[int, ...], widths: tuple[int, ...], weights: NDArray[np.float32], rows: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Inputs [n, width] of a network's last layer for first-layer inputs [n, ...]; the images' own without a hidden layer."""
    n, at = len(rows), 0
    for fan, width in zip(fans[:-1], widths[:-1], strict=True):
        matrix, bias = weights[at : at + fan * width].reshape(fan, width), weights[at + fan * width : at + (fan + 1) * width]
        rows = np.maximum(rows.reshape(-1, fan) @ matrix + bias, 0)
        at += (fan + 1) * width
    return rows.reshape(n, -1)
