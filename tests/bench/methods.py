"""`make bench-methods`: attribution tools of others on the digits study, imported into its lake and judged beside our fits.

TRAK by its authors' package (methods_trak.py), with several numbers of checkpoints. What the last number puts first is then
removed from the same targets as our fits' sets, and models are trained without it. The lake is the one named by --lake when it
holds the study, and is built first when it does not. Prints the queries `leaderboard` and `counterfactual`, whose figures can so
be asked for again.
"""

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
import torch
from methods_trak import trak

from builders import loop, study
from builders.progress import Progress
from builders.scores import Source, import_scores
from lake.machine import cores
from lake.store import Lake
from queries import output
from queries.run import ask

CHECKPOINTS = (2, 4, 16)
"""The package cannot score with one: it drops its projection after the features, and makes it again for another checkpoint."""


def main() -> None:
    """Build what is missing, run each tool, import its scores, print the leaderboard."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", default="digits")
    parser.add_argument("--lake", default="data")
    parser.add_argument("--checkpoints", type=int, nargs="*", default=CHECKPOINTS)
    options = parser.parse_args()
    chosen, lake = study.load(options.study), Lake(options.lake)
    torch.set_num_threads(1)
    with Progress() as progress:
        loop.check(loop.build_missing(lake, chosen, loop.Options(workers=cores()), progress))
    for n in options.checkpoints:
        method = f"trak-{n}"
        if any(p.role == method for p in lake.present("scores", chosen.name)):
            continue
        print(f"running TRAK on {n} checkpoint(s)", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(prefix="bench-methods-") as folder:
            path = Path(folder) / "scores.npy"
            np.save(path, trak(chosen, n))
            done = import_scores(lake, chosen.name, Source(path, method, n))
        print(f"{method}: correlation {done.correlation:+.3f} with fit models (chance {done.bound:.3f})", file=sys.stderr)
    with Progress() as progress:
        removed = removing(chosen, f"scores:trak-{options.checkpoints[-1]}")
        loop.check(loop.build_missing(lake, removed, loop.Options(workers=cores()), progress))
    rows = ask("leaderboard", {"study": chosen.name}, lake.root)
    keep = ("method", "lds_repeats", "lds_low", "lds_high", "ceiling", "counterfactual_spearman", "label_auc", "n_trainings")
    output.write(rows.select(list(keep)), "table")
    rows = ask("counterfactual", {"study": chosen.name}, lake.root)
    keep = ("k", "method", "n_targets", "observed_drop", "observed_error", "predicted_drop", "flipped", "role")
    output.write(rows.select(list(keep)).sort_by([("k", "ascending"), ("observed_drop", "descending")]), "table")


def removing(chosen: study.Study, method: str) -> study.Study:
    """The study with another plan of removals, of the sets of `method` alone; its new retrains stand beside the others."""
    removals = chosen.removals.model_copy(update={"methods": (method,), "transfer": ()})
    return chosen.model_copy(update={"removals": removals})


if __name__ == "__main__":
    main()
