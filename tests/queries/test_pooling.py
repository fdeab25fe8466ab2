"""Pooling over targets flatters: no correlation over all of them without the one within a target and the bias-only baseline."""

import re

import pytest

from queries.run import shipped

COMPANIONS = {
    "pooled_spearman": ("lds_repeats", "pooled_bias_only"),
    "counterfactual_spearman": ("counterfactual_within", "counterfactual_bias_only"),
    **dict.fromkeys(("spearman", "pearson", "curved_spearman"), ("spearman_within", "spearman_bias_only")),
}
"""Columns that are pooled over targets, and what has to stand beside each."""
OF_ONE_TARGET = r"lds|ceiling|gain|error|predicted|cosine|validation|within|bias_only"
"""Columns with correlations that are taken within a target, or are baselines themselves."""


def correlations():
    for query in shipped().values():
        for column in query.columns:
            if column.unit == "correlation" or re.search("spearman|pearson", column.name):
                yield query, column.name


@pytest.mark.parametrize(("query", "name"), [pytest.param(q, n, id=f"{q.name}-{n}") for q, n in correlations()])
def test_a_pooled_correlation_has_its_companions(query, name):
    names = {column.name for column in query.columns}
    if query.name == "pca_interventions":  # one retrained set a row: a target has one drop there, and nothing is pooled
        assert {"component", "side"} <= names
    elif re.search(OF_ONE_TARGET, name):
        assert name not in COMPANIONS
    else:
        assert names >= set(COMPANIONS[name])


def test_each_companion_is_asked_for():
    found = {name for _, name in correlations()}
    assert found >= COMPANIONS.keys() | {name for pair in COMPANIONS.values() for name in pair}
