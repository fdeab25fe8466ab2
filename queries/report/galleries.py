"""The galleries: each is one function over one query that names images and says in a line why each of them is there.

To add one: a function from answers to cards, and a line in `GALLERIES`. A gallery without cards shows its line `absent`.
"""

from collections.abc import Callable
from dataclasses import dataclass

from queries.report.answers import Answers, grouped
from queries.report.render import number, signed

MOST = 60
"""Images of a gallery."""


@dataclass(frozen=True)
class Card:
    """An image of a gallery (split and id), and why it is there; cards of one `group` stand together."""

    image: tuple[str, int]
    why: str
    group: str = ""


@dataclass(frozen=True)
class Gallery:
    """A page of images that one query picks out."""

    name: str
    title: str
    lede: str
    query: str
    gather: Callable[[Answers], list[Card]]
    absent: str


def brittle(answers: Answers) -> list[Card]:
    """Test images whose class flips without the fewest training images, verified by training again."""
    if found := [row for row in answers.rows("data_support") if row["verified"]]:
        least = {row["target_id"]: row for row in sorted(found, key=lambda row: row["removal_size"], reverse=True)}
        return [
            Card(
                ("test", target), f"margin {signed(row['margin'])}, by {row['method']}", f"without {row['removal_size']} images"
            )
            for target, row in reversed(least.items())
        ]
    rows = [row for row in answers.rows("verified_removals") if row["flipped"] and row["method"] != "random"]
    first = {target: own[0] for target, own in grouped(sorted(rows, key=lambda row: row["k"]), "target_id").items()}
    return [
        Card(
            ("test", target),
            f"margin {signed(row['margin_before'])} to {signed(row['margin_after'])}",
            f"without {row['k']} images",
        )
        for target, row in first.items()
    ]


def memorized(answers: Answers) -> list[Card]:
    """Training images whose own margin gains most from being trained on."""
    return [
        Card(("train", row["train_id"]), f"{signed(row['memorization'])} logits, {number(row['margin_out'], 2)} without it")
        for row in answers.rows("memorization")[:MOST]
    ]


def suspects(answers: Answers) -> list[Card]:
    """Training images whose label looks most wrong."""
    return [
        Card(("train", row["train_id"]), f"margin {signed(row['margin_out'])} when left out")
        for row in answers.rows("label_suspects", k=MOST)
    ]


GALLERIES = (
    Gallery(
        "brittle", "Most brittle", "Test images that models get right, and wrong after a few training images are taken away.",
        "verified_removals", brittle, "No verified removal in this lake flips a test image.",
    ),
    Gallery(
        "memorized", "Most memorised", "Training images that are right only when they were trained on.",
        "memorization", memorized, "No models with and without each training image are in this lake.",
    ),
    Gallery(
        "suspects", "Label suspects", "Training images whose given label the other images speak against.",
        "label_suspects", suspects, "No models with and without each training image are in this lake.",
    ),
)  # fmt: skip
