"""What the dataset card shows of a study: how well its datamodels predict, and which training images help which test images.

Both are made from the lake alone, and only when its files changed: they are kept in the cache by the names, sizes and times of
the files behind them. The picture's name in the card carries a hash of its pixels, so that another version of an image library,
which packs the same pixels into other bytes, is no reason to push it again.
"""

import base64
import hashlib
import io
import json
import os
import uuid
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from lake.files import Stat
from lake.fingerprint import fingerprint
from lake.parquet import Facts
from lake.partition import Partition
from lake.store import Lake
from lake.tables import TABLES

if TYPE_CHECKING:
    from PIL import Image

CACHE = "showcase.json"
EDGE, GAP, FRAME = 64, 6, 3
"""Pixels: side of an image in the picture, between two, and of the frame of one of another class."""
HELPERS, CLASSES = 6, 10
"""Training images beside each test image, and test images, each of another class."""
LARGEST = 50_000_000
"""Pixels of an image that is unpacked to be made small."""
MOST_PAIRS = 2_000_000
"""Pairs of held-out mask and target that are judged for a card; beyond, the query is named instead."""

_FIGURES = """select fit, lds_repeats, ceiling, lds_single, ceiling_single, n_masks, n_repeats, n_targets
from fit_lds(?, 'test', null, 1) order by lds_repeats desc, fit"""

_HELPERS = """with helpers as (
    select target_id, train_id, fit, row_number() over (partition by target_id order by weight desc, train_id) as place,
           count(*) over (partition by target_id) as n_helpers
    from weights join leading_fits($study, 'test', null) using (study_id, split, fit)
    where study_id = $study and weight > 0
    qualify n_helpers >= $helpers and place <= $helpers
),
shown as (
    select fit, target.label, target.image, target_id, place, train.label as train_label, train.image as train_image
    from helpers join studies on studies.study_id = $study
    join examples as target
        on target.dataset_id = studies.dataset_id and target.split = 'test' and target.example_id = target_id
    join examples as train
        on train.dataset_id = studies.dataset_id and train.split = 'train' and train.example_id = train_id
    qualify target_id = min(target_id) over (partition by target.label)
)
select fit, label, image.bytes, train_label, train_image.bytes from shown where label < $classes order by label, place"""


class Shown(NamedTuple):
    """Text of a study for the card, and the picture that it refers to, as PNG by path in the mirror."""

    text: str
    pictures: dict[str, bytes]


Present = dict[str, dict[Partition, Stat]]
"""Partitions of a lake by table, with their sizes and times."""


def show(lake: Lake, present: Present, facts: Facts) -> Shown:
    """What the card says of the study whose identity `facts` tell."""
    study, behind = facts.value, _behind(present, facts)
    key = fingerprint([facts.fingerprint, [(p.path, *stat) for p, stat in sorted(behind.items())], _sources()])
    kept = _load(lake.files.cache / CACHE)
    if study not in kept or kept[study]["key"] != key:
        shown = _make(lake, behind, facts)
        pictures = {path: base64.b64encode(data).decode() for path, data in shown.pictures.items()}
        kept[study] = {"key": key, "text": shown.text, "pictures": pictures}
        _store(lake.files.cache / CACHE, kept)
    return Shown(kept[study]["text"], {path: base64.b64decode(data) for path, data in kept[study]["pictures"].items()})


def _behind(present: Present, facts: Facts) -> dict[Partition, Stat]:
    """Partitions that can change what is shown: all of the study's but its fit models, and its dataset's images."""
    dataset = facts.identity.get("dataset", {})
    name = dataset.get("name") if isinstance(dataset, dict) else None
    own = {p: s for found in present.values() for p, s in found.items() if TABLES[p.table].hive_key == "study"}
    found = {p: s for p, s in own.items() if p.value == facts.value and p.role != "fit"}
    return found | {p: s for p, s in present["examples"].items() if p.value == name}


def _sources() -> str:
    """Changes with the code that makes the text."""
    macros = sorted((Path(__file__).parent / "macros").glob("*.sql"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in (Path(__file__), *macros))).hexdigest()


def _make(lake: Lake, behind: dict[Partition, Stat], facts: Facts) -> Shown:
    study, tables = facts.value, {p.table for p in behind}
    lines = [f"**{study}** (fingerprint `{facts.fingerprint}`)", ""]
    lines += [f"- {name}: `{value}`" for name, value in _flat(facts.identity)]
    if not tables >= {"predictions", "fits"}:
        return Shown("\n".join(lines), {})
    from lake.catalog import connect  # DuckDB is needed for nothing else here

    with connect(lake.root) as connection:
        lines += ["", *_figures(connection, study)]
        found = _helpers(connection, study) if tables >= {"weights", "examples"} else []
    if not found:
        return Shown("\n".join(lines), {})
    pixels, data = _picture(found)
    path = f"pictures/{study}.png"
    lines += ["", f"![What helps which test image]({path})", f"<!-- picture: {path} {pixels} -->", ""]
    lines += [
        f"Left a test image of each class, beside it the {HELPERS} training images that raise its margin the most "
        f"(`{found[0][0]}`); framed: of another class."
    ]
    return Shown("\n".join(lines), {path: data})


def _figures(connection: Any, study: str) -> list[str]:
    """The LDS of each fit beside its ceiling, as a Markdown table."""
    counted = "select coalesce(sum(len(predicted_margin)), 0) from predictions where study_id = ? and split = 'test'"
    [(pairs,)] = connection.execute(counted, [study]).fetchall()
    if pairs > MOST_PAIRS:
        return [f'How well its datamodels predict: `make query Q=lds PARAMS="study={study}"` ({pairs:,} predictions).']
    rows = connection.execute(_FIGURES, [study]).fetchall()
    if not rows:
        return []
    *_, n_masks, n_repeats, n_targets = rows[0]
    runs = f"{n_repeats:.3g} runs"
    lines = [f"| fit | LDS ({runs}) | ceiling | LDS (1 run) | ceiling |", "| --- | --- | --- | --- | --- |"]
    lines += [f"| {fit} | {' | '.join(map(_number, figures[:4]))} |" for fit, *figures in rows]
    return [
        *lines,
        "",
        f"LDS: mean over {n_targets:,} test images of the Spearman correlation, over {n_masks:,} held-out subsets, between "
        "predicted and actual margin. No prediction from the subset can pass the ceiling.",
    ]


def _helpers(connection: Any, study: str) -> list[tuple[str, int, bytes, int, bytes]]:
    """(fit, class, PNG, class, PNG) of test image and training image, by class of the first and place of the second."""
    values = {"study": study, "helpers": HELPERS, "classes": CLASSES}
    return connection.execute(_HELPERS, values).fetchall()


def _picture(found: list[tuple[str, int, bytes, int, bytes]]) -> tuple[str, bytes]:
    """Hash of the pixels, and PNG: a row a test image."""
    from PIL import Image

    rows = [found[at : at + HELPERS] for at in range(0, len(found), HELPERS)]
    step = EDGE + GAP
    whole = Image.new("RGB", (GAP + step * (HELPERS + 1) + 2 * GAP, GAP + step * len(rows)), "white")
    for y, row in enumerate(rows):
        tiles = [(row[0][2], False), *((image, label != of) for _, of, _, label, image in row)]
        for x, (data, framed) in enumerate(tiles):
            at = GAP + step * x + 2 * GAP * (x > 0), GAP + step * y
            if framed:
                whole.paste("#d02020", (at[0] - FRAME, at[1] - FRAME, at[0] + EDGE + FRAME, at[1] + EDGE + FRAME))
            if tile := _tile(data):
                whole.paste(tile, at)
    packed = io.BytesIO()
    whole.save(packed, "PNG")
    return hashlib.sha256(whole.tobytes()).hexdigest()[:12], packed.getvalue()


def _tile(data: bytes) -> "Image.Image | None":
    """A small picture of an image; None for bytes that are none, or of more pixels than a tile is made of."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            if image.width * image.height > LARGEST:
                return None
            return image.convert("RGB").resize((EDGE, EDGE), Image.Resampling.NEAREST)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):  # the deep check names it
        return None


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _flat(values: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Name and value of each field, nested ones by dotted name."""
    pairs: list[tuple[str, Any]] = []
    for name, value in values.items():
        pairs += _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else [(f"{prefix}{name}", value)]
    return pairs


def _load(file: Path) -> dict[str, Any]:
    """What is kept; nothing of a file that is absent or damaged."""
    try:
        kept = json.loads(file.read_bytes())
        return {study: entry for study, entry in kept.items() if entry.keys() == {"key", "text", "pictures"}}
    except (OSError, ValueError, AttributeError, RecursionError):
        return {}


def _store(file: Path, kept: dict[str, Any]) -> None:
    fresh = file.with_name(f"{file.name}-{uuid.uuid4().hex}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        fresh.write_text(json.dumps(kept))
        os.replace(fresh, file)
    except OSError:
        with suppress(OSError):  # it is only made again next time
            fresh.unlink()
