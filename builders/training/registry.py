"""The learning algorithms by name: their options are checked when a study is read, their code is imported when one trains.

A new algorithm is one module with an options model and `prepare(options, data) -> Trainer`, one line here and one in prior.py,
which says what to expect of it. A user's own is named as `module:object` in the study file: `object(data, **options)` returns a
Trainer (builders/training/interface.py).
"""

import difflib
import importlib
import inspect
import sys
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny, model_validator

from builders.training.interface import Data, Trainer
from builders.training.recipes import Module, Options, ResNet9, ResNet9Fast, SmallCNN
from lake.errors import UsageError
from lake.fingerprint import canonical


class PatchNet(Options):
    """A small network trained many at once on a CPU (builders/training/patchnet.py)."""

    patch: int = Field(4, ge=1, le=64)
    """Side of the first layer's square patches, pixels."""
    stride: int = Field(2, ge=1, le=64)
    """Step between patches, pixels."""
    padding: int = Field(1, ge=0, le=32)
    """Zeros around the standardised image, pixels."""
    widths: tuple[int, ...] = Field((24, 48), max_length=6)
    """Channels of each hidden layer; empty for a linear model."""
    epochs: int = Field(12, ge=1, le=1_000)
    """Passes over the model's own subset."""
    batch: int = Field(25, ge=1, le=4_096)
    """Examples a step."""
    learning_rate: float = Field(0.2, gt=0, lt=100)
    """Peak of the schedule: linear up over `warmup`, then linear down to 0."""
    warmup: float = Field(0.2, ge=0, lt=1)
    """Share of the steps."""
    momentum: float = Field(0.9, ge=0, lt=1)
    """Nesterov momentum."""
    weight_decay: float = Field(5e-3, ge=0, lt=1)
    """L2 penalty on every weight."""
    label_smoothing: float = Field(0.1, ge=0, lt=1)
    """Share of the target spread evenly over the classes."""


class Sklearn(Options):
    """Any scikit-learn classifier (builders/training/sklearn_classifier.py)."""

    estimator: str = Field("sklearn.linear_model:LogisticRegression", pattern=r"^[\w.]+:\w+$")
    """`module:Class` of the classifier."""
    parameters: dict[str, str | int | float | bool] = Field({})
    """Keyword arguments of the class; `random_state` is set from the model's init_id where the class takes one."""


class Logistic(Options):
    """Multinomial logistic regression of scikit-learn on standardised pixels: convex, so initialisation plays no part."""

    C: float = Field(0.01, gt=0)
    """Inverse of the L2 penalty."""
    max_iter: int = Field(200, ge=1)
    """Iterations of the solver at most."""


class Own(Options):
    """Options of a user's algorithm, passed on as keyword arguments."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True)

    @model_validator(mode="after")
    def _has_a_fingerprint(self) -> "Own":
        try:
            canonical(self.model_extra)
        except TypeError as error:
            raise ValueError(f"option {str(error).removeprefix('$.')}") from error
        return self


MODULES: dict[str, tuple[type[Options], str]] = {
    "patchnet": (PatchNet, "builders.training.patchnet"),
    "sklearn": (Sklearn, "builders.training.sklearn_classifier"),
    "logistic": (Logistic, "builders.training.logistic"),
    "small-cnn": (SmallCNN, "builders.training.gradient.small_cnn"),
    "resnet9": (ResNet9, "builders.training.gradient.resnet9"),
    "resnet9-fast": (ResNet9Fast, "builders.training.gradient.resnet9_fast"),
    "module": (Module, "builders.training.gradient.module"),
}
"""Options model and module of each algorithm."""


class Algorithm(BaseModel):
    """A learning algorithm with its options: in TOML a table whose `name` picks the algorithm and the rest are its options."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    """A shipped algorithm (MODULES) or `module:object` of a user's."""
    options: SerializeAsAny[Options]
    """Everything else in the table, as the algorithm's own model of options."""

    @model_validator(mode="before")
    @classmethod
    def _pick_options(cls, value: Any) -> Any:
        if not isinstance(value, dict) or isinstance(value.get("options"), Options):
            return value
        rest = {k: v for k, v in value.items() if k != "name"}
        name = value.get("name")
        if not isinstance(name, str) or not (name in MODULES or ":" in name):
            raise ValueError(f"algorithm name {name!r}: choose one of {', '.join(MODULES)} or a `module:object` of yours")
        kind = MODULES[name][0] if name in MODULES else Own
        if unknown := sorted(rest.keys() - kind.model_fields.keys()) if kind is not Own else []:
            near = difflib.get_close_matches(unknown[0], kind.model_fields, 1)
            meant = f"did you mean {near[0]}? It" if near else "it"
            raise ValueError(f"algorithm {name} has no option {', '.join(unknown)}; {meant} has {', '.join(kind.model_fields)}")
        return {"name": name, "options": kind.model_validate(rest)}

    def identity(self) -> dict[str, Any]:
        """Name and options as plain values: what changes numbers."""
        return {"name": self.name, **self.options.model_dump(mode="json")}

    def prepare(self, data: Data) -> Trainer:
        """A trainer on `data`; UsageError when the algorithm cannot be imported or does not fit the images."""
        if self.name in MODULES:
            module = importlib.import_module(MODULES[self.name][1])
            return _explained(self.name, lambda: module.prepare(self.options, data))
        options = self.options.model_dump()
        return _explained(self.name, lambda: load_object(self.name)(data, **options))


def load_object(name: str) -> Any:
    """The object that `module:object` names, looked for in the current folder too; UsageError says what is missing."""
    module_name, _, attribute = name.partition(":")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        found = getattr(importlib.import_module(module_name), attribute)
    except Exception as error:  # whatever a user's module raises when it is imported
        raise UsageError(
            f"cannot load {name!r} ({type(error).__name__}: {error}): "
            "it must be importable as module:object from the current folder"
        ) from error
    if not callable(found):
        raise UsageError(f"{name!r} is a {type(found).__name__}, not callable: see builders/training/interface.py")
    return found


def _explained(name: str, make: Any) -> Trainer:
    try:
        trainer = make()
    except (TypeError, ValueError) as error:
        raise UsageError(f"algorithm {name}: {error}") from error
    if not callable(trainer) or inspect.isclass(trainer):
        raise UsageError(
            f"algorithm {name} returned a {type(trainer).__name__}; it must return a function from Group to Logits"
        )
    return cast(Trainer, trainer)
