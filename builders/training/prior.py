"""What a model is expected to take before any was measured: a guess from the recipe, the size of a subset and the device."""

from builders.regression import device
from builders.training.recipes import ResNet9, ResNet9Fast
from builders.training.registry import Algorithm

VISIT_SECONDS: dict[str, tuple[float, float]] = {
    "patchnet": (4.3e-6, 4.3e-6),  # digits; on a core either way
    "small-cnn": (1.1e-3, 1.2e-6),
    "resnet9": (1.3e-2, 5.7e-6),
    "resnet9-fast": (6.7e-3, 4.1e-6),
    "module": (1e-2, 5e-6),
}
"""Seconds of one training image, seen once: of one core, and of an H100; networks at 32 pixels a side and their own width."""

MODEL_SECONDS = {"sklearn": 0.1, "logistic": 0.1}
"""Seconds of a model on half of a thousand small images."""

UNKNOWN_SECONDS = 1.0
"""Seconds of a model by an algorithm of the user's own."""


def seconds(algorithm: Algorithm, subset: float) -> float:
    """Seconds of one worker for a model on `subset` training images."""
    if algorithm.name in MODEL_SECONDS:
        return MODEL_SECONDS[algorithm.name] * max(subset / 500, 0.1)
    if algorithm.name not in VISIT_SECONDS:
        return UNKNOWN_SECONDS
    core, card = VISIT_SECONDS[algorithm.name]
    options = algorithm.options
    return (card if device.cuda() else core) * options.epochs * subset * _breadth(options)  # pyright: ignore[reportAttributeAccessIssue]


def _breadth(options: object) -> float:
    """Operations of a network as a share of those at its recipe's own width."""
    if isinstance(options, ResNet9):
        return (options.width / 64) ** 2
    if isinstance(options, ResNet9Fast):
        return (options.widths[1] / 256) ** 2
    return 1.0
