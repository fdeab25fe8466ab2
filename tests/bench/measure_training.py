"""Training: models a core-second of the digits recipe, fused against one after another in plain PyTorch, at equal accuracy."""

import os
import time

import numpy as np
import torch
import torch.nn.functional as F
from measure_sql import spearman
from timing import Row, greater
from torch import nn

from builders import datasets, margins, masks, regression, study
from builders.regression import Fit
from builders.training import patchnet
from builders.training.gradient import small_cnn
from builders.training.gradient.lane import Plan
from builders.training.gradient.trainer import FUSED as FUSED_NETWORKS
from builders.training.interface import Data, Group, Trainer, standardised
from builders.training.recipes import SmallCNN

FUSED, SEQUENTIAL, ROUNDS = 64, 8, 3


def train_vs_sequential() -> Row:
    """64 models at once against 8 in a loop: the same net, data, order, schedule, optimiser and loss."""
    torch.set_num_threads(1)
    chosen = study.load("digits")
    data = datasets.load(chosen.dataset)
    train, recipe = chosen.algorithm.prepare(data), chosen.algorithm.options
    group = _group(chosen, FUSED)
    train(group)
    ours, peer = [], []
    for _ in range(ROUNDS):
        start = time.process_time()
        logits = train(group)
        ours.append(FUSED / (time.process_time() - start))
        start = time.process_time()
        accuracies = [_sequential(recipe, data, group, k) for k in range(SEQUENTIAL)]
        peer.append(SEQUENTIAL / (time.process_time() - start))
    right = (logits.test.argmax(2) == data.test_labels).mean(1)
    note = f"accuracy {right.mean():.4f} over {FUSED} models; of the first {SEQUENTIAL}: {right[:SEQUENTIAL].mean():.4f}, peer {np.mean(accuracies):.4f}"
    return greater(
        float(np.median(ours)), float(np.median(peer)), "PyTorch nn.Module loop", "models per core-second", note=note
    )


def _group(chosen: study.Study, n: int) -> Group:
    ids = np.arange(n)
    return Group(chosen.seed, "fit", masks.draw(chosen, 1000, "fit", ids), ids % chosen.pool, ids)


def _sequential(recipe: patchnet.Recipe, data: Data, group: Group, k: int) -> float:
    """Train model k as one would by hand, data as tensors and no DataLoader; return its test accuracy."""
    torch.manual_seed(k)
    x, x_test = (torch.tensor(images).permute(0, 3, 1, 2).contiguous() for images in standardised(data))
    y = torch.tensor(data.train_labels)
    wide, deep = recipe.widths
    net = nn.Sequential(
        nn.Conv2d(1, wide, recipe.patch, recipe.stride, recipe.padding),
        nn.ReLU(),
        nn.Conv2d(wide, deep, 2, 2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(4 * deep, 10),
    )
    for layer in net:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
    optimiser = torch.optim.SGD(
        net.parameters(), momentum=recipe.momentum, nesterov=True, weight_decay=recipe.weight_decay, lr=1
    )
    order, rates = (torch.tensor(a) for a in patchnet.orders(recipe, group.take(np.array([k]))))
    for step, rate in enumerate(rates[:, 0]):
        rows = order[0, step * recipe.batch : (step + 1) * recipe.batch]
        optimiser.param_groups[0]["lr"] = float(rate)
        optimiser.zero_grad()
        F.cross_entropy(net(x[rows]), y[rows], label_smoothing=recipe.label_smoothing).backward()
        optimiser.step()
    with torch.no_grad():
        return float((net(x_test).argmax(1) == torch.tensor(data.test_labels)).float().mean())


def pooled_vs_independent_inits() -> Row:
    """LASSO LDS of 1,000 models that share 32 initialisations, against 1,000 with an initialisation each (and 2,000)."""
    chosen = study.load("digits")
    data = datasets.load(chosen.dataset)
    train = chosen.algorithm.prepare(data)
    n, repeats = 1_000, 8
    mask_of = np.arange(64 * repeats) // repeats
    heldout = masks.draw(chosen, 1000, "heldout", np.arange(64))
    ids = np.arange(64 * repeats)
    runs = _margins(train, Group(chosen.seed, "heldout", heldout[mask_of], 100_000 + ids, ids), data)
    mean = runs.reshape(64, repeats, -1).mean(1)

    def lds(n_models: int, pool: int) -> float:
        ids = np.arange(n_models)
        group = Group(chosen.seed, "fit", masks.draw(chosen, 1000, "fit", ids), ids % pool, ids)
        fit = _lasso(group.masks, _margins(train, group, data), group.init_ids if pool < n_models else np.zeros_like(ids))
        return float(spearman(heldout @ fit.weights.T, mean).mean())

    pooled, independent, twice = lds(n, chosen.pool), lds(n, n), lds(2 * n, 2 * n)
    note = f"independent at {2 * n:,}: {twice:.4f}"
    return greater(pooled, independent, f"an initialisation a model, {n:,} models", "LDS on 8-run averages", note=note)


def _margins(train: Trainer, group: Group, data: Data) -> np.ndarray:
    """Test margins [n_models, n_targets] float16."""
    parts = [train(group.take(np.arange(a, min(a + 64, group.n_models)))) for a in range(0, group.n_models, 64)]
    return np.concatenate([margins.margin(p.test, data.test_labels, "max") for p in parts]).astype(np.float16)


def _lasso(chosen: np.ndarray, outputs: np.ndarray, init_ids: np.ndarray) -> Fit:
    totals = [regression.empty(chosen.shape[1], outputs.shape[1], int(init_ids.max()) + 1) for _ in range(2)]
    apart = np.arange(len(chosen)) % 5 == 4
    for part, rows in zip(totals, (~apart, apart), strict=True):
        regression.add(part, np.packbits(chosen[rows], axis=1), outputs[rows], init_ids[rows])
    return regression.ESTIMATORS["lasso"](*totals)


def networks_fused_vs_loop() -> Row:
    """Any nn.Module: sixteen of `small-cnn` fused eight at a time by vmap, and one after another in the same code, on digits."""
    torch.set_num_threads(1)
    os.environ["DEVICE"] = "cpu"
    chosen = study.load("digits")
    data, group = datasets.load(chosen.dataset), _group(chosen, 16)
    recipe = SmallCNN(widths=(8, 16), epochs=4, batch=25)
    rates = []
    for plan in (Plan(fused=FUSED_NETWORKS), Plan()):
        train = small_cnn.prepare(recipe, data, plan)
        train(group.take(np.arange(1)))
        start = time.process_time()
        train(group)
        rates.append(group.n_models / (time.process_time() - start))
    return greater(*rates, "the same, one by one", "models per core-second")


BENCHES = {
    "train_vs_sequential": train_vs_sequential,
    "networks_fused_vs_loop": networks_fused_vs_loop,
    "pooled_vs_independent_inits": pooled_vs_independent_inits,
}
