"""A lane: models that train together from start to logits, as one stream of work on the device.

On CUDA the whole step, from gathering the batch to the update, is captured as a graph once and replayed: the step number is
a tensor on the device, so the host says "again" and nothing else, and never waits. Several lanes run side by side on streams
of their own.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from builders import counter
from builders.training.gradient import images
from builders.training.gradient.images import Pixels
from builders.training.gradient.models import Calls, Experiment, Models
from builders.training.gradient.tables import Rounds, rates, upload, visits
from builders.training.interface import Group

EVALUATED = 2_000
"""Images evaluated at a time."""


@dataclass(frozen=True)
class Setting:
    """What all lanes share: the experiment, the data on the device, and how it is gone through."""

    experiment: Experiment
    module: nn.Module
    """The network on the device, called with the tensors of one model after another."""
    rounds: Rounds
    train: Pixels
    test: Pixels
    labels: Tensor
    """[n_train] int64."""
    cutout: int
    views: int
    """Views of a test image whose logits are averaged: 1, 2 (mirrored) or 6 (mirrored, and shifted by one pixel)."""
    device: str
    kind: torch.dtype
    draws: bool
    """Whether the network draws random numbers as it trains."""


@dataclass(frozen=True)
class Plan:
    """How models are laid out on the device; nothing here changes what is trained."""

    fused: int = 1
    """Models in one step, by vmap."""
    lanes: int = 1
    """Steps in flight at once."""
    graph: bool = False
    """Whether the step is a CUDA graph."""
    compiled: bool = False
    """Whether batch, passes and update are compiled (torch.compile)."""


class Lane:
    """`plan.fused` models at a time. Invariant: buffers keep their addresses, which a captured graph knows."""

    def __init__(self, setting: Setting, plan: Plan, calls: Calls) -> None:
        self.setting, self.plan = setting, plan
        self.models = Models(setting.experiment, setting.module, calls, plan.fused, setting.kind)
        self.stream: Any = torch.cuda.Stream(setting.device) if setting.device != "cpu" else None
        self.examples = self.draws = self.rates = torch.empty(0)
        self.active: Tensor | None = None
        self.at = torch.zeros(1, dtype=torch.long, device=setting.device)
        self.graph: Any = None
        self.steps = self.left = 0
        if self.stream is not None:  # what was allocated and filled so far was so on another stream
            torch.cuda.synchronize(setting.device)

    def on(self) -> AbstractContextManager[Any]:
        """The lane's stream as the current one."""
        return torch.cuda.stream(self.stream) if self.stream is not None else nullcontext()

    def load(self, group: Group) -> None:
        """Make the models of `group`, exactly as many as the lane holds, ready for their first step."""
        found = [visits(self.setting.rounds, group, k, self.setting.device) for k in range(group.n_models)]
        steps = [len(examples) for examples, _ in found]
        self.steps = self.left = max(steps)
        even = len(set(steps)) == 1
        self._put("examples", torch.stack([_lengthened(examples, self.left) for examples, _ in found], 1))
        self._put("draws", torch.stack([_lengthened(draws, self.left) for _, draws in found], 1))
        self._put("rates", self._rates(steps))
        self.active = None
        if not even:
            self.active = torch.tensor(np.arange(self.left)[:, None] < np.array(steps)).to(self.setting.device)
        self.at.zero_()
        if self.setting.draws:  # one model at a time then: its draws hang on its own ids
            torch.manual_seed(int(counter.words(group.seed, f"draws/{group.role}", group.order_ids[0]) >> np.uint64(1)))
        self.models.reset([int(w) for w in counter.words(group.seed, "init", group.init_ids) >> np.uint64(1)])

    def advance(self) -> None:
        """One step of all models, or nothing when they are through."""
        if self.left == 0:
            return
        self.left -= 1
        if not self.plan.graph or self.active is not None:
            self._step()
        elif self.graph is None:
            self._warm_up_or_capture()
        else:
            self.graph.replay()

    def logits(self) -> tuple[Tensor, Tensor]:
        """Outputs [n_models, n, n_classes] for training and test images, on their way to pinned memory of the host."""
        train = self._evaluate(self.setting.train, 1)
        return _to_host(train), _to_host(self._evaluate(self.setting.test, self.setting.views))

    def _step(self) -> None:
        setting = self.setting
        examples, draws = (table.index_select(0, self.at)[0] for table in (self.examples, self.draws))
        x = self.models.calls.batch(setting.train, examples, draws, setting.cutout)
        active = self.active.index_select(0, self.at)[0] if self.active is not None else None
        self.models.step(x, setting.labels[examples], self.rates.index_select(0, self.at)[0], active)
        self.at += 1

    def _warm_up_or_capture(self) -> None:
        """The first steps run as they are, which lets libraries choose their kernels; then the step is captured."""
        if self.steps - self.left <= 3:
            self._step()
            return
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph, stream=self.stream, capture_error_mode="thread_local"):
            self._step()
        self.graph.replay()  # what is captured is not carried out

    def _rates(self, steps: Sequence[int]) -> Tensor:
        """[n_steps, n_rules, n_models] float32; 0 for a model that is through."""
        rules = self.setting.experiment.rules
        table = np.zeros((max(steps), len(rules), len(steps)), np.float32)
        for i, rule in enumerate(rules):
            for k, n in enumerate(steps):
                table[:n, i, k] = rule.learning_rate * rates(n, rule.warmup, rule.until)
        return upload(table, self.setting.device)

    def _put(self, name: str, table: Tensor) -> None:
        """Set a table's first rows in place where it has room for them; otherwise a captured graph no longer holds."""
        old = getattr(self, name)
        if old.shape[1:] == table.shape[1:] and len(old) >= len(table):
            old[: len(table)].copy_(table)
        else:
            setattr(self, name, table)
            self.graph = None

    def _evaluate(self, pixels: Pixels, views: int) -> Tensor:
        parts = []
        for start in range(0, len(pixels.padded), EVALUATED):
            see = partial(images.plain, pixels, start, start + EVALUATED)
            here = self._mirrored(see(), views > 1)
            if views == 6:
                shifted = [self._mirrored(see(shift), True) for shift in ((-1, -1), (1, 1))]
                here = 0.5 * here + 0.25 * (shifted[0] + shifted[1])
            parts.append(here)
        return torch.cat(parts, 1)

    def _mirrored(self, x: Tensor, mirrored: bool) -> Tensor:
        """Logits, with `mirrored` their mean with those of the images flipped left to right."""
        return 0.5 * (self.models.logits(x) + self.models.logits(x.flip(-1))) if mirrored else self.models.logits(x)


def _lengthened(table: Tensor, n: int) -> Tensor:
    """A table [n_steps, batch] with its last row repeated up to `n` rows."""
    return table if len(table) == n else torch.cat([table, table[-1:].expand(n - len(table), -1)])


def _to_host(values: Tensor) -> Tensor:
    """A copy in pinned memory, complete when the stream is; on a CPU the values themselves."""
    if values.device.type == "cpu":
        return values
    pinned = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
    pinned.copy_(values, non_blocking=True)
    return pinned
