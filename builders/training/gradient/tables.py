"""What each model sees, step by step: examples, augmentation words and learning rates, made on the device before it trains.

An epoch visits the model's own subset in the order of a word of (seed, role, order_id, epoch, example), and what is left over
after whole batches is dropped, as in the paper's released code. Augmentation hangs on a word of the same key. So taking an
example away leaves the order and the views of the rest alone, whatever else is trained beside.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from builders.training.gradient.words import order, words
from builders.training.interface import Group

Flip = Literal["none", "random", "alternate"]


@dataclass(frozen=True)
class Rounds:
    """How long and in which batches a model trains."""

    epochs: int
    batch: int
    flip: Flip = "none"
    """`random`: a coin an epoch; `alternate`: a coin for the first epoch, then the other side every second one."""

    def steps(self, size: int) -> int:
        """Steps on a subset of `size` examples: whole batches an epoch, at least one."""
        return self.epochs * self.an_epoch(size)

    def an_epoch(self, size: int) -> int:
        """Steps an epoch; a subset smaller than a batch is gone round until it fills one."""
        return max(size // self.batch, 1)


def visits(rounds: Rounds, group: Group, k: int, device: str) -> tuple[Tensor, Tensor]:
    """Examples and augmentation words of the group's model `k`, two tensors [n_steps, batch] int64."""
    members = upload(np.flatnonzero(group.masks[k]), device)
    identity, size = int(group.order_ids[k]), len(members)
    epochs = torch.arange(rounds.epochs, device=device)[:, None]
    key = words(group.seed, f"order/{group.role}", identity, epochs, members, device=device)
    places = torch.arange(rounds.an_epoch(size) * rounds.batch, device=device) % max(size, 1)
    examples = members[order(key)[:, places]]
    draws = words(group.seed, f"augment/{group.role}", identity, epochs, examples, device=device)
    if rounds.flip == "alternate":
        first = words(group.seed, f"flip/{group.role}", identity, examples, device=device)
        draws = (draws & -2) | ((first + epochs) & 1)
    if rounds.flip == "none":
        draws = draws & -2
    return examples.reshape(-1, rounds.batch), draws.reshape(-1, rounds.batch)


def rates(n_steps: int, warmup: float, until: float = 1.0) -> NDArray[np.float64]:
    """Learning rates [n_steps] as shares of the peak: a triangle from 0 at step 0, 1 after `warmup`, 0 after `until`."""
    at = np.arange(n_steps) / n_steps
    rise = at / warmup if warmup else np.ones(n_steps)
    return np.clip(np.minimum(rise, (until - at) / (until - warmup)), 0, None)


def upload(values: NDArray[Any], device: str) -> Tensor:
    """A host array on the device, without waiting for what runs there."""
    there = torch.from_numpy(values)
    return there.pin_memory().to(device, non_blocking=True) if device != "cpu" else there
