"""The galleries: each is one function over one query that names images and says in a line why each of them is there.

To add one: a function from answers to cards, and a line in `GALLERIES`. A gallery without cards shows its line `absent`.
"""

from collections.abc import Callable
from dataclasses import dataclass

from queries.report.answers import Answers
from queries.report.render import count, number, percent, signed

MOST = 60
"""Images of a gallery, or pairs of them."""
ROW = 9
"""Images of a group from each split: a row on a screen."""
COMPONENTS = 10
"""Components whose ends are shown."""


@dataclass(frozen=True)
class Card:
    """An image of a gallery (split and id), and why it is there; cards of one `group` stand together."""

    image: tuple[str, int]
    why: str
    group: str = ""
    mark: str = ""
    """Id of the group on the page, for links."""


@dataclass(frozen=True)
class Gallery:
    """A page of images that one query picks out, or several."""

    name: str
    title: str
    lede: str
    queries: tuple[str, ...]
    gather: Callable[[Answers], list[Card]]
    absent: str
    pairs: bool = False
    """Whether groups are pairs, several of which stand in a row."""


def brittle(answers: Answers) -> list[Card]:
    """Test images whose class flips without the fewest training images, verified by training again; the most brittle first."""
    found = [(row["removal_size"], row["margin"], row) for row in answers.rows("data_support") if row["verified"]] or [
        (row["k"], row["margin_before"], row)
        for row in answers.rows("verified_removals")
        if row["flipped"] and row["method"] != "random"
    ]
    sets = [(k, row["target_id"], f"by {row['method']}; margin {signed(margin)}") for k, margin, row in found]
    least = {target: (k, target, why) for k, target, why in sorted(sets, reverse=True)}
    return [Card(("test", target), f"without {k} images, {why}") for k, target, why in sorted(least.values())[:MOST]]


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


def leaks(answers: Answers) -> list[Card]:
    """Training images that are copies of test images, each beside the test image."""
    return _copies(answers, "test")


def copies(answers: Answers) -> list[Card]:
    """Training images that are copies of earlier training images, each beside what it copies."""
    return _copies(answers, "train")


def _copies(answers: Answers, split: str) -> list[Card]:
    rows = [row for row in answers.rows("duplicates") if row["other_split"] == split][:MOST]
    cards = []
    for row in rows:
        group = f"train {row['train_id']} and {split} {row['other_id']}"
        how = "the same pixels" if row["exact"] else f"distance {number(row['distance'], 2)}"
        weight = "" if row["weight"] is None else f", weight {signed(row['weight'])}"
        cards += [Card(("train", row["train_id"]), f"{how}{weight}", group), Card((split, row["other_id"]), "", group)]
    return cards


def clusters(answers: Answers) -> list[Card]:
    """The most typical test and training images of each cluster of datamodels."""
    return _clustered(answers, "all")


def subpopulations(answers: Answers) -> list[Card]:
    """The same of clusters within each class."""
    return _clustered(answers, "class")


def _clustered(answers: Answers, within: str) -> list[Card]:
    facts = {row["cluster"]: row for row in answers.rows("clusters", within=within)}
    cards = []
    for row in answers.rows("cluster_members", within=within, k=ROW):
        of = facts[row["cluster"]]
        share = f", {percent(of['purity'], 0)} of its {count(of['n_test'])} test images" if within == "all" else ""
        group = f"Cluster {row['cluster']}: class {of['label']}{share}"
        why = f"similarity {number(row['similarity'], 2)}"
        cards.append(Card((row["split"], row["example_id"]), why, group, f"cluster-{row['cluster']}"))
    return cards


def components(answers: Answers) -> list[Card]:
    """The images furthest out at either end of each of the first principal components of the datamodels."""
    return [
        Card((row["split"], row["example_id"]), f"{'score' if row['split'] == 'test' else 'loading'} {signed(row['value'])}",
             f"Component {row['component']} ({percent(row['explained'])} of the variance), {row['side']} end",
             f"component-{row['component']}-{row['side']}")
        for row in answers.rows("components", k=ROW) if row["component"] < COMPONENTS
    ]  # fmt: skip


GALLERIES = (
    Gallery(
        "brittle", "Most brittle", "Test images that models get right, and wrong after a few training images are taken away.",
        ("data_support", "verified_removals"), brittle, "No verified removal in this lake flips a test image.",
    ),
    Gallery(
        "memorized", "Most memorised", "Training images that are right only when they were trained on.",
        ("memorization",), memorized, "No models with and without each training image are in this lake.",
    ),
    Gallery(
        "suspects", "Label suspects", "Training images whose given label the other images speak against.",
        ("label_suspects",), suspects, "No models with and without each training image are in this lake.",
    ),
    Gallery(
        "leaks", "Leaks", "Training images that are exact or near copies of test images.",
        ("duplicates",), leaks, "No training image in this lake is an exact or near copy of a test image.", pairs=True,
    ),
    Gallery(
        "copies", "Copies", "Training images that are exact or near copies of other training images.",
        ("duplicates",), copies, "No training image in this lake is an exact or near copy of another.", pairs=True,
    ),
    Gallery(
        "clusters", "Clusters", "Groups of images whose margins rely on the same training images, the most typical first.",
        ("clusters", "cluster_members"), clusters, "No clusters of datamodels are in this lake.",
    ),
    Gallery(
        "subpopulations", "Subpopulations", "Groups within a class whose margins rely on the same training images.",
        ("clusters", "cluster_members"), subpopulations, "No clusters of datamodels within classes are in this lake.",
    ),
    Gallery(
        "components", "Components", "Images that the first principal components of the datamodels hold apart.",
        ("components",), components, "No components of datamodels are in this lake.",
    ),
)  # fmt: skip
