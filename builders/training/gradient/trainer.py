"""From an experiment to a Trainer: groups cut into lanes, out of memory survived, networks that vmap refuses one by one.

On a CPU models are fused by vmap, always the same number at a time, the last one repeated to fill up: a model's bits then do
not depend on its group. On CUDA the order of measures is that of what pays: the whole step as a graph, compiled; then
several lanes; fusion last.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from builders.training.gradient import device as devices
from builders.training.gradient.images import resident, scale
from builders.training.gradient.lane import Lane, Plan, Setting
from builders.training.gradient.models import Experiment, Models, calls
from builders.training.gradient.tables import Rounds
from builders.training.interface import Data, Group, Logits, Trainer
from builders.training.recipes import Recipe
from lake.errors import LakeError

FUSED = 8
"""Models in one step on a CPU."""


def trainer(experiment: Experiment, recipe: Recipe, data: Data, reflect: bool = False, plan: Plan | None = None) -> Trainer:
    """A Trainer of `experiment` on the chosen device; ValueError when the network does not fit the images."""
    setting = prepared(experiment, recipe, data, reflect)
    chosen = plan or _plan(setting)
    lanes: list[Lane] = []
    proven = False

    def train(group: Group) -> Logits:
        nonlocal chosen, proven
        while True:
            try:
                found = _train(setting, chosen, lanes, group)
            except (RuntimeError, MemoryError) as error:
                lesser = _lesser(chosen, error, proven)
                if lesser is None:
                    raise
            else:
                proven = True
                return found
            chosen = lesser
            if setting.device != "cpu":
                torch.cuda.synchronize(setting.device)
            lanes.clear()  # outside the handler, whose traceback holds the lanes' memory
            if setting.device != "cpu":
                torch.cuda.empty_cache()

    return train


def prepared(experiment: Experiment, recipe: Recipe, data: Data, reflect: bool = False) -> Setting:
    """Data and recipe on the chosen device, and the network tried on one image of each class."""
    device = devices.chosen()
    if device != "cpu":
        torch.cuda.set_device(int(device.partition(":")[2] or 0))
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("high")
    _check_side(recipe, data.train_images.shape[1])
    mean, sd = scale(data, recipe.pixel_mean, recipe.pixel_sd)
    pads = recipe.translate, int(recipe.views == 6)
    train, test = (
        resident(pictures, pad, reflect, mean, sd, device)
        for pictures, pad in zip((data.train_images, data.test_images), pads, strict=True)
    )
    rounds = Rounds(recipe.epochs, recipe.batch, recipe.flip)
    labels = torch.from_numpy(data.train_labels).to(device)
    kind = devices.precision(device)
    module = experiment.make().to(device)
    setting = Setting(experiment, module, rounds, train, test, labels, recipe.cutout, recipe.views, device, kind, False)
    _try(setting, data)
    return replace(setting, draws=_draws(setting))


def _train(setting: Setting, plan: Plan, lanes: list[Lane], group: Group) -> Logits:
    """Logits of a group, as many models at once as the plan says; the host waits once, at the end."""
    waiting, found = list(range(0, group.n_models, plan.fused)), []
    if len(lanes) < (wanted := min(plan.lanes, len(waiting))):
        lanes[:] = _lanes(setting, replace(plan, lanes=wanted))
    while waiting:
        starts, waiting = waiting[: plan.lanes], waiting[plan.lanes :]
        busy = list(zip(lanes, starts, strict=False))
        for lane, start in busy:
            with lane.on():
                lane.load(group.take(np.minimum(np.arange(start, start + plan.fused), group.n_models - 1)))
        for _ in range(max(lane.left for lane, _ in busy)):
            for lane, _ in busy:
                with lane.on():
                    lane.advance()
        for lane, _ in busy:
            with lane.on():
                found.append(lane.logits())
    if setting.device != "cpu":
        torch.cuda.synchronize(setting.device)
    return Logits(*(np.concatenate([part.numpy() for part in parts])[: group.n_models] for parts in zip(*found, strict=True)))


def _lanes(setting: Setting, plan: Plan) -> list[Lane]:
    """Lanes that share what they call, so that it is compiled once."""
    called = calls(setting.experiment, setting.module, plan.fused)
    called = called.compiled() if plan.compiled else called
    return [Lane(setting, plan, called) for _ in range(plan.lanes)]


def _plan(setting: Setting) -> Plan:
    """What is known to pay: a compiled graph and four lanes on CUDA, fusion on a CPU where the network allows it."""
    if setting.draws:
        return Plan(graph=setting.device != "cpu")
    if setting.device != "cpu":
        return Plan(fused=1, lanes=4, graph=True, compiled=True)
    return Plan(fused=FUSED) if _fuses(setting) else Plan()


def _fuses(setting: Setting) -> bool:
    """Whether vmap takes the network through a step; one line says why not."""
    try:
        models = Models(setting.experiment, setting.module, calls(setting.experiment, setting.module, 2), 2, setting.kind)
        x = torch.zeros(2, 2, setting.train.padded.shape[3], setting.train.side, setting.train.side)
        models.step(x, torch.zeros(2, 2, dtype=torch.long), torch.zeros(len(setting.experiment.rules), 2))
    except Exception as error:  # vmap has many ways to refuse, and the network itself was tried before
        reason = " ".join(str(error).split())[:120]
        devices.say(f"this network cannot be fused, its models are trained one by one ({reason})")
        return False
    return True


def _check_side(recipe: Recipe, side: int) -> None:
    """ValueError when what is cut out, or shifted by, does not fit into images of `side` pixels."""
    if recipe.cutout > side:
        raise ValueError(f"cutout = {recipe.cutout} is more than the {side} pixels of an image's side")
    if recipe.translate >= side:
        raise ValueError(f"translate = {recipe.translate} shifts images of {side} pixels out of sight: at most {side - 1}")


def _draws(setting: Setting) -> bool:
    """Whether the network draws random numbers as it trains, which one generator cannot give to each model of a group.

    One that has a dropout layer does; of others the generator tells, after a pass in training.
    """
    module: Any = setting.experiment.make().train()
    if any(isinstance(part, torch.nn.modules.dropout._DropoutNd) for part in module.modules()):
        return True
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        before = torch.get_rng_state()
        try:
            module(_blank(setting))
        except (RuntimeError, ValueError, IndexError, TypeError) as error:
            raise ValueError(f"the network fails when it trains ({' '.join(str(error).split())[:120]})") from error
        return not torch.equal(before, torch.get_rng_state())


def _blank(setting: Setting) -> torch.Tensor:
    """Two images of nothing [2, channels, side, side]."""
    return torch.zeros(2, setting.train.padded.shape[3], setting.train.side, setting.train.side)


def _try(setting: Setting, data: Data) -> None:
    """ValueError unless the network maps images to one logit a class."""
    module: Any = setting.experiment.make().eval()
    if not any(p.requires_grad for p in module.parameters()):
        raise ValueError("the network has no parameters to train")
    x = _blank(setting)
    try:
        with torch.no_grad():
            got = tuple(module(x).shape)
    except (RuntimeError, IndexError, TypeError) as error:
        raise ValueError(
            f"the network does not take images {tuple(x.shape[1:])} ({' '.join(str(error).split())[:120]})"
        ) from error
    if got != (2, data.n_classes):
        raise ValueError(f"the network returns {got} for two images; needed are logits (2, {data.n_classes})")


def _lesser(plan: Plan, error: Exception, proven: bool) -> Plan | None:
    """What to go on with after an error, said in one line; None when it is not for the plan to mend.

    Half as many models at once where memory ran out, and LakeError when it was one already; a plan that has not worked yet
    goes without compiling, then without a graph.
    """
    reason = " ".join(str(error).split())[:120]
    if not devices.out_of_memory(error):
        if proven or not (plan.compiled or plan.graph):
            return None
        what = "compiled" if plan.compiled else "captured as a graph"
        devices.say(f"the step cannot be {what} here, going on without ({reason})")
        return replace(plan, compiled=False) if plan.compiled else replace(plan, graph=False)
    at_once = plan.fused * plan.lanes
    if at_once == 1:
        raise LakeError(
            f"out of memory with one model at a time ({reason}): use a smaller batch, or a larger device"
        ) from error
    devices.say(f"out of memory with {at_once} models at once: going on with {at_once // 2} ({reason})")
    return replace(plan, fused=plan.fused // 2) if plan.fused > 1 else replace(plan, lanes=plan.lanes // 2)
