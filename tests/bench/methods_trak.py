"""TRAK (Park et al., arXiv 2303.14186) of the digits study, by its authors' package on twins of our networks.

The networks are ours, trained on everything by the study's recipe; a twin is the same network in PyTorch, equal in its logits,
since TRAK needs gradients by torch.func. One checkpoint is one training.
"""

import logging
import tempfile

import numpy as np
import torch
from torch import Tensor, nn
from trak import TRAKer
from trak.projectors import BasicProjector, ProjectionType

from builders import datasets
from builders.orders import base_init
from builders.study import Study
from builders.training import patchnet
from builders.training.interface import Group, standardised
from builders.training.simd import LANES

PROJECTED = 1_024
DAMPING = 20.0  # LDS of two checkpoints: .43 at 0.2, .63 at 5, .66 at 20, .61 at 80
BATCH = 100


class Twin(nn.Module):
    """A PatchNet: each hidden layer is one matrix for all positions, four of which the next joins."""

    def __init__(self, net: patchnet.Network) -> None:
        super().__init__()
        self.fans = net.fans
        self.layers = nn.ModuleList(nn.Linear(f, w) for f, w in zip(net.fans, net.widths, strict=True))

    def forward(self, rows: Tensor) -> Tensor:
        """Logits [n, n_classes] of first-layer inputs [n, positions * fan]."""
        for fan, layer in zip(self.fans[:-1], self.layers[:-1], strict=True):
            rows = torch.relu(layer(rows.reshape(len(rows), -1, fan)))
        return self.layers[-1](rows.reshape(len(rows), -1))


def state_of(net: patchnet.Network, weights: np.ndarray) -> dict[str, Tensor]:
    """State of a twin from the weights [n_weights] of one of our models."""
    state, at = {}, 0
    for i, (fan, width) in enumerate(zip(net.fans, net.widths, strict=True)):
        matrix, bias = np.split(weights[at : at + (fan + 1) * width], [fan * width])
        state |= {
            f"layers.{i}.weight": torch.tensor(matrix.reshape(fan, width).T.copy()),
            f"layers.{i}.bias": torch.tensor(bias),
        }
        at += (fan + 1) * width
    return state


def twins(study: Study, n: int) -> tuple[patchnet.Network, list[dict[str, Tensor]], list[np.ndarray]]:
    """The network, states of `n` models trained on everything, and first-layer inputs of training and test images."""
    data, recipe = datasets.load(study.dataset), study.algorithm.options
    net = patchnet.network(recipe, data.train_images.shape[1], data.train_images.shape[3], data.n_classes)
    tables = [patchnet.patches(images, recipe, net) for images in standardised(data)]
    ids = np.arange(-(-n // LANES) * LANES)
    group = Group(study.seed, "removal", np.ones((len(ids), len(data.train_labels)), bool), base_init(study) + ids, ids)
    states = []
    for first in range(0, len(ids), LANES):
        part = group.take(np.arange(first, first + LANES))
        weights = patchnet.trained(recipe, net, tables[0], data.train_labels, part).reshape(-1, LANES)
        states += [state_of(net, column) for column in weights.T]
    return net, states[:n], tables


def trak(study: Study, n: int) -> np.ndarray:
    """Scores [n_targets, n_train] of the test targets by TRAK on `n` checkpoints; positive raises the margin."""
    data, (net, states, tables) = datasets.load(study.dataset), twins(study, n)
    model = Twin(net).eval()
    size = sum(p.numel() for p in model.parameters())
    projector = BasicProjector(size, PROJECTED, 0, ProjectionType.rademacher, "cpu", block_size=PROJECTED, dtype=torch.float32)
    sides = [(torch.tensor(t), torch.tensor(y)) for t, y in zip(tables, (data.train_labels, data.test_labels), strict=True)]
    with tempfile.TemporaryDirectory(prefix="bench-trak-") as folder:
        options = {
            "save_dir": folder,
            "device": "cpu",
            "use_half_precision": False,
            "proj_dim": PROJECTED,
            "lambda_reg": DAMPING,
        }
        options |= {"projector": projector, "logging_level": logging.WARNING}
        traker = TRAKer(model, "image_classification", len(data.train_labels), **options)
        for i, state in enumerate(states):
            traker.load_checkpoint(state, model_id=i)
            for batch in _batches(sides[0]):
                traker.featurize(batch=batch, num_samples=len(batch[0]))
        traker.finalize_features()
        for i, state in enumerate(states):
            traker.start_scoring_checkpoint("test", state, model_id=i, num_targets=len(data.test_labels))
            for batch in _batches(sides[1]):
                traker.score(batch=batch, num_samples=len(batch[0]))
        return np.array(traker.finalize_scores("test"), np.float32).T.copy()


def _batches(side: tuple[Tensor, Tensor]) -> list[tuple[Tensor, Tensor]]:
    return list(zip(*(part.split(BATCH) for part in side), strict=True))
