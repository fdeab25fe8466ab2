"""The sections of an example's page: each asks one query once for all examples and says what it has for each of them.

To add one: a function from answers to what its template needs by (split, id), a template in `templates/sections/`, and a
line in `SECTIONS`. An example for which the function has nothing shows the line `absent`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from queries.report.answers import Answers, Row, grouped
from queries.report.render import number

Found = dict[tuple[str, int], Any]
SPLITS = ("test", "train")
STRONGEST = 12
"""Images of each side: rows of three on a telephone, of four on a screen."""
LIKE = 9
"""Images that are like an example: three rows on a telephone, one on a screen."""


@dataclass(frozen=True)
class Section:
    """A part of an example's page; `split` limits it to test or training images."""

    title: str
    template: str
    gather: Callable[[Answers], Found]
    absent: str
    split: str | None = None


def weights(answers: Answers) -> Found:
    """The strongest proponents and opponents of each target, and the largest weight, which scales the bars."""
    found: Found = {}
    for split in SPLITS:
        for target, rows in grouped(answers.rows("top_weights", split=split, k=STRONGEST), "target_id").items():
            found[split, target] = _sides(rows, "proponent", "opponent")
    return found


def reach(answers: Answers) -> Found:
    """The test images that a training example moves most."""
    rows = answers.rows("reach", k=STRONGEST)
    return {("train", i): _sides(own, "raises", "lowers") for i, own in grouped(rows, "train_id").items()}


def histogram(answers: Answers) -> Found:
    """The spread of a target's margin over fit models, as paths to draw."""
    found: Found = {}
    for split in SPLITS:
        for target, rows in grouped(answers.rows("margin_histogram", split=split), "target_id").items():
            found[split, target] = _drawn(rows)
    return found


def removals(answers: Answers) -> Found:
    """What removals predicted for a test image and what retraining showed, methods in columns."""
    found: Found = {}
    for target, rows in grouped(answers.rows("verified_removals"), "target_id").items():
        methods = sorted({row["method"] for row in rows}, key=lambda m: (m != "datamodel", m == "random", m))
        cells = {(row["method"], row["k"]): row for row in rows}
        sizes = sorted({row["k"] for row in rows})
        found["test", target] = {"methods": methods, "sizes": sizes, "cells": cells, "fit": rows[0]["fit"]}
    return found


def support(answers: Answers) -> Found:
    """The smallest sets whose removal was verified to flip a test image."""
    rows = answers.rows("data_support")
    return {("test", i): own for i, own in grouped(rows, "target_id").items()}


def suspicion(answers: Answers) -> Found:
    """How wrong the label of a training image looks, and how much the models memorise it."""
    n_train = answers.table("memorization").num_rows or 1
    suspects = {row["train_id"]: row for row in answers.rows("label_suspects", k=n_train)}
    memories = {row["train_id"]: row for row in answers.rows("memorization")}
    return {("train", i): {"suspect": suspects[i], "memory": memories.get(i), "n": len(suspects)} for i in suspects}


def copies(answers: Answers) -> Found:
    """Exact and near copies of an image, then the training images that look most like it: how, and how far away."""
    found: Found = {}
    for row in answers.rows("duplicates"):
        kind = "exact copy" if row["exact"] else f"near copy, {number(row['distance'], 2)}"
        one, other = ("train", row["train_id"]), (row["other_split"], row["other_id"])
        for own, like in ((one, other), (other, one)):
            found.setdefault(own, {})[like] = {"why": kind, "strong": True}
    for split in SPLITS:
        for row in answers.rows("look_alikes", split=split, k=LIKE):
            own = found.setdefault((split, row["target_id"]), {})
            own.setdefault(("train", row["train_id"]), {"why": f"distance {number(row['distance'], 2)}", "strong": False})
    return found


def clusters(answers: Answers) -> Found:
    """The cluster of an image among all images and within its class, its place there, and the most typical members."""
    found: Found = {}
    for within in ("all", "class"):
        facts = {row["cluster"]: row for row in answers.rows("clusters", within=within)}
        members = grouped(answers.rows("cluster_members", within=within, k=1_000_000), "cluster")
        for cluster, rows in members.items():
            typical = {
                (row["split"], row["example_id"]): row for row in rows if row["rank"] <= LIKE and row["split"] == "train"
            }
            for row in rows:
                each = {"within": within, "own": row, "facts": facts[cluster], "typical": typical}
                found.setdefault((row["split"], row["example_id"]), []).append(each)
    return found


SECTIONS = (
    Section("What raises it, what lowers it", "weights", weights, "No datamodel of this image is in the lake."),
    Section("Its margin over the models", "histogram", histogram, "No fit model with a margin for it is in the lake."),
    Section("Removed, and trained again", "removals", removals, "No removal was planned for this image in this lake.", "test"),
    Section("Data support", "support", support, "No data support was searched for this image in this lake.", "test"),
    Section(
        "Copies and look-alikes", "copies", copies, "No distances between images are in the lake, and it has no exact copy."
    ),
    Section("Its clusters", "clusters", clusters, "The lake has no clusters of datamodels."),
    Section("Test images it moves", "reach", reach, "It has no weight in any datamodel of a test image.", "train"),
    Section("Label and memory", "suspicion", suspicion, "No models with and without it are in the lake.", "train"),
)


def _sides(rows: list[Row], up: str, down: str) -> dict[str, Any]:
    sides = grouped(rows, "side")
    largest = max(abs(row["weight"]) for row in rows)
    return {"up": sides.get(up, []), "down": sides.get(down, []), "scale": largest or 1.0, "fit": rows[0]["fit"]}


def _drawn(rows: list[Row]) -> dict[str, Any]:
    """A histogram as two SVG paths on a ground 100 wide and 50 high: models without the example, or all of a test image, and
    models with it; where there are both, those with it stand above the line and the others hang below. Positions in percent."""
    low, high = min(0.0, *(row["low"] for row in rows)), max(0.0, *(row["high"] for row in rows))
    across, most = 100 / (high - low or 1.0), max(row["n_models"] for row in rows)
    both = any(row["included"] for row in rows)
    sides, wrong, totals = {True: "", False: ""}, {True: 0, False: 0}, {True: 0, False: 0}
    for row in rows:
        side, n = row["included"], row["n_models"]
        height = 49 * n / most * (1 if side or not both else -1)
        width = max(0.92 * across * (row["high"] - row["low"]), 0.1)
        sides[side] += f"M{across * (row['low'] - low):.2f} 50v{-height:.2f}h{width:.2f}V50z"
        totals[side] += n
        wrong[side] += row["n_wrong"]
    return {"sides": sides, "both": both, "low": low, "high": high, "zero": -low * across, "totals": totals, "wrong": wrong}
