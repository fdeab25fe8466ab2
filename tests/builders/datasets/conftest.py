"""Images in the layouts that others keep them in: parquet as on the Hub, torchvision's batches, and a Hub that serves them."""

import hashlib
import io
import json
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fakehub import FakeHub
from fakehub_repo import File, Repo
from PIL import Image

from builders.datasets.cifar10 import CLASSES
from builders.training.interface import Data


def as_table(images: np.ndarray, labels: np.ndarray, names: tuple[str, ...] = (), columns: tuple[str, str] = ("img", "label")):
    """A split as the Hub keeps it: PNG bytes in a struct, labels, and the description of the features."""
    encoded = []
    for image in images:
        Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(buffer := io.BytesIO(), "PNG")
        encoded.append({"bytes": buffer.getvalue(), "path": None})
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    made = pa.table({columns[0]: pa.array(encoded, kind), columns[1]: pa.array(labels, pa.int64())})
    features = {columns[0]: {"_type": "Image"}, columns[1]: {"_type": "ClassLabel", "names": list(names)}}
    return made.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})} if names else None)


def in_hub_layout(data: Data, folder: Path, order: np.ndarray | None = None) -> Path:
    """Both splits under `folder`/plain_text, training images in `order`."""
    (folder / "plain_text").mkdir(parents=True)
    order = np.arange(len(data.train_labels)) if order is None else order
    for split, images, labels in (
        ("train", data.train_images[order], data.train_labels[order]),
        ("test", data.test_images, data.test_labels),
    ):
        pq.write_table(as_table(images, labels, data.class_names), folder / "plain_text" / f"{split}-00000-of-00001.parquet")
    return folder


def in_batches(data: Data, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """torchvision's layout: pickled batches, whose MD5 torchvision is told; the order of their keys is not the original's."""
    from torchvision.datasets import CIFAR10

    root, n = folder / CIFAR10.base_folder, len(data.train_labels) // 5
    root.mkdir(parents=True)
    parts = [
        (f"data_batch_{i + 1}", data.train_images[i * n : i * n + n], data.train_labels[i * n : i * n + n]) for i in range(5)
    ]
    sums = {}
    for name, images, labels in (*parts, ("test_batch", data.test_images, data.test_labels)):
        rows = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
        (root / name).write_bytes(pickle.dumps({"data": rows, "labels": labels.tolist()}))
        sums[name] = hashlib.md5((root / name).read_bytes()).hexdigest()
    (root / "batches.meta").write_bytes(pickle.dumps({"label_names": list(CLASSES)}))
    monkeypatch.setattr(CIFAR10, "train_list", [[name, sums[name]] for name, _, _ in parts])
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", sums["test_batch"]]])
    meta = hashlib.md5((root / "batches.meta").read_bytes()).hexdigest()
    monkeypatch.setattr(CIFAR10, "meta", {"filename": "batches.meta", "key": "label_names", "md5": meta})
    return folder


@pytest.fixture
def write_parquet() -> Callable[..., Path]:
    """`in_hub_layout`, for tests."""
    return in_hub_layout


@pytest.fixture
def table() -> Callable[..., pa.Table]:
    """`as_table`, for tests."""
    return as_table


@pytest.fixture
def write_batches(monkeypatch: pytest.MonkeyPatch) -> Callable[[Data, Path], Path]:
    """`in_batches`, for tests."""
    return lambda data, folder: in_batches(data, folder, monkeypatch)


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of decoded images, for this test alone."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "datamodels-lake"


@pytest.fixture
def fakehub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    """A Hub that the real client talks to."""
    from huggingface_hub import HfApi, constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    real = HfApi.__init__
    with FakeHub() as server:
        monkeypatch.setattr(HfApi, "__init__", lambda self, **options: real(self, endpoint=server.url, **options))
        yield server


@pytest.fixture
def on_hub(fakehub: FakeHub) -> Callable[..., Repo]:
    """Puts the files of a folder into a dataset repo, on a branch."""

    def put(name: str, folder: Path, branch: str = "main") -> Repo:
        repo = fakehub.repos.setdefault(name, Repo())
        files = {}
        for path in (p for p in folder.rglob("*") if p.is_file()):
            data = path.read_bytes()
            fakehub.blobs[oid := hashlib.sha256(data).hexdigest()] = data
            files[str(path.relative_to(folder))] = File(len(data), oid)
        repo.commit(branch, files, "images")
        return repo

    return put
