"""Neighbours: numpy without blocks agrees, copies and mirror images come first, and planted copies are all found."""

import numpy as np
import pytest

from builders import neighbours
from builders.neighbours import described, nearest
from queries.run import ask


@pytest.fixture
def images():
    """[60, 16, 16, 3]: smooth random images."""
    coarse = np.random.default_rng(0).integers(0, 255, (60, 4, 4, 3))
    return np.kron(coarse, np.ones((1, 4, 4, 1))).astype(np.uint8)


def test_described_is_blind_to_brightness_and_contrast(images):
    darker = (images.astype(float) * 0.5 + 10).astype(np.uint8)
    rows = described(images)
    assert rows.shape == (60, 8 * 8 * 3)
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    assert np.allclose(rows.mean(1), 0, atol=1e-6)
    assert np.linalg.norm(described(darker) - rows, axis=1).max() < 0.02
    assert (described(np.full((1, 16, 16, 3), 7, np.uint8)) == 0).all()


@pytest.mark.parametrize(("side", "width"), [(5, 25), (8, 64), (13, 64), (32, 64)])
def test_pixels_of_any_number_are_shrunk_by_means(side, width):
    rows = described(np.arange(side * side, dtype=np.uint8).reshape(1, side, side, 1))
    assert rows.shape == (1, width)
    ramp = np.tile(np.arange(side), (side, 1)).astype(np.uint8)[None, :, :, None]
    cells = described(ramp)[0].reshape(int(width**0.5), -1)
    assert (np.diff(cells, axis=1) > 0).all()
    assert np.allclose(cells, cells[:1])


def test_nearest_equals_numpy_whatever_the_block(images, monkeypatch):
    a, b = described(images), described(images[:, :, ::-1])
    apart = np.sqrt(np.maximum(2 - 2 * np.maximum(a @ a.T, b @ a.T), 0))
    np.fill_diagonal(apart, np.inf)
    monkeypatch.setattr(neighbours, "BLOCK", 7)
    found, distances = nearest(images, images, own=True)
    assert found.shape == (60, neighbours.NEAREST)
    assert np.allclose(distances, np.sort(apart, axis=1)[:, : neighbours.NEAREST], atol=2e-3)
    assert not (found == np.arange(60)[:, None]).any()
    monkeypatch.setattr(neighbours, "BLOCK", 60)
    assert (nearest(images, images, own=True)[0] == found).all()


def test_copies_and_mirror_images_come_first_with_ties_by_position(images):
    train = np.concatenate([images, images[:3], images[3:6, :, ::-1]])
    found, distances = nearest(images[:6], train, own=False)
    assert found[:, :2].tolist() == [[i, 60 + i] for i in range(6)]
    assert distances[:, :2].max() < 2e-3
    assert distances[:, 2].min() > 0.1


def test_few_images_have_few_neighbours(images):
    found, distances = nearest(images[:3], images[:3], own=True)
    assert found.shape == (3, 2)
    assert np.isfinite(distances).all()


@pytest.mark.case(69)
def test_every_planted_copy_is_found_and_nothing_else(lake, study_of, build_missing):
    planted = {"labels": 5, "copies": 6, "near_copies": 6, "leaks": 6}
    chosen = study_of(dataset={"source": "digits", "n_train": 300, "n_test": 60, "planted": planted}, models=32, curve=())
    build_missing(lake, chosen)
    rows = ask("duplicates", lake=lake.root).to_pylist()
    assert sorted(row["planted"] for row in rows) == ["copy"] * 6 + ["leak"] * 6 + ["near-copy"] * 6
    assert [row["exact"] for row in rows] == [row["planted"] == "copy" for row in rows]
    assert all(row["label"] == row["other_label"] for row in rows)
