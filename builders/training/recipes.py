"""Options of the networks that PyTorch trains by gradient descent (builders/training/gradient): plain values, checked when a
study is read, without importing torch.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Options(BaseModel):
    """Options of one algorithm: plain values, all of which enter the fingerprint."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Recipe(Options):
    """What networks trained by gradient descent in PyTorch share (builders/training/gradient): on CUDA when there is one."""

    epochs: int = Field(16, ge=1, le=1_000)
    """Passes over the model's own subset."""
    batch: int = Field(64, ge=1, le=65_536)
    """Examples a step; what is left of a subset after whole batches waits for the next epoch."""
    learning_rate: float = Field(0.1, gt=0, lt=100)
    """Peak of the schedule: a triangle from 0 to the peak and down to 0."""
    warmup: float = Field(0.2, ge=0, lt=1)
    """Share of the steps until the peak."""
    momentum: float = Field(0.9, ge=0, lt=1)
    """Momentum of the updates."""
    nesterov: bool = True
    """Whether the momentum looks ahead."""
    weight_decay: float = Field(5e-4, ge=0, lt=1)
    """L2 penalty on every parameter."""
    label_smoothing: float = Field(0.1, ge=0, lt=1)
    """Share of the target spread evenly over the classes."""
    flip: Literal["none", "random", "alternate"] = "none"
    """Mirror images left to right: by a coin each epoch, or by a coin once and then every second epoch."""
    translate: int = Field(0, ge=0, le=64)
    """Shift images by up to so many pixels."""
    cutout: int = Field(0, ge=0, le=64)
    """Side of a square that is blanked out, pixels."""
    views: Literal[1, 2, 6] = 1
    """Views of a test image whose logits are averaged: itself, its mirror image too, and both shifted by a pixel as well."""
    pixel_mean: tuple[float, ...] = ()
    """Mean of each channel, 0 to 255; that of all training pixels when left out."""
    pixel_sd: tuple[float, ...] = ()
    """Standard deviation of each channel; likewise."""


class Module(Recipe):
    """Any nn.Module of yours or of a library (builders/training/gradient/module.py)."""

    module: str = Field("torchvision.models:resnet18", pattern=r"^[\w.]+:\w+$")
    """`module:object` that makes the network: images [n, channels, side, side] to logits."""
    parameters: dict[str, str | int | float | bool] = Field({})
    """Keyword arguments of that object."""


class SmallCNN(Recipe):
    """Three convolutions for CPUs (builders/training/gradient/small_cnn.py)."""

    widths: tuple[int, ...] = Field((16, 32, 64), min_length=1, max_length=6)
    """Channels of each 3 x 3 convolution; all but the last are followed by a 2 x 2 maximum."""


class ResNet9(Recipe):
    """The network and recipe of the paper's released code (builders/training/gradient/resnet9.py)."""

    width: int = Field(64, ge=1, le=1_024)
    """Channels of the first convolution; the others are multiples of it."""
    epochs: int = Field(24, ge=1, le=1_000)
    """Passes over the model's own subset."""
    batch: int = Field(512, ge=1, le=65_536)
    """Examples a step."""
    learning_rate: float = Field(0.5, gt=0, lt=100)
    """Peak of the triangle, for a loss that is a batch's mean."""
    warmup: float = Field(5 / 24, ge=0, lt=1)
    """The peak is at epoch 5 of 24."""
    nesterov: bool = False
    """Whether the momentum looks ahead."""
    flip: Literal["none", "random", "alternate"] = "random"
    """Mirror images left to right."""
    translate: int = Field(2, ge=0, le=64)
    """Shift images by up to so many pixels."""
    cutout: int = Field(4, ge=0, le=64)
    """Side of a square that is blanked out, pixels."""
    views: Literal[1, 2, 6] = 2
    """The released code averages test logits with those of images whose channels it flips; here they are mirrored."""
    pixel_mean: tuple[float, ...] = (125.307, 122.961, 113.8575)
    """CIFAR-10's, as in the released code."""
    pixel_sd: tuple[float, ...] = (51.5865, 50.847, 51.255)
    """As in the released code."""


class ResNet9Fast(Recipe):
    """The quickest recipe: a network, an optimiser and tricks after airbench (builders/training/gradient/resnet9_fast.py)."""

    widths: tuple[int, int, int] = (64, 256, 256)
    """Channels of the three blocks."""
    epochs: int = Field(5, ge=1, le=1_000)
    """Passes over the model's own subset."""
    batch: int = Field(1_000, ge=1, le=65_536)
    """Examples a step."""
    learning_rate: float = Field(0.24, gt=0, lt=100)
    """Of the filters, under Muon; it falls linearly to 0."""
    warmup: float = Field(0.0, ge=0, lt=1)
    """Share of the steps until the peak."""
    momentum: float = Field(0.6, ge=0, lt=1)
    """Of Muon."""
    bias_rate: float = Field(0.053, gt=0, lt=100)
    """Learning rate of biases, for a loss that is a batch's sum."""
    head_rate: float = Field(0.67, gt=0, lt=1_000)
    """Learning rate of the last layer, likewise."""
    head_momentum: float = Field(0.85, ge=0, lt=1)
    """Nesterov momentum of biases and last layer."""
    frozen_after: float = Field(0.375, gt=0, le=1)
    """Share of the steps after which the whitening layer's bias is frozen."""
    weight_decay: float = Field(2e-6, ge=0, lt=1)
    """An image's share of the decay of biases and last layer, before it is divided by their learning rate."""
    label_smoothing: float = Field(0.2, ge=0, lt=1)
    """Share of the target spread evenly over the classes."""
    flip: Literal["none", "random", "alternate"] = "alternate"
    """Mirror images left to right."""
    translate: int = Field(2, ge=0, le=64)
    """Shift images by up to so many pixels, their borders reflected."""
    views: Literal[1, 2, 6] = 6
    """Views of a test image whose logits are averaged."""

    @model_validator(mode="after")
    def _peak_before_the_end(self) -> "ResNet9Fast":
        if self.warmup >= self.frozen_after:
            raise ValueError(f"warmup = {self.warmup:g} must be less than frozen_after = {self.frozen_after:g}")
        return self
