"""`make bench-methods`: who tells planted wrong labels best: the query label_suspects, or cleanlab on the same networks.

cleanlab (Northcutt et al., arXiv 1911.00068) ranks labels by out-of-sample probabilities. It gets them from networks of the
study's own recipe in five folds, REPEATS networks a fold, whose probabilities are averaged. AUC: the chance that a wrong label
is ranked above a right one.
"""

import argparse
import sys

import numpy as np
from cleanlab.rank import get_label_quality_scores
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from builders import datasets, loop, study
from builders.orders import coupled
from builders.progress import Progress
from builders.study import Study
from builders.training.interface import Data
from lake.machine import cores
from lake.store import Lake
from queries.run import ask

FOLDS, REPEATS = 5, 8
OURS = ("margin_out_auc", "self_influence_auc", "mean_weight_auc")
THEIRS = ("self_confidence", "normalized_margin", "confidence_weighted_entropy")


def out_of_sample(chosen: Study, data: Data) -> NDArray[np.float64]:
    """Probabilities [n_train, n_classes] of each training example by networks that did not see it."""
    n = len(data.train_labels)
    fold = np.random.default_rng(0).permutation(n) % FOLDS
    masks = np.repeat(fold[None] != np.arange(FOLDS)[:, None], REPEATS, axis=0)
    logits = chosen.algorithm.prepare(data)(coupled(chosen, masks, np.arange(len(masks)))).train
    shares = np.exp(logits.astype(np.float64) - logits.max(-1, keepdims=True))
    shares /= shares.sum(-1, keepdims=True)
    return (shares * ~masks[..., None]).sum(0) / REPEATS


def judged(chosen: Study, lake: Lake) -> dict[str, float]:
    """AUC by method, ours first."""
    data = datasets.load(chosen.dataset)
    (row,) = ask("label_suspects", {"study": chosen.name, "k": "1"}, lake.root).to_pylist()
    wrong = np.zeros(len(data.train_labels), bool)
    wrong[[fault.train_id for fault in datasets.faults_of(chosen.dataset) if fault.kind == "label"]] = True
    shares = out_of_sample(chosen, data)
    quality = {name: _quality(name, data.train_labels, shares) for name in THEIRS}
    theirs = {f"cleanlab {name}": float(roc_auc_score(wrong, -scores)) for name, scores in quality.items()}
    return {name.removesuffix("_auc"): row[name] for name in OURS} | theirs


def _quality(name: str, labels: NDArray[np.int64], shares: NDArray[np.float64]) -> NDArray[np.float64]:
    adjusted = name != "confidence_weighted_entropy"  # cleanlab has no adjusted form of it
    return np.asarray(get_label_quality_scores(labels, shares, method=name, adjust_pred_probs=adjusted))


def main() -> None:
    """Build what is missing, judge, print a line a method."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", default="digits-faulty")
    parser.add_argument("--lake", default="data")
    options = parser.parse_args()
    chosen, lake = study.load(options.study), Lake(options.lake)
    with Progress() as progress:
        loop.check(loop.build_missing(lake, chosen, loop.Options(workers=cores()), progress))
    print(f"{FOLDS * REPEATS} networks for cleanlab, {chosen.models:,} of the study for ours", file=sys.stderr)
    for name, area in judged(chosen, lake).items():
        print(f"{name:40} {area:.4f}")


if __name__ == "__main__":
    main()
