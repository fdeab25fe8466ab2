"""Components and clusters: held against scikit-learn, and planted groups that come out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score

from builders import embeddings


def rows_of(seed: int, n: int = 30, width: int = 50) -> csr_array:
    rng = np.random.default_rng(seed)
    return embeddings.unit(csr_array(rng.normal(size=(n, width)) * (rng.random((n, width)) < 0.3)))


def blocks(seed: int, n_groups: int, size: int, shared: float = 0.0) -> tuple[csr_array, np.ndarray]:
    """Targets of `n_groups`, each with weights on its own ten training examples, `shared` of them on everybody's."""
    rng = np.random.default_rng(seed)
    group = rng.permutation(np.repeat(np.arange(n_groups), size))
    weights = rng.random((len(group), 10 * n_groups)) * shared
    for target, own in enumerate(group):
        weights[target, 10 * own : 10 * own + 10] += rng.random(10)
    return embeddings.unit(csr_array(weights)), group


@given(seed=st.integers(0, 50))
def test_rows_of_length_one(seed):
    assert np.allclose(np.sqrt((rows_of(seed) ** 2).sum(1)), 1)


def test_a_row_of_zeros_stays_one():
    assert np.allclose(embeddings.unit(csr_array(np.array([[0.0, 0], [3, 4]]))).toarray(), [[0, 0], [0.6, 0.8]])


@given(seed=st.integers(0, 20))
def test_components_are_those_of_scikit_learn(seed):
    rows = rows_of(seed)
    found, known = embeddings.principal(rows, 5), PCA().fit(rows.toarray())
    assert np.allclose(found.explained, known.explained_variance_ratio_[:29], atol=1e-10)
    assert np.allclose(np.abs(found.loadings), np.abs(known.components_[:5]), atol=1e-6)
    assert np.allclose(found.scores, (rows.toarray() - known.mean_) @ found.loadings.T, atol=1e-8)


@given(seed=st.integers(0, 20))
def test_the_largest_loading_is_positive_whatever_the_order_of_the_targets(seed):
    rows, order = rows_of(seed), np.random.default_rng(seed).permutation(30)
    found, turned = embeddings.principal(rows, 4), embeddings.principal(csr_array(rows.toarray()[order]), 4)
    assert (found.loadings[np.arange(4), np.abs(found.loadings).argmax(1)] > 0).all()
    assert np.allclose(found.loadings, turned.loadings, atol=1e-6)
    assert np.allclose(found.scores[order], turned.scores, atol=1e-6)


def test_two_groups_are_held_apart_by_the_first_component():
    rows, group = blocks(0, 2, 8)
    found = embeddings.principal(rows, 1)
    high = found.scores[:, 0] > 0
    assert len({*group[high]}) == len({*group[~high]}) == 1
    of_high = 10 * group[high][0]
    assert set(np.argsort(-found.loadings[0])[:10]) == set(range(of_high, of_high + 10))


def test_fewer_components_than_asked_for():
    rows = embeddings.unit(csr_array(np.array([[1.0, 0], [0, 1], [1, 0]])))
    found = embeddings.principal(rows, 5)
    assert (len(found.explained), found.scores.shape, found.loadings.shape) == (1, (3, 1), (1, 2))


def test_targets_that_are_all_alike_have_no_component():
    found = embeddings.principal(csr_array(np.ones((4, 3))), 2)
    assert (len(found.explained), found.loadings.shape) == (0, (0, 3))


def test_the_spectrum_of_dense_rows_is_that_of_sparse_ones():
    rows = rows_of(3)
    assert np.allclose(embeddings.spectrum(7 * rows.toarray()), embeddings.principal(rows, 1).explained, atol=1e-10)


def test_variance_along_components_is_what_they_explain():
    rows = rows_of(4)
    found = embeddings.principal(rows, 6)
    assert np.allclose(embeddings.variance_along(rows, found.loadings), found.explained[:6], atol=1e-10)


@pytest.mark.parametrize("shared", [0.0, 0.3])
@pytest.mark.parametrize("seed", range(3))
def test_planted_groups_are_found_also_where_no_target_of_one_is_like_any_of_another(seed, shared, recwarn):
    rows, group = blocks(seed, 4, 12, shared)
    found = embeddings.cluster(rows, 4)
    assert adjusted_rand_score(group, found) == 1
    assert np.array_equal(found, embeddings.cluster(rows, 4))
    assert not recwarn.list


@pytest.mark.parametrize(("n", "wanted"), [(1, 1), (3, 1), (5, 2), (12, 4)])
def test_few_rows_make_few_clusters(n, wanted):
    assert len(set(embeddings.cluster(rows_of(0, n), 4).tolist())) == wanted


def test_clusters_are_numbered_by_class_then_size():
    clusters, labels = np.array([7, 7, 3, 3, 3, 9, 5, 5]), np.array([1, 1, 1, 1, 0, 0, 1, 1])
    # 9 is of class 0; 3 has three members of class 1; 7 and 5 have two, and 7 comes first
    assert embeddings.numbered(clusters, labels).tolist() == [2, 2, 1, 1, 1, 0, 3, 3]


def test_the_centre_of_a_cluster_is_its_mean_row():
    rows = csr_array(np.array([[1.0, 0], [0, 1], [0, 1]]))
    centres = embeddings.centres(rows, np.array([0, 1, 1])).toarray()
    assert np.allclose(centres, [[1, 0], [0, 1]])
    assert np.allclose(embeddings.centres(rows, np.zeros(3, int)).toarray(), [[1 / 5**0.5, 2 / 5**0.5]])
