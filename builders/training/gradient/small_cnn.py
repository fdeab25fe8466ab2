"""A small convolutional network for CPUs: 3 x 3 convolutions with batch normalisation, 2 x 2 maxima between them."""

from torch import Tensor, nn

from builders.training.gradient.models import Experiment
from builders.training.gradient.module import rule
from builders.training.gradient.trainer import Plan, trainer
from builders.training.interface import Data, Trainer
from builders.training.recipes import SmallCNN


def prepare(options: SmallCNN, data: Data, plan: Plan | None = None) -> Trainer:
    """A trainer of small networks; ValueError when the images are too small for so many layers."""
    if data.train_images.shape[1] >> (len(options.widths) - 1) == 0:
        raise ValueError(f"{len(options.widths)} layers halve images of {data.train_images.shape[1]} pixels to nothing")
    channels, n_classes = data.train_images.shape[3], data.n_classes
    made = Experiment(lambda: network(options.widths, channels, n_classes), (rule(options),), options.label_smoothing)
    return trainer(made, options, data, plan=plan)


def network(widths: tuple[int, ...], channels: int, n_classes: int) -> nn.Module:
    """The network on images [n, channels, side, side], logits [n, n_classes]."""
    layers: list[nn.Module] = []
    for into, out in zip((channels, *widths), widths, strict=False):
        layers += [nn.MaxPool2d(2)] if layers else []
        layers += [nn.Conv2d(into, out, 3, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU()]
    return nn.Sequential(*layers, _Mean(), nn.Linear(widths[-1], n_classes))


class _Mean(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))
