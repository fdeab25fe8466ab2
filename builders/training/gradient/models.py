"""The models that train together: their parameters side by side in flat buffers, and one step of all of them.

Each parameter is a view of the buffers, its gradient too, so that an update is a few kernels over everything.
One model is called as it is; more go through torch.vmap, which needs no change to the network. The step reads nothing from
the host and returns nothing to it, so that a CUDA graph can hold all of it.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from builders.training.gradient.rules import Rule, muon, sgd

Loss = Callable[[dict[str, Tensor], Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Experiment:
    """A network and how it is trained, as `trainer` wants it."""

    make: Callable[[], nn.Module]
    """The network with fresh weights; it draws from torch's generator, which is seeded for it."""
    rules: tuple[Rule, ...]
    label_smoothing: float
    summed: bool = False
    """Whether the loss is a batch's sum instead of its mean."""


def loss_of(experiment: Experiment, module: nn.Module) -> Loss:
    """The loss of one model, a function of its parameters and buffers by name, a batch of images and their labels."""

    def loss(tensors: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        found = functional_call(module, tensors, (x,)).float()
        reduction = "sum" if experiment.summed else "mean"
        return F.cross_entropy(found, y, label_smoothing=experiment.label_smoothing, reduction=reduction)

    return loss


class Models:
    """`n` models on a device, with whose tensors `module` is called.

    Invariant: every trained parameter is a view of `weights`, and its gradient one of `grads`.
    """

    def __init__(self, experiment: Experiment, module: nn.Module, loss: Loss, n: int, kind: torch.dtype) -> None:
        self.experiment, self.module, self.loss, self.n, self.kind = experiment, module, loss, n, kind
        self.device = str(next(module.parameters()).device)
        device = self.device
        trained = {name: p for name, p in self.module.named_parameters() if p.requires_grad}
        self.names = names_by_rule(experiment.rules, list(trained))
        self.spans = _spans([name for names in self.names for name in names], trained, n)
        total = n * sum(p.numel() for p in trained.values())
        self.weights, self.grads, self.momenta = (torch.zeros(total, device=device) for _ in range(3))
        self.parameters = {name: self._view(self.weights, name, p.shape).requires_grad_() for name, p in trained.items()}
        for name, parameter in self.parameters.items():
            parameter.grad = self._view(self.grads, name, trained[name].shape)
        self.owner = self._owners()
        fixed = {k: p.detach() for k, p in self.module.named_parameters() if not p.requires_grad}
        self.fixed = {k: torch.stack([v] * n) for k, v in {**fixed, **dict(self.module.named_buffers())}.items()}
        self.scales, self.good = (torch.ones(n, device=device) for _ in range(2))

    def _view(self, buffer: Tensor, name: str, shape: torch.Size) -> Tensor:
        """A parameter's place in a buffer as [n_models, ...]; filters on CUDA are channels-last in memory."""
        part = buffer[slice(*self.spans[name])]
        if len(shape) == 4 and self.device != "cpu":
            out, into, height, width = shape
            return part.view(self.n, out, height, width, into).permute(0, 1, 4, 2, 3)
        return part.view(self.n, *shape)

    def _owners(self) -> Tensor:
        """Which model each number of a buffer belongs to."""
        owner = torch.empty(len(self.weights), dtype=torch.long, device=self.device)
        for start, stop in self.spans.values():
            owner[start:stop] = torch.arange(self.n, device=self.device).repeat_interleave((stop - start) // self.n)
        return owner

    @torch.no_grad()
    def reset(self, seeds: Sequence[int]) -> None:
        """Fresh weights of every model, drawn on the host by its own seed: equal on every machine and in any group."""
        for k, seed in enumerate(seeds):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                fresh = self.experiment.make().state_dict()
            for name, value in fresh.items():
                target = self.parameters.get(name, self.fixed.get(name))
                if target is not None:
                    value = value.pin_memory() if self.device != "cpu" else value
                    target[k].copy_(value, non_blocking=True)
        self.momenta.zero_()
        self.grads.zero_()
        self.scales.fill_(2.0**14 if self.kind == torch.float16 else 1)
        self.good.zero_()

    def step(self, x: Tensor, y: Tensor, rates: Tensor, active: Tensor | None = None) -> None:
        """Train on batches [n_models, batch, ...] at `rates` [n_rules, n_models]; those not `active` [n_models] stay put."""
        before = self._kept() if active is not None else []
        with torch.autocast(self.device.partition(":")[0], self.kind, enabled=self.kind != torch.float32):
            losses = self._over_models(self.loss, 0)(x, y)
        if self.kind == torch.float16:
            losses = losses * self.scales
        losses.sum().backward()
        with torch.no_grad():
            if self.kind == torch.float16:
                self._unscale()
            self._update(rates)
            self.grads.zero_()
            if active is not None:
                _restore(before, active)

    @torch.no_grad()
    def logits(self, x: Tensor) -> Tensor:
        """Outputs [n_models, n, n_classes] float32 of all models for the same images, in evaluation mode."""
        self.module.eval()
        with torch.autocast(self.device.partition(":")[0], self.kind, enabled=self.kind != torch.float32):
            found = self._over_models(self._outputs, None)(x)
        self.module.train()
        return found.float()

    def _over_models(self, call: Callable[..., Tensor], over: int | None) -> Callable[..., Tensor]:
        """`call(tensors, *inputs)` of one model, over all models: as it is for one, by vmap for more."""
        tensors = {**self.parameters, **self.fixed}
        if self.n > 1:
            return lambda *inputs: torch.vmap(call, in_dims=(0, *[over] * len(inputs)))(tensors, *inputs)
        one = {name: value.squeeze(0) for name, value in tensors.items()}
        return lambda *inputs: call(one, *(inputs if over is None else (each.squeeze(0) for each in inputs)))[None]

    def _outputs(self, tensors: dict[str, Tensor], x: Tensor) -> Tensor:
        return functional_call(self.module, tensors, (x,))

    def _update(self, rates: Tensor) -> None:
        for rule, names, rate in zip(self.experiment.rules, self.names, rates, strict=True):
            if rule.muon:
                for name in names:
                    muon(rule, *self._parts(*self.spans[name], self.parameters[name].shape[:2]), rate, self.kind)
            elif names:
                start, stop = self.spans[names[0]][0], self.spans[names[-1]][1]
                each = rate if self.n == 1 else rate[self.owner[start:stop]]
                sgd(rule, *self._parts(start, stop), each)

    def _parts(self, start: int, stop: int, shape: tuple[int, ...] = ()) -> tuple[Tensor, Tensor, Tensor]:
        """A part of the weights, gradients and momenta, flat or as matrices [*shape, n]."""
        flat = (buffer[start:stop] for buffer in (self.weights, self.grads, self.momenta))
        weights, grads, momenta = (part.view(*shape, -1) for part in flat) if shape else flat
        return weights, grads, momenta

    def _unscale(self) -> None:
        """Divide the gradients by the loss scales; those of a model that overflowed count as zero, and its scale is halved."""
        overflowed = ~torch.isfinite(self.grads)
        fine = torch.zeros_like(self.scales).index_add_(0, self.owner, overflowed.float()) == 0
        self.grads.copy_(torch.where(overflowed | ~fine[self.owner], 0, self.grads / self.scales[self.owner]))
        grown = torch.where(self.good >= 2_000, self.scales * 2, self.scales)
        self.good.copy_(torch.where(fine & (self.good < 2_000), self.good + 1, 0))
        self.scales.copy_(torch.where(fine, grown, self.scales / 2).clamp(1, 2.0**24))

    def _kept(self) -> list[tuple[Tensor, Tensor, Tensor]]:
        """What a step moves: tensors, which model their first axis belongs to, and copies."""
        whole = [(buffer, self.owner, buffer.clone()) for buffer in (self.weights, self.momenta)]
        each = torch.arange(self.n, device=self.device)
        return whole + [(value, each, value.clone()) for value in self.fixed.values()]


def _restore(kept: list[tuple[Tensor, Tensor, Tensor]], active: Tensor) -> None:
    """Put back what models that are not `active` had before."""
    for value, owner, before in kept:
        value.copy_(torch.where(active[owner].view(-1, *[1] * (value.ndim - 1)), value, before))


def names_by_rule(rules: tuple[Rule, ...], names: list[str]) -> list[list[str]]:
    """Names of the parameters that each rule updates; ValueError names one that no rule matches."""
    owner = {name: next((i for i, rule in enumerate(rules) if re.fullmatch(rule.pattern, name)), -1) for name in names}
    if orphans := [name for name, i in owner.items() if i < 0]:
        raise ValueError(f"no rule updates the parameter {orphans[0]}")
    return [[name for name in names if owner[name] == i] for i in range(len(rules))]


def _spans(names: list[str], parameters: dict[str, nn.Parameter], n: int) -> dict[str, tuple[int, int]]:
    """Where each parameter of `n` models lies in the buffers, rule by rule."""
    ends = np.cumsum([0, *(n * parameters[name].numel() for name in names)]).tolist()
    return dict(zip(names, pairwise(ends), strict=True))
