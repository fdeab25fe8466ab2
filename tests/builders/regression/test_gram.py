"""The popcount Gram against a matrix product."""

import numpy as np
import pytest

from builders.regression.gram import TILE, Pairs, columns, count_pairs


@pytest.mark.parametrize("n_models", [1, 63, 64, 65, 200])
@pytest.mark.parametrize("n_train", [1, TILE - 1, TILE + 1, 3 * TILE])
def test_counts_are_those_of_a_matrix_product(n_models: int, n_train: int):
    masks = np.random.default_rng(n_models * 1000 + n_train).integers(0, 2, (n_models, n_train), dtype=np.uint8)
    gram = np.full((n_train, n_train), 7, np.int32)
    count_pairs(columns(masks), gram)
    np.testing.assert_array_equal(gram, 7 + masks.T.astype(int) @ masks)


def test_threads_share_the_work_without_changing_it():
    masks = np.random.default_rng(0).integers(0, 2, (500, 150), dtype=np.uint8)
    alone, shared = np.zeros((150, 150), np.int32), np.zeros((150, 150), np.int32)
    count_pairs(columns(masks), alone)
    count_pairs(columns(masks), shared, threads=3)
    np.testing.assert_array_equal(alone, shared)
    assert alone.any()


def test_columns_hold_one_bit_a_model():
    masks = np.zeros((70, 2), np.uint8)
    masks[[0, 65], 0] = 1
    assert columns(masks).tolist() == [[1, 2], [0, 0]]


def packed_models(n_models: int, n_train: int = 40) -> tuple[np.ndarray, np.ndarray]:
    masks = np.random.default_rng(n_models).integers(0, 2, (n_models, n_train), dtype=np.uint8)
    return masks, np.packbits(masks, axis=1)


def test_few_models_are_kept_as_masks_and_many_are_counted():
    masks, packed = packed_models(21)
    pairs = Pairs(40).add(packed[:20], np.arange(20))
    assert pairs.counts is None
    np.testing.assert_array_equal(pairs.dense(), masks[:20].T.astype(int) @ masks[:20])
    pairs.add(packed[20:], np.array([3]))
    assert len(pairs.masks) == len(pairs.groups) == 0
    np.testing.assert_array_equal(pairs.counts, masks.T.astype(int) @ masks)


@pytest.mark.parametrize("cut", [0, 5, 20, 25, 30])
def test_pairs_add_and_leave_their_parts_as_they_are(cut: int):
    masks, packed = packed_models(30)
    parts = [Pairs(40).add(rows, np.arange(len(rows))) for rows in (packed[:cut], packed[cut:])]
    before = [part.dense().copy() for part in parts]
    for a, b in (parts, parts[::-1]):
        np.testing.assert_array_equal(a.plus(b).dense(), masks.T.astype(int) @ masks)
    for part, counts in zip(parts, before, strict=True):
        np.testing.assert_array_equal(part.dense(), counts)
