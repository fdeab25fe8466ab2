"""ResNet-9 as in the paper's released code: the network, its 24 epochs, and what it does to images.

Source: github.com/MadryLab/datamodels, examples/cifar10/train_cifar.py (Ilyas et al. 2022); the network goes back to
KakaoBrain's torchskeleton. 2,274,880 parameters. Two differences: the released code averages test logits over an image and
`fliplr` of it, which in its layout flips the channels, here the image is mirrored; and bfloat16 takes float16's place where a
card has it, which needs no loss scale.
"""

from torch import Tensor, nn

from builders.training.gradient.models import Experiment
from builders.training.gradient.module import rule
from builders.training.gradient.trainer import Plan, trainer
from builders.training.interface import Data, Trainer
from builders.training.recipes import ResNet9


def prepare(options: ResNet9, data: Data, plan: Plan | None = None) -> Trainer:
    """A trainer of ResNet-9s; ValueError for images of less than 12 pixels a side."""
    if data.train_images.shape[1] < 12:
        raise ValueError(f"resnet9 needs images of at least 12 pixels a side, these have {data.train_images.shape[1]}")
    return trainer(experiment(options, data.train_images.shape[3], data.n_classes), options, data, plan=plan)


def experiment(options: ResNet9, channels: int, n_classes: int) -> Experiment:
    """Network and update rule: SGD with momentum and weight decay on every parameter."""
    return Experiment(lambda: network(options.width, channels, n_classes), (rule(options),), options.label_smoothing)


def network(width: int, channels: int, n_classes: int) -> nn.Module:
    """ResNet-9 on images [n, channels, side, side], logits [n, n_classes]."""
    return nn.Sequential(
        _convolution(channels, width),
        _convolution(width, 2 * width, kernel=5, stride=2),
        _Residual(nn.Sequential(_convolution(2 * width, 2 * width), _convolution(2 * width, 2 * width))),
        _convolution(2 * width, 4 * width),
        nn.MaxPool2d(2),
        _Residual(nn.Sequential(_convolution(4 * width, 4 * width), _convolution(4 * width, 4 * width))),
        _convolution(4 * width, 2 * width, padding=0),
        _Head(2 * width, n_classes, 0.2),
    )


def _convolution(into: int, out: int, kernel: int = 3, stride: int = 1, padding: int | None = None) -> nn.Module:
    padding = kernel // 2 if padding is None else padding
    return nn.Sequential(nn.Conv2d(into, out, kernel, stride, padding, bias=False), nn.BatchNorm2d(out), nn.ReLU(inplace=True))


class _Residual(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(x)


class _Head(nn.Module):
    """The largest activation of each channel, then a linear layer without bias, scaled."""

    def __init__(self, width: int, n_classes: int, scale: float) -> None:
        super().__init__()
        self.linear, self.scale = nn.Linear(width, n_classes, bias=False), scale

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.flatten(2).max(2).values) * self.scale
