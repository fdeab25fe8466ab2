"""The pages of a report, written into a folder: overview, search, galleries, one page an example, one a query."""

import json
from pathlib import Path
from typing import Any

from queries.report.answers import Answers, grouped
from queries.report.galleries import GALLERIES, Card, Gallery
from queries.report.images import Image, Images
from queries.report.overview import FIGURES
from queries.report.render import count, number, percent, write
from queries.report.sections import SECTIONS, SPLITS

_OF_SPLIT = {"test": "Test images", "train": "Training images"}


def write_overview(answers: Answers, site: Path, images: Images, **common: Any) -> None:
    """Write `index.html`."""
    made = [(draw(answers), line) for draw, line in FIGURES]
    figures = [figure for figure, _ in made if figure]
    absent = list(dict.fromkeys(line for figure, line in made if not figure))
    write(
        site,
        "index.html",
        "overview.html",
        figures=figures,
        absent=absent,
        tiles=_tiles(answers),
        lede=_lede(answers, images),
        **common,
    )


def write_examples(answers: Answers, site: Path, images: Images, **common: Any) -> None:
    """Write `examples/SPLIT-ID.html` for each image that gets a page."""
    (site / "examples").mkdir()
    gathered = [(section, section.gather(answers)) for section in SECTIONS]
    facts = target_facts(answers)
    for split in SPLITS:
        sections = [(section, found) for section, found in gathered if section.split in (None, split)]
        paged = [image for image in images.values() if image.split == split and image.paged]
        for place, image in enumerate(paged):
            key = (split, image.id)
            write(site, f"examples/{image.key}.html", "example.html", image=image, images=images, facts=facts.get(key),
                  before=paged[place - 1] if place else None, after=paged[place + 1] if place + 1 < len(paged) else None,
                  sections=[(section, found.get(key)) for section, found in sections], **common)  # fmt: skip


def write_galleries(answers: Answers, site: Path, images: Images, **common: Any) -> None:
    """Write `galleries/index.html`, a page a gallery, and a page a class with all its images."""
    (site / "galleries").mkdir()
    galleries = [(gallery, gallery.gather(answers)) for gallery in GALLERIES]
    listed = [(gallery, _first_of_groups(cards)) for gallery, cards in galleries]
    classes = dict(sorted(_by_class(images).items()))
    for gallery, cards in galleries:
        _write_gallery(answers, site, gallery, cards, images=images, **common)
    for label, members in classes.items():
        groups = {title: [Card((i.split, i.id), "") for i in members if i.split == split] for split, title in _OF_SPLIT.items()}
        lede = f"{count(len(members))} images."
        write(site, f"galleries/class-{label}.html", "gallery.html", title=f"Class {label}", lede=lede,
              groups={name: own for name, own in groups.items() if own}, absent="", pairs=False, queries=(),
              fits=[], images=images, **common)  # fmt: skip
    write(site, "galleries/index.html", "galleries.html", galleries=listed, classes=classes, images=images, **common)


def write_search(answers: Answers, site: Path, images: Images, **common: Any) -> None:
    """Write `search.html` and the list that it searches."""
    facts = target_facts(answers)
    margins = {key: row["mean_margin"] for key, row in facts.items()}
    rows = [[i.split, i.id, i.label, _rounded(margins.get(key)), int(i.paged)] for key, i in images.items()]
    (site / "assets" / "examples.js").write_text(f"const EXAMPLES = {json.dumps(rows, separators=(',', ':'))};\n", "utf-8")
    write(site, "search.html", "search.html", images=images, labels=sorted({i.label for i in images.values()}), **common)


def target_facts(answers: Answers) -> dict[tuple[str, int], dict[str, Any]]:
    """The row of query `targets` of each image that has one."""
    return {(split, row["target_id"]): row for split in SPLITS for row in answers.rows("targets", split=split)}


def _write_gallery(answers: Answers, site: Path, gallery: Gallery, cards: list[Card], **common: Any) -> None:
    groups: dict[str, list[Card]] = {}
    for each in cards:
        groups.setdefault(each.group, []).append(each)
    queries = gallery.queries if cards else ()
    fits = sorted({row["fit"] for name in queries for row in answers.rows(name) if row.get("fit")})
    write(site, f"galleries/{gallery.name}.html", "gallery.html", title=gallery.title, lede=gallery.lede, groups=groups,
          absent=gallery.absent, pairs=gallery.pairs, queries=queries, fits=fits, **common)  # fmt: skip


def _first_of_groups(cards: list[Card], most: int = 4) -> list[Card]:
    """Cards that stand for all: the first of groups from the first to the last, or the first of all where groups are few."""
    firsts = list({each.group: each for each in reversed(cards)}.values())[::-1]
    return firsts[:: len(firsts) // most][:most] if len(firsts) >= most else cards[:most]


def _by_class(images: Images) -> dict[int, list[Image]]:
    classes: dict[int, list[Image]] = {}
    for image in images.values():
        classes.setdefault(image.label, []).append(image)
    return classes


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _lede(answers: Answers, images: Images) -> str:
    """The study in a sentence."""
    models = sum(row["n_models"] for row in answers.rows("accuracy") if row["role"] == "fit")
    splits = grouped([{"split": image.split} for image in images.values()], "split")
    sizes = {split: count(len(splits.get(split, []))) for split in SPLITS}
    shares = answers.connection.execute("select alpha from studies where study_id = $1", [answers.study]).fetchone()
    share = f"a random {percent(shares[0], 0)}" if shares and shares[0] else "a random part"
    return (
        f"{count(models)} models, each trained on {share} of {sizes['train']} training images; for {sizes['test']} test images "
        "and the training images themselves, a sparse linear map from which images were in to how sure the models are."
    )


def _tiles(answers: Answers) -> list[dict[str, str]]:
    """The few numbers that say most, each with what it must be read with."""
    tiles = []
    if models := [row for row in answers.rows("accuracy") if row["role"] == "fit" and row["test_accuracy"] is not None]:
        note = f"mean over {count(models[0]['n_ok'])} models, sd {percent(models[0]['test_accuracy_sd'])}"
        tiles.append({"name": "Test accuracy", "value": percent(models[0]["test_accuracy"]), "note": note})
    if lds := answers.rows("lds", split="test"):
        note = f"of at most {number(lds[0]['ceiling'])}; {lds[0]['fit']}, within targets"
        tiles.append({"name": "Unseen models predicted (LDS)", "value": number(lds[0]["lds_repeats"]), "note": note})
    drops = [row for row in answers.rows("counterfactual") if row["method"] == "datamodel" and row["k"] is None]
    if drops and drops[0]["spearman"] is not None:
        row = drops[0]
        note = (
            f"Spearman of drops, pooled; {number(row['spearman_within'])} within targets, {number(row['spearman_bias_only'])} "
            f"by bias only; {row['fit']}"
        )
        tiles.append({"name": "Removals predicted", "value": number(drops[0]["spearman"]), "note": note})
    if files := answers.rows("partitions"):
        minutes = sum(row["cpu_seconds"] or 0 for row in files) / 60
        time = f"{minutes:.0f} min" if minutes < 120 else f"{count(minutes / 60)} h"
        tiles.append({"name": "Cost", "value": time, "note": f"of processor time, {count(len(files))} files"})
    return tiles
