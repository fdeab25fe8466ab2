"""The quickest recipe for CIFAR-10 that we know of, after airbench94 (Jordan, arXiv 2404.00498) and its Muon variant.

A fixed first layer whitens 2 x 2 patches, three blocks of two convolutions follow, started as identities where channels allow
it. Muon updates the filters, Nesterov SGD the biases and the last layer; the whitening bias is frozen early. Images are flipped
by a coin in the first epoch and then in turn, and shifted with reflected borders. Test logits are means over six views.

Its source trains on the whole data set, 8 epochs of 2,000 images a step. Here the step is half as large and there are 5 epochs,
which on halves is as accurate as the paper's own recipe (DECISIONS.md has the table).
"""

import numpy as np
import torch
from torch import Tensor, nn

from builders.training.gradient.images import scale
from builders.training.gradient.models import Experiment
from builders.training.gradient.rules import Rule
from builders.training.gradient.trainer import Plan, trainer
from builders.training.interface import Data, Trainer
from builders.training.recipes import ResNet9Fast

WHITENED = 5_000
"""Training images, the first ones of the whole set, whose patches the first layer whitens."""


def prepare(options: ResNet9Fast, data: Data, plan: Plan | None = None) -> Trainer:
    """A trainer of the fast network; ValueError for images of less than 16 pixels a side."""
    if data.train_images.shape[1] < 16:
        raise ValueError(f"resnet9-fast needs images of at least 16 pixels a side, these have {data.train_images.shape[1]}")
    return trainer(experiment(options, data), options, data, reflect=True, plan=plan)


def experiment(options: ResNet9Fast, data: Data) -> Experiment:
    """Network and update rules; the loss is a batch's sum, as the learning rates expect."""
    filters = whitening(data, options)
    small = {"momentum": options.head_momentum, "nesterov": True, "warmup": options.warmup}
    decay = options.weight_decay * options.batch
    rules = (
        Rule(r"whiten\.bias", options.bias_rate, weight_decay=decay / options.bias_rate, until=options.frozen_after, **small),
        Rule(r".*norm\d\.bias", options.bias_rate, weight_decay=decay / options.bias_rate, **small),
        Rule(r"head\.weight", options.head_rate, weight_decay=decay / options.head_rate, **small),
        Rule(r".*", options.learning_rate, options.momentum, options.nesterov, warmup=options.warmup, muon=True),
    )

    def make() -> nn.Module:
        return _Network(filters, options.widths, data.n_classes)

    return Experiment(make, rules, options.label_smoothing, summed=True)


def whitening(data: Data, options: ResNet9Fast, smallest: float = 5e-4) -> Tensor:
    """Filters [2 x channels x 4, channels, 2, 2] whose outputs on patches are uncorrelated, each beside its negative."""
    mean, sd = scale(data, options.pixel_mean, options.pixel_sd)
    pixels = (data.train_images[:WHITENED] - mean) / sd
    channels = pixels.shape[3]
    views = np.lib.stride_tricks.sliding_window_view(pixels, (2, 2), (1, 2))
    patches = views.reshape(-1, channels * 4)
    values, vectors = np.linalg.eigh(patches.T @ patches / len(patches))
    rows = (vectors / np.sqrt(values + smallest)).T.reshape(-1, channels, 2, 2)
    return torch.tensor(np.concatenate([rows, -rows]), dtype=torch.float32)


class _Network(nn.Module):
    def __init__(self, filters: Tensor, widths: tuple[int, int, int], n_classes: int) -> None:
        super().__init__()
        self.whiten = nn.Conv2d(filters.shape[1], len(filters), 2)
        self.whiten.weight = nn.Parameter(filters.clone(), requires_grad=False)
        into = (len(filters), *widths[:2])
        self.blocks = nn.Sequential(*(_Block(a, b) for a, b in zip(into, widths, strict=True)))
        self.head = nn.Linear(widths[2], n_classes, bias=False)
        self.head.weight.data /= self.head.weight.data.std()

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(nn.functional.gelu(self.whiten(x))).flatten(2).max(2).values
        return self.head(x) / x.shape[-1]


class _Block(nn.Module):
    def __init__(self, into: int, out: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = _convolution(into, out), _convolution(out, out)
        self.norm1, self.norm2 = _normalisation(out), _normalisation(out)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.gelu(self.norm1(nn.functional.max_pool2d(self.conv1(x), 2)))
        return nn.functional.gelu(self.norm2(self.conv2(x)))


def _convolution(into: int, out: int) -> nn.Conv2d:
    """3 x 3 filters, the first of which hand their channel on as it is."""
    made = nn.Conv2d(into, out, 3, padding=1, bias=False)
    nn.init.dirac_(made.weight.data[: min(into, out)])
    return made


def _normalisation(channels: int) -> nn.BatchNorm2d:
    """Batch normalisation that forgets quickly and does not scale."""
    made = nn.BatchNorm2d(channels, eps=1e-12, momentum=0.4)
    made.weight.requires_grad = False
    return made
