"""The models that train together: their parameters side by side in flat buffers, and one step of all of them.

Each parameter is a view of the buffers, its gradient too, so that an update is a few kernels over everything.
One model is called as it is; more go through torch.vmap, which needs no change to the network. The step reads nothing from
the host and returns nothing to it, so that a CUDA graph can hold all of it.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from builders.training.gradient.images import Pixels, batch
from builders.training.gradient.normalisation import spell_out
from builders.training.gradient.rules import Rule, muon, sgd


@dataclass(frozen=True)
class Experiment:
    """A network and how it is trained, as `trainer` wants it."""

    make: Callable[[], nn.Module]
    """The network with fresh weights; it draws from torch's generator, which is seeded for it."""
    rules: tuple[Rule, ...]
    label_smoothing: float
    summed: bool = False
    """Whether the loss is a batch's sum instead of its mean."""


class Calls(NamedTuple):
    """What a step and an evaluation of `n` models call."""

    losses: Callable[[dict[str, Tensor], Tensor, Tensor], Tensor]
    """Losses [n] from tensors [n, ...] by name, images [n, batch, ...] and labels [n, batch]."""
    logits: Callable[[dict[str, Tensor], Tensor], Tensor]
    """Outputs [n, n_images, n_classes] for the same images."""
    batch: Callable[[Pixels, Tensor, Tensor, int], Tensor]
    sgd: Callable[..., None]
    muon: Callable[..., None]

    def compiled(self) -> "Calls":
        """The same, each compiled when it is called first."""
        torch.compiler.reset()  # what was compiled for other networks counts against a limit on variants of one function
        made: list[Any] = [torch.compile(call, dynamic=False) for call in self]
        return Calls(*made)


def calls(experiment: Experiment, module: nn.Module, n: int) -> Calls:
    """What `n` models call, to be shared by all lanes."""

    def loss(tensors: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        found = functional_call(module, tensors, (x,)).float()
        reduction = "sum" if experiment.summed else "mean"
        return F.cross_entropy(found, y, label_smoothing=experiment.label_smoothing, reduction=reduction)

    def logits(tensors: dict[str, Tensor], x: Tensor) -> Tensor:
        return functional_call(module, tensors, (x,)).float()

    if n > 1:
        if next(module.parameters()).device.type != "cpu":
            spell_out(module)
        return Calls(torch.vmap(loss), torch.vmap(logits, in_dims=(0, None)), batch, sgd, muon)

    def one(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: value.squeeze(0) for name, value in tensors.items()}

    return Calls(
        lambda tensors, x, y: loss(one(tensors), x.squeeze(0), y.squeeze(0))[None],
        lambda tensors, x: logits(one(tensors), x)[None],
        batch,
        sgd,
        muon,
    )


class Models:
    """`n` models on a device, with whose tensors `module` is called.

    Invariant: every trained parameter is a view of `weights`, and its gradient one of `grads`.
    """

    def __init__(self, experiment: Experiment, module: nn.Module, calls: Calls, n: int, kind: torch.dtype) -> None:
        self.experiment, self.module, self.calls, self.n, self.kind = experiment, module, calls, n, kind
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
            losses = self.calls.losses(self.parameters | self.fixed, x, y)
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
            found = self.calls.logits(self.parameters | self.fixed, x)
        self.module.train()
        return found

    def _update(self, rates: Tensor) -> None:
        for rule, names, rate in zip(self.experiment.rules, self.names, rates, strict=True):
            if rule.muon:
                for shape, alike in groupby(names, lambda name: self.parameters[name].shape):
                    banks = list(alike)  # neighbours of one shape are one product
                    each = rate.repeat(len(banks))
                    self.calls.muon(rule, *self._parts(banks, (len(each), shape[1])), each, self.kind)
            elif names:
                each = rate if self.n == 1 else rate[self.owner[self._span(names)]]
                self.calls.sgd(rule, *self._parts(names), each)

    def _span(self, names: Sequence[str]) -> slice:
        """Where parameters that are neighbours lie in the buffers."""
        return slice(self.spans[names[0]][0], self.spans[names[-1]][1])

    def _parts(self, names: Sequence[str], shape: tuple[int, ...] = ()) -> tuple[Tensor, Tensor, Tensor]:
        """Weights, gradients and momenta of neighbours, flat or as matrices [*shape, n]."""
        flat = (buffer[self._span(names)] for buffer in (self.weights, self.grads, self.momenta))
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
