"""The dataset on the device, as bytes, and batches cut out of it: no loader, no worker, no copy from the host.

Images lie there padded once, [n, side, side, channels] uint8. A batch is one gather whose indices hold shift and flip, so
augmentation costs no pass of its own, and because channels come last in memory the batch is `channels_last` for free.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from builders.training.gradient.words import below
from builders.training.interface import Data


@dataclass(frozen=True)
class Pixels:
    """Images of one split, padded, with what makes them numbers of mean 0 and sd 1."""

    padded: Tensor
    """[n, side + 2 pad, side + 2 pad, channels] uint8."""
    pad: int
    mean: Tensor
    """[channels] float32, like `sd`."""
    sd: Tensor
    fill: Tensor
    """[channels] uint8: what padding and cut-out squares show."""

    @property
    def side(self) -> int:
        """Pixels of an image's side, without padding."""
        return self.padded.shape[1] - 2 * self.pad


def scale(data: Data, mean: tuple[float, ...], sd: tuple[float, ...]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and sd a channel (0 to 255): those given, or those of all training pixels; ValueError when they do not fit."""
    channels = data.train_images.shape[3]
    if mean or sd:
        if len(mean) != channels or len(sd) != channels:
            raise ValueError(f"pixel_mean and pixel_sd have {len(mean)} and {len(sd)} channels, the images have {channels}")
        return np.array(mean), np.array(sd)
    values = data.train_images.reshape(-1, channels)
    found = values.mean(0, dtype=np.float64), values.std(0, dtype=np.float64)
    if (found[1] == 0).any():
        raise ValueError("every training pixel of a channel is the same: there is nothing to learn from")
    return found


def resident(
    images: NDArray[np.uint8], pad: int, reflect: bool, mean: NDArray[np.float64], sd: NDArray[np.float64], device: str
) -> Pixels:
    """Images [n, side, side, channels] on the device, padded by reflection or with the integer mean."""
    raw = torch.from_numpy(np.ascontiguousarray(images)).to(device)
    fill = torch.tensor(mean.astype(np.uint8), device=device)
    centre, width = (torch.tensor(values, dtype=torch.float32, device=device) for values in (mean, sd))
    return Pixels(_padded(raw, pad, reflect, fill), pad, centre, width, fill)


def batch(pixels: Pixels, examples: Tensor, draws: Tensor, cutout: int) -> Tensor:
    """Augmented images [..., channels, side, side] float32 of `examples` [...], as the words `draws` [...] say.

    Bit 0 flips left and right, then fields 0 and 1 shift within the padding, then 2 and 3 place the cut-out square.
    """
    side, shape, word = pixels.side, examples.shape, draws.reshape(-1, 1)
    along = torch.arange(side, device=word.device)
    rows = along + below(word, 0, 2 * pixels.pad + 1)
    columns = along + below(word, 1, 2 * pixels.pad + 1)
    columns = torch.where(word & 1 == 1, pixels.padded.shape[2] - 1 - columns, columns)
    found = pixels.padded[examples.reshape(-1, 1, 1), rows[:, :, None], columns[:, None]]
    if cutout:
        inside = [_within(along, below(word, field, side - cutout + 1), cutout) for field in (2, 3)]
        found = torch.where((inside[0][:, :, None] & inside[1][:, None])[..., None], pixels.fill, found)
    return scaled(pixels, found).reshape(*shape, -1, side, side)


def plain(pixels: Pixels, start: int, stop: int, shift: tuple[int, int] = (0, 0)) -> Tensor:
    """Images `start` to `stop` [n, channels, side, side] float32 as they are, or seen from (down, right) pixels away."""
    top, left = pixels.pad + shift[0], pixels.pad + shift[1]
    return scaled(pixels, pixels.padded[start:stop, top : top + pixels.side, left : left + pixels.side])


def scaled(pixels: Pixels, found: Tensor) -> Tensor:
    """Bytes [n, side, side, channels] as float32 [n, channels, side, side] in channels-last memory."""
    return ((found.float() - pixels.mean) / pixels.sd).permute(0, 3, 1, 2)


def _within(along: Tensor, start: Tensor, length: int) -> Tensor:
    return (along >= start) & (along < start + length)


def _padded(raw: Tensor, pad: int, reflect: bool, fill: Tensor) -> Tensor:
    if not pad:
        return raw
    if reflect:
        side = raw.shape[1]
        places = torch.cat([torch.arange(pad, 0, -1), torch.arange(side), torch.arange(side - 2, side - 2 - pad, -1)])
        return raw[:, places.to(raw.device)][:, :, places.to(raw.device)]
    n, side, _, channels = raw.shape
    padded = fill.expand(n, side + 2 * pad, side + 2 * pad, channels).clone()
    padded[:, pad : pad + side, pad : pad + side] = raw
    return padded
