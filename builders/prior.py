"""What models, fits and images are expected to take before any was measured: guesses from recipe, sizes and device.

A guess is of one worker, and within a factor of three where it was compared.
"""

from collections.abc import Sequence

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

PATH_SECONDS = (1e-3, 1.8e-5)
"""Seconds of a LASSO target on 1,000 training examples: of a core, and of an H100; they grow by the power WIDER."""
WIDER = 1.75

DENSE_SECONDS = 2e-4
"""Seconds of a target by another estimator, likewise; ridge takes EIGEN_SECONDS once for all targets."""
EIGEN_SECONDS = 0.2

IMAGE_SECONDS = 2e-4
"""Seconds to write an image as PNG with its hash."""

PAIR_SECONDS = 2e-8
"""Seconds to compare two images."""

START_SECONDS = 0.1
"""Seconds that any of these takes at least."""


def examples(n_train: int, n_test: int) -> float:
    """Seconds of the table examples."""
    return START_SECONDS + IMAGE_SECONDS * (n_train + n_test)


def neighbours(n_train: int, n_test: int) -> float:
    """Seconds of the table neighbours."""
    return START_SECONDS + PAIR_SECONDS * n_train * (n_train + n_test)


def fits(estimators: Sequence[str], n_train: int, n_targets: int) -> float:
    """Seconds of fits of `n_targets` by each estimator, whatever the number of models."""
    wide = n_train / 1_000
    n_paths = sum(name in ("lasso", "shared") for name in estimators)
    a_target = n_paths * PATH_SECONDS[device.cuda()] + (len(estimators) - n_paths) * DENSE_SECONDS
    return START_SECONDS + a_target * n_targets * wide**WIDER + ("ridge" in estimators) * EIGEN_SECONDS * wide**3


def model(algorithm: Algorithm, subset: float) -> float:
    """Seconds of a model on `subset` training images."""
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
