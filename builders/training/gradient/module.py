"""Any nn.Module as a learning algorithm: `name = "module"`, `module = "torchvision.models:resnet18"`, and a recipe."""

import torch

from builders.training.gradient.models import Experiment
from builders.training.gradient.rules import Rule
from builders.training.gradient.trainer import Plan, trainer
from builders.training.interface import Data, Trainer
from builders.training.recipes import Module, Recipe
from builders.training.registry import load_object


def prepare(options: Module, data: Data, plan: Plan | None = None) -> Trainer:
    """A trainer of `options.module(**options.parameters)`; ValueError when that makes no network for these images."""
    make = load_object(options.module)
    if not isinstance(made := make(**options.parameters), torch.nn.Module):
        raise ValueError(f"{options.module} returned a {type(made).__name__}; needed is a torch.nn.Module")
    experiment = Experiment(lambda: make(**options.parameters), (rule(options),), options.label_smoothing)
    return trainer(experiment, options, data, plan=plan)


def rule(recipe: Recipe) -> Rule:
    """SGD on every parameter, as the recipe says."""
    return Rule(".*", recipe.learning_rate, recipe.momentum, recipe.nesterov, recipe.weight_decay, recipe.warmup)
