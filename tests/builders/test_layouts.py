"""Folders of others: each known layout is told by its names, and what is lacking or ambiguous is named."""

import pytest

from builders import layouts
from lake.errors import UsageError


@pytest.fixture
def folder(tmp_path):
    """Writes empty files of these names into a folder two levels down; `../` leads out of it."""
    inner = tmp_path / "cifar" / "data"
    inner.mkdir(parents=True)

    def write(*names: str):
        for name in names:
            (inner / name).parent.mkdir(exist_ok=True)
            (inner / name).write_bytes(b"")
        return inner

    return write


def test_released_data_with_its_weights(folder):
    inner = folder("train_masks_50pct.npy", "test_margins_50pct.npy", "train_margins_50pct.npy", "../datamodels/test_50pct.pt")
    found = layouts.find(inner)
    assert (found.masks.name, found.margins.name, found.margin) == ("train_masks_50pct.npy", "test_margins_50pct.npy", "max")
    assert found.train_margins.name == "train_margins_50pct.npy"
    assert found.test_weights.resolve() == inner.parent / "datamodels" / "test_50pct.pt"
    assert found.train_weights is found.completed is None


def test_of_several_subset_sizes_one_is_chosen(folder):
    inner = folder("train_masks_10pct.npy", "test_margins_10pct.npy", "train_masks_50pct.npy", "test_margins_50pct.npy")
    with pytest.raises(UsageError, match=r"10, 50 percent.*--percent"):
        layouts.find(inner)
    assert layouts.find(inner, 10).masks.name == "train_masks_10pct.npy"
    with pytest.raises(UsageError, match="20 percent"):
        layouts.find(inner, 20)


def test_a_prefix_of_the_dataset_is_allowed(folder):
    assert layouts.find(folder("cifar_train_masks_50pct.npy", "cifar_test_margins_50pct.npy")).margin == "max"


def test_store_of_the_papers_code(folder):
    inner = folder("masks.npy", "margins.npy", "_completed.npy")
    assert layouts.find(inner) == layouts.Found(
        inner / "masks.npy", inner / "margins.npy", "max", completed=inner / "_completed.npy"
    )


def test_evaluation_data_of_trak(folder):
    inner = folder("mask.npy", "val_margins.npy")
    assert layouts.find(inner) == layouts.Found(inner / "mask.npy", inner / "val_margins.npy", "logsumexp")


@pytest.mark.parametrize("names", [(), ("masks.npy",), ("train_masks_50pct.npy",), ("mask.npy", "margins.npy")])
def test_an_unknown_folder_is_told(folder, names):
    with pytest.raises(UsageError, match=r"val_margins\.npy"):
        layouts.find(folder(*names))
