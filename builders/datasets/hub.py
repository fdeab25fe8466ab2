"""Any image-classification dataset of the Hugging Face Hub, or a folder in its layout: parquet files a split.

Files are named as the Hub names them (`train-00000-of-00001.parquet`, `train/0000.parquet`); a repo without parquet is read
from the parquet branch that the Hub makes of it. The image column holds encoded bytes, the first column of class labels (or
one called label) the classes; their names come from the Hub's feature description, or are numbers.
"""

import io
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from builders.datasets.images import UNREADABLE, Labelled, assemble, pixels
from builders.training.interface import Data
from lake.errors import LakeError, UsageError

CONVERTED = "refs/convert/parquet"
"""Branch on which the Hub keeps a parquet copy of each dataset."""

SPLITS = {"train": ("train", "training"), "test": ("test", "validation", "valid", "val", "eval", "dev")}
"""Words by which a file tells its split; of the second kind the first that there is."""


def from_hub(name: str, side: int | None = None) -> Data:
    """Images of the dataset `owner/name` or `owner/name@revision`; one line tells what the Hub refused."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    repo, _, asked = name.partition("@")
    try:
        api = HfApi()
        for revision in (asked,) if asked else ("main", CONVERTED):
            files = [f for f in api.list_repo_files(repo, repo_type="dataset", revision=revision) if f.endswith(".parquet")]
            if chosen := by_split(files):
                paths = {s: [Path(_fetch(api, repo, f, revision)) for f in fs] for s, fs in chosen.items()}
                return read(paths, f"hub:{name}", side)
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise LakeError(
            f"dataset hub:{name}: the Hub did not give it ({reason}); check the name, the network and `hf auth login`"
        ) from error
    raise UsageError(f"dataset hub:{name}: no parquet files of a train and a test split on main or {CONVERTED}")


def _fetch(api: Any, repo: str, name: str, revision: str) -> str:
    """Path of a file in the Hub's own cache, downloaded when it is not there."""
    return api.hf_hub_download(repo, name, repo_type="dataset", revision=revision)


def from_folder(folder: Path, source: str, side: int | None = None) -> Data:
    """Images of a folder in the Hub's layout, at any depth; UsageError when a split is not there."""
    found = by_split([str(path.relative_to(folder)) for path in sorted(folder.rglob("*.parquet"))])
    if not found:
        raise UsageError(f"dataset {source}: {folder} holds no parquet files named for a train and a test split")
    return read({split: [folder / name for name in names] for split, names in found.items()}, source, side)


def by_split(names: Sequence[str]) -> dict[str, list[str]]:
    """Parquet files of the two splits, in order; empty unless both are there."""
    found = {}
    for split, words in SPLITS.items():
        having = ([n for n in sorted(names) if word in re.split(r"[^a-z]+", n.lower())] for word in words)
        found[split] = next((files for files in having if files), [])
    return found if all(found.values()) else {}


def read(paths: dict[str, list[Path]], source: str, side: int | None) -> Data:
    """Data from parquet files by split; UsageError names the columns when there is no image or no label among them."""
    schema = pq.read_schema(paths["train"][0])
    image, label, names = _columns(schema, source)
    splits = {split: _labelled(files, image, label, side, source) for split, files in paths.items()}
    n_classes = 1 + max(max(labels, default=0) for _, labels in splits.values())
    return assemble(splits["train"], splits["test"], names or [str(i) for i in range(n_classes)], source)


def _columns(schema: pa.Schema, source: str) -> tuple[str, str, list[str]]:
    """Image column, label column and names of the classes, from the Hub's description or the columns' types."""
    described: dict[str, Any] = {}
    if b"huggingface" in (schema.metadata or {}):
        described = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    kinds = {name: feature.get("_type") for name, feature in described.items() if name in schema.names}
    images = [n for n, kind in kinds.items() if kind == "Image"] or [f.name for f in schema if pa.types.is_struct(f.type)]
    labels = [n for n, kind in kinds.items() if kind == "ClassLabel"] or [n for n in schema.names if n in ("label", "labels")]
    if not images or not labels:
        raise UsageError(f"dataset {source}: columns are {', '.join(schema.names)}; needed are an image and a class label")
    return images[0], labels[0], described.get(labels[0], {}).get("names", [])


def _labelled(files: list[Path], image: str, label: str, side: int | None, source: str) -> Labelled:
    images, labels = [], []
    for path in files:
        try:
            for batch in pq.ParquetFile(path).iter_batches(1_000, columns=[image, label]):
                labels += batch.column(label).to_pylist()
                images += [pixels(Image.open(io.BytesIO(b.as_py())), side) for b in batch.column(image).field("bytes")]
        except (*UNREADABLE, pa.ArrowException) as error:
            raise UsageError(f"dataset {source}: {path.name} cannot be read ({' '.join(str(error).split())})") from error
    return images, labels
