"""CIFAR-10: one digest from every source, batches put in order, and anything else refused by name."""

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from builders import datasets
from builders.datasets import cifar10
from builders.study import Dataset
from builders.training.interface import Data
from lake.errors import LakeError, UsageError

ARCHIVE = np.array([3, 2, 1, 4, 0])
"""The batches in the order of the published archive, which is that of the Hub's copy."""


def by_batches(n: int, batches: np.ndarray) -> np.ndarray:
    return np.arange(n).reshape(5, -1)[batches].ravel()


@pytest.fixture
def few(monkeypatch, own_cache) -> Data:
    """Five batches of 20 images that stand for the real ones, digests and all."""
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (130, 32, 32, 3), dtype=np.uint8), np.arange(130) % 10
    data = Data(images[:100], labels[:100], images[100:], labels[100:], cifar10.CLASSES)
    sums = [hashlib.sha256(images[a : a + 20].tobytes()).hexdigest()[:16] for a in range(0, 100, 20)]
    monkeypatch.setattr(cifar10, "BATCH", 20)
    monkeypatch.setattr(cifar10, "BATCHES", tuple(sums))
    pinned = replace(datasets.SOURCES["cifar10"], digest=datasets.digest_of(data))
    monkeypatch.setitem(datasets.SOURCES, "cifar10", pinned)
    datasets.load.cache_clear()
    return data


def load() -> Data:
    return datasets.load.__wrapped__(Dataset(source="cifar10"))


@pytest.mark.parametrize("batches", [np.arange(5), ARCHIVE])
def test_a_folder_in_the_hubs_layout_gives_the_published_order(few, tmp_path, monkeypatch, batches, write_parquet):
    monkeypatch.setenv("CIFAR10", str(write_parquet(few, tmp_path / "images", by_batches(100, batches))))
    assert datasets.digest_of(load()) == datasets.digest_of(few)


@pytest.mark.parametrize("inner", ["", "cifar-10-batches-py"])
def test_a_folder_in_torchvisions_layout_gives_the_same(few, tmp_path, monkeypatch, inner, write_batches):
    monkeypatch.setenv("CIFAR10", str(write_batches(few, tmp_path / "images") / inner))
    assert datasets.digest_of(load()) == datasets.digest_of(few)


def test_torchvisions_own_download_folder_gives_the_same(few, own_cache, monkeypatch, write_batches):
    write_batches(few, own_cache / "torchvision")
    monkeypatch.setenv("CIFAR10", "torchvision")
    assert datasets.digest_of(load()) == datasets.digest_of(few)


@pytest.mark.parametrize("where", ["", "hub"])
def test_the_hub_gives_the_same(few, tmp_path, monkeypatch, on_hub, where, write_parquet):
    on_hub("uoft-cs/cifar10", write_parquet(few, tmp_path / "images", by_batches(100, ARCHIVE)))
    monkeypatch.setenv("CIFAR10", where)
    assert datasets.digest_of(load()) == datasets.digest_of(few)


def test_decoded_images_are_kept_and_a_damaged_copy_is_made_again(few, tmp_path, monkeypatch, own_cache, write_parquet):
    monkeypatch.setenv("CIFAR10", str(write_parquet(few, tmp_path / "images")))
    load()
    monkeypatch.setenv("CIFAR10", str(tmp_path / "gone"))
    assert datasets.digest_of(load()) == datasets.digest_of(few)
    kept = next(own_cache.glob("cifar10.npz"))
    for damaged in (
        kept.read_bytes()[:5000],
        b"nonsense",
        kept.read_bytes().replace(few.train_images[3].tobytes()[:9], b"x" * 9),
    ):
        kept.write_bytes(damaged)
        with pytest.raises(UsageError, match="there is no such folder"):
            load()


def test_other_content_or_order_is_refused_by_name(few, tmp_path, monkeypatch, write_parquet):
    shuffled = np.random.default_rng(1).permutation(100)
    monkeypatch.setenv("CIFAR10", str(write_parquet(few, tmp_path / "order", shuffled)))
    with pytest.raises(UsageError, match=r"^dataset cifar10: its images, labels or order changed"):
        load()
    other = replace(few, train_images=few.train_images ^ 1)
    monkeypatch.setenv("CIFAR10", str(write_parquet(other, tmp_path / "content")))
    with pytest.raises(UsageError, match=r"^dataset cifar10: its images, labels or order changed"):
        load()


def test_a_batch_that_torchvision_does_not_know_is_never_opened(few, tmp_path, monkeypatch, write_batches):
    folder = write_batches(few, tmp_path / "images")
    (folder / "cifar-10-batches-py" / "data_batch_2").write_bytes(b"cos\nsystem\n(S'touch opened'\ntR.")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CIFAR10", str(folder))
    with pytest.raises(LakeError, match=r"^dataset cifar10: torchvision did not give it in .*corrupted") as error:
        load()
    assert "\n" not in str(error.value)
    assert not (tmp_path / "opened").exists()


def test_a_folder_without_images_and_a_hub_without_an_answer_are_told_in_one_line(few, tmp_path, monkeypatch, fakehub):
    monkeypatch.setenv("CIFAR10", str(tmp_path))
    with pytest.raises(UsageError, match="holds no parquet files named for a train and a test split"):
        load()
    monkeypatch.setenv("CIFAR10", "hub")
    with pytest.raises(LakeError, match=r"^dataset hub:uoft-cs/cifar10: the Hub did not give it") as error:
        load()
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_the_real_images_have_the_pinned_digest_from_every_source(
    tmp_path, monkeypatch, own_cache, on_hub, write_parquet, write_batches
):
    """On the folder that CIFAR10 names: its images, written in each layout and served by a Hub."""
    if not Path(folder := os.environ.get("CIFAR10", "none")).is_dir():
        pytest.skip("set CIFAR10 to a folder that holds the dataset")
    real = cifar10.load()
    assert datasets.digest_of(real) == datasets.SOURCES["cifar10"].digest
    assert np.bincount(real.train_labels).tolist() == [5000] * 10
    archive = write_parquet(real, tmp_path / "archive", by_batches(50_000, ARCHIVE))
    on_hub("uoft-cs/cifar10", archive)
    write_batches(real, own_cache / "torchvision")
    for where in ("torchvision", "hub", str(archive), str(own_cache / "torchvision"), folder):
        monkeypatch.setenv("CIFAR10", where)
        assert datasets.digest_of(cifar10.load()) == datasets.SOURCES["cifar10"].digest
