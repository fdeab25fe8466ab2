"""Models a second of each recipe, against the matrix peak measured in the same run.

A recipe is trained twice in full, as many models as its plan has at once: once to compile, once for accuracy and rate. Other
numbers at once are trained for a few epochs, from which models a second follow by operations. Operations of a model: three
times a forward pass for each example of each step, and a forward pass for each view of each image at the end. Images are
CIFAR-10 where CIFAR10=folder says where it is, else noise of the same shape, on which accuracy says nothing.
"""

import importlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.flop_counter import FlopCounterMode

from builders import datasets, study
from builders.training.gradient.lane import Plan
from builders.training.interface import Data, Group, Logits
from builders.training.registry import MODULES
from lake.errors import LakeError

PLANS: dict[str, Plan | None] = {
    "default plan": None,
    "1 at once": Plan(lanes=1, graph=True, compiled=True),
    "8 at once": Plan(lanes=8, graph=True, compiled=True),
    "32 at once": Plan(lanes=32, graph=True, compiled=True),
    "8 fused by vmap": Plan(fused=8, graph=True),
}
"""How many models are in flight. Fused ones are not compiled, which takes more than a minute."""

WHOLE = 4
"""Models of the default plan, trained in full: as many as it has lanes."""

EPOCHS = 2
"""Of the other plans."""

SMALL: dict[str, dict[str, Any]] = {
    "resnet9": {"width": 4, "epochs": 1, "batch": 16},
    "resnet9-fast": {"widths": (8, 8, 8), "epochs": 1, "batch": 16},
    "small-cnn": {"widths": (4, 8), "epochs": 1, "batch": 16},
    "patchnet": {"epochs": 2},
}
"""Options in the small form."""


def peak(small: bool, stop: float) -> Iterator[dict[str, Any]]:
    """Operations a second of square matrix products, the best of several."""
    kinds = (
        {"float32": torch.float32} if small else {"bfloat16": torch.bfloat16, "float16": torch.float16, "tf32": torch.float32}
    )
    torch.set_float32_matmul_precision("high")
    for name, kind in kinds.items():
        yield {"name": f"{name} product", "value": _peak(kind, 512 if small else 8192) / 1e12, "unit": "TFLOP/s"}
    if not small:
        a = torch.ones(8192, 8192, dtype=torch.int8, device="cuda")
        yield {"name": "int8 product", "value": 2 * 8192**3 / _seconds(lambda: torch._int_mm(a, a.t())) / 1e12, "unit": "TOP/s"}


def of(recipe: str) -> Callable[[bool, float], Iterator[dict[str, Any]]]:
    """The section of one recipe."""
    return lambda small, stop: _recipe(recipe, small, stop)


def accuracy(small: bool, stop: float) -> Iterator[dict[str, Any]]:
    """Accuracy of the fast recipe on halves by the number of epochs, 8 models each."""
    kind, module = MODULES["resnet9-fast"][0], importlib.import_module(MODULES["resnet9-fast"][1])
    data, images = _data("resnet9-fast", small)
    for epochs in (1,) if small else (4, 5, 6, 8):
        options: Any = kind(**{**(SMALL["resnet9-fast"] if small else {}), "epochs": epochs})
        right = _right(module.prepare(options, data)(_group(data, 8)), data)
        yield {
            "name": f"{epochs} epochs",
            "value": right.mean(),
            "unit": "share right",
            "sd": right.std(ddof=1),
            "images": images,
        }
        if time.monotonic() > stop:
            return


def _recipe(recipe: str, small: bool, stop: float) -> Iterator[dict[str, Any]]:
    data, images = _data(recipe, small)
    kind, module = MODULES[recipe][0], importlib.import_module(MODULES[recipe][1])
    options: Any = kind(**(SMALL[recipe] if small else {}))
    work, at_peak = _operations(module, options, data), _peak(_precision(), 512 if small else 8192)
    a_model = 0.0
    ways = [(name, plan, plan.lanes * plan.fused if plan else WHOLE) for name, plan in PLANS.items()]
    if not hasattr(module, "trainer"):  # not a network of PyTorch's: models are in one call or in several
        ways = [(f"{n} at once", None, n) for n in (1, 8, 32)]
    for name, plan, n in ways:
        left = stop - time.monotonic()
        if left < 3 * n * a_model:
            yield {"name": name, "value": float("nan"), "unit": "models/s", "skipped": "no time was left for it"}
            continue
        try:
            with at_most(left):
                figure = _figure(module, options, data, plan, n, work, at_peak)
        except TimeUpError:
            yield {"name": name, "value": float("nan"), "unit": "models/s", "skipped": f"it takes more than {left:.0f} s"}
            continue
        except (RuntimeError, LakeError) as error:  # out of memory, or a network that cannot be fused: the others go on
            yield {"name": name, "failed": " ".join(str(error).split())[:160]}
            continue
        yield {"name": name, **figure, "images": images}
        a_model = min(options.epochs, EPOCHS) / options.epochs / figure["value"]


class TimeUpError(Exception):
    """What was measured takes longer than there was time."""


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Raise TimeUpError in the block when the seconds are over; in the main thread only."""

    def ring(*_: object) -> NoReturn:
        raise TimeUpError

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _figure(module: Any, options: Any, data: Data, plan: Plan | None, n: int, work: Any, at_peak: float) -> dict[str, Any]:
    """Models a second of `n` models: by the default plan, None, in full, by another for a few epochs, scaled by operations."""
    short = options.model_copy(update={"epochs": min(EPOCHS, options.epochs)}) if plan else options
    if plan and not torch.cuda.is_available():
        plan = replace(plan, graph=False, compiled=False)
    train = module.prepare(short, data, plan=plan) if plan else module.prepare(short, data)
    group = _group(data, n)
    begin = time.monotonic()
    train(group)  # compiles, and captures graphs
    first, begin = time.monotonic() - begin, time.monotonic()
    logits = train(group)
    seconds = (time.monotonic() - begin) / n * (work(options) / work(short) if work else 1)
    figure = {"value": 1 / seconds, "unit": "models/s"}
    figure |= {"hours for 5,000": 5_000 * seconds / 3600, "first call s": first}
    figure |= {"share of peak": work(options) / seconds / at_peak, "TFLOP a model": work(options) / 1e12} if work else {}
    return figure if plan else {**figure, "accuracy": _right(logits, data).mean(), "models": n}


def _right(logits: Logits, data: Data) -> NDArray[np.float64]:
    """Accuracy of each model on the test images."""
    return (logits.test.argmax(2) == data.test_labels).mean(1)


def _operations(module: Any, options: Any, data: Data) -> Callable[[Any], float] | None:
    """Floating-point operations of a model by options; None for what is not an nn.Module."""
    if not hasattr(module, "trainer"):
        return None
    caught: list[Any] = []
    original, module.trainer = module.trainer, lambda experiment, *rest, **named: caught.append(experiment)
    try:
        module.prepare(options, data)
    finally:
        module.trainer = original
    net, n = caught[0].make().eval(), len(data.train_labels)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(torch.zeros(2, data.train_images.shape[3], *data.train_images.shape[1:3]))
    forward = counter.get_total_flops() / 2

    def operations(chosen: Any) -> float:
        examples = chosen.epochs * max(n // 2 // chosen.batch, 1) * chosen.batch
        return forward * (3 * examples + n + chosen.views * len(data.test_labels))

    return operations


def _group(data: Data, n: int) -> Group:
    """Models on random halves."""
    ids = np.arange(n)
    size = len(data.train_labels)
    masks = np.random.default_rng(0).random((n, size)).argsort(1) < size // 2
    return Group(0, "fit", masks, ids, ids)


def _data(recipe: str, small: bool) -> tuple[Data, str]:
    """(images, what they are): CIFAR-10, or noise in its shape; digits for patchnet."""
    if recipe == "patchnet":
        return datasets.load(study.load("digits").dataset), "digits"
    if not small and os.environ.get("CIFAR10"):
        return datasets.load(study.load("cifar10").dataset), "CIFAR-10"
    n, n_test = (64, 32) if small else (50_000, 10_000)
    rng = np.random.default_rng(0)
    images, labels = (rng.integers(0, 256, (n + n_test, 32, 32, 3), np.uint8), rng.integers(0, 10, n + n_test))
    return Data(images[:n], labels[:n], images[n:], labels[n:], tuple("abcdefghij")), "noise"


def _precision() -> torch.dtype:
    if not torch.cuda.is_available():
        return torch.float32
    return torch.bfloat16 if torch.cuda.get_device_capability()[0] >= 8 else torch.float16


def _peak(kind: torch.dtype, n: int) -> float:
    """Operations a second of products of n x n matrices."""
    a = torch.randn(n, n, device="cuda" if torch.cuda.is_available() else "cpu").to(kind)
    return 2 * n**3 / _seconds(lambda: a @ a)


def _seconds(work: Callable[[], Any], calls: int = 10, rounds: int = 3) -> float:
    """Seconds a call, the least of several rounds."""
    wait = torch.cuda.synchronize if torch.cuda.is_available() else lambda: None
    least = float("inf")
    for _ in range(rounds + 1):
        wait()
        begin = time.perf_counter()
        for _ in range(calls):
            work()
        wait()
        least = min(least, (time.perf_counter() - begin) / calls)
    return least
