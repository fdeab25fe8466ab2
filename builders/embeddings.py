"""Components and clusters of rows that embed targets: datamodel weights, features, pixels.

Ilyas et al. 2022 section 4 embed a target as its weights: rows are brought to one length, centred, and decomposed (PCA), or
joined to their nearest by cosine and clustered (spectral clustering, scikit-learn). Weights are sparse and wide, so all of it
goes through products of rows [n, n] and never through a dense matrix of weights.
"""

import warnings
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

NEIGHBOURS = 20
"""Rows that a row is joined to. Clusters of two halves of the digits models agree best by so many (DECISIONS.md)."""

SHARE = 4
"""Of few rows each is joined to at most one in so many: joined to all, they would have no structure."""

NOTHING = 1e-10
"""Share of the variance below which a component is rounding."""

Floats = NDArray[np.float64]
Ids = NDArray[np.int64]


class Principal(NamedTuple):
    """Principal components of rows: share of the variance [n_components], and scores and loadings of the first `kept`."""

    explained: Floats
    scores: Floats
    """[n, kept]"""
    loadings: Floats
    """[kept, width], of length 1"""


def sparse(rows: Ids, columns: Ids, values: NDArray[np.floating], shape: tuple[int, int]) -> csr_array:
    """A sparse matrix of that shape from the places and values of what is not 0."""
    places = rows.astype(np.int32), columns.astype(np.int32)  # scikit-learn takes no others
    return csr_array((values.astype(np.float64), places), shape=shape)


def unit(rows: csr_array) -> csr_array:
    """Rows [n, width] brought to length 1; a row of zeros stays one."""
    lengths = np.sqrt((rows * rows).sum(1))
    return csr_array(rows.multiply((1 / np.where(lengths > 0, lengths, 1))[:, None]))


def principal(rows: csr_array, kept: int) -> Principal:
    """Components of centred rows [n, width]; the largest loading of each is positive, so that its sign is always the same."""
    mean = np.asarray(rows.mean(0)).ravel()
    towards = rows @ mean
    gram = (rows @ rows.T).toarray() - towards[:, None] - towards[None] + mean @ mean
    values, vectors = np.linalg.eigh(gram)
    values, vectors = np.maximum(values[::-1], 0), vectors[:, ::-1]
    there = int((values > NOTHING * max(values.sum(), 1e-300)).sum())
    values, vectors = values[:there], vectors[:, : min(there, kept)]
    lengths = np.sqrt(values[: vectors.shape[1]])
    loadings = ((rows.T @ vectors).T - np.outer(vectors.sum(0), mean)) / lengths[:, None]
    largest = np.abs(loadings).argmax(1)
    sign = np.sign(loadings[np.arange(len(loadings)), largest])
    return Principal(values / values.sum(), vectors * lengths * sign, loadings * sign[:, None])


def spectrum(rows: NDArray[np.floating]) -> Floats:
    """Share of the variance of each component [n_components] of rows [n, width] brought to length 1."""
    rows = rows.astype(np.float64)
    rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-300)
    values = np.linalg.svd(rows - rows.mean(0), compute_uv=False) ** 2
    values = values[values > NOTHING * max(values.sum(), 1e-300)]
    return values / values.sum()


def variance_along(rows: csr_array, directions: Floats) -> Floats:
    """Share of the variance of rows [n, width] along directions [n_directions, width] of length 1."""
    projected = rows @ directions.T
    mean = np.asarray(rows.mean(0)).ravel()
    total = (rows * rows).sum() / _height(rows) - mean @ mean
    return projected.var(0) / max(total, 1e-300)


def residual(rows: csr_array, others: csr_array) -> csr_array:
    """Rows [n, width] of length 1 without their projections on the `others` [n, width] of length 1, row by row."""
    cosines = np.asarray((rows * others).sum(1)).ravel()
    return csr_array(rows - others.multiply(cosines[:, None]))


def cluster(rows: csr_array, n_clusters: int) -> Ids:
    """A cluster for each row [n] of length 1: spectral clustering of the graph of nearest neighbours by cosine.

    Fewer clusters where there are less than two rows for each.
    """
    from sklearn.cluster import SpectralClustering

    n_clusters = min(n_clusters, _height(rows) // 2)
    if n_clusters < 2:
        return np.zeros(_height(rows), np.int64)
    spectral = SpectralClustering(n_clusters, affinity="precomputed", assign_labels="cluster_qr", random_state=0)
    with warnings.catch_warnings():  # islands in the graph are clusters like others: a test has them
        warnings.filterwarnings("ignore", "Graph is not fully connected")
        return spectral.fit_predict(_graph(rows)).astype(np.int64)


def numbered(clusters: Ids, labels: Ids) -> Ids:
    """The clusters [n] numbered by the class that most of their members have, then the largest first, then the first member."""
    names, first, sizes = np.unique(clusters, return_index=True, return_counts=True)
    most = [np.bincount(labels[clusters == name]).argmax() for name in names]
    place = np.empty(len(names), np.int64)
    place[np.lexsort((first, -sizes, most))] = np.arange(len(names))
    return place[np.searchsorted(names, clusters)]


def centres(rows: csr_array, clusters: Ids) -> csr_array:
    """Mean row of each cluster [n_clusters, width], brought to length 1."""
    members = sparse(clusters, np.arange(len(clusters)), np.ones(len(clusters)), (int(clusters.max()) + 1, len(clusters)))
    return unit(csr_array(members @ rows))


def _height(rows: csr_array) -> int:
    """Number of rows."""
    return len(rows.indptr) - 1


def _graph(rows: csr_array) -> csr_array:
    """Which rows are among the nearest of each other [n, n]: 1 both ways, 1/2 one way; ties by position."""
    n = _height(rows)
    near = min(NEIGHBOURS, max(n // SHARE, 1), n - 1)
    cosines = (rows @ rows.T).toarray()
    np.fill_diagonal(cosines, -np.inf)
    nearest = np.argsort(-cosines, axis=1, kind="stable")[:, :near]
    graph = sparse(np.repeat(np.arange(n), near), nearest.ravel(), np.ones(n * near), (n, n))
    return csr_array((graph + graph.T) / 2)
