"""Fingerprints: one canonical form, no unstable values, and a difference for every two that are not equal."""

import json
import math
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lake.fingerprint import canonical, differences, fingerprint

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=3)
)
VALUES = st.recursive(
    SCALARS, lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=3), v, max_size=3), max_leaves=8
)
RECORDS = st.dictionaries(
    st.sampled_from("abc"), SCALARS | st.dictionaries(st.sampled_from("xy"), SCALARS, max_size=2), max_size=3
)


def test_a_known_value():
    assert canonical({"b": [1, 2.5, None, True], "a": "é"}) == '{"a":"\\u00e9","b":[1,2.5,null,true]}'
    assert fingerprint({"alpha": 0.5}) == "7d5b69e3b819e574"


@given(VALUES)
def test_form_is_ascii_json_and_survives_a_round_trip(value):
    text = canonical(value)
    assert text.isascii()
    assert canonical(json.loads(text)) == text


@given(st.dictionaries(st.text(max_size=3), SCALARS, min_size=2, max_size=5))
def test_order_of_keys_does_not_matter(value):
    assert fingerprint(dict(reversed(value.items()))) == fingerprint(value)


def test_equal_numbers_are_one_value_and_booleans_are_not_numbers():
    assert fingerprint([1.0, -0.0, 2.0**52]) == fingerprint([1, 0, 2**52])
    assert fingerprint((1, 2)) == fingerprint([1, 2])
    assert len({fingerprint(v) for v in (1, True, "1", [1], None, 0, False, "")}) == 8


@pytest.mark.parametrize(
    "value",
    [
        {1, 2},
        frozenset(),
        math.nan,
        math.inf,
        -math.inf,
        object(),
        b"x",
        Decimal(1),
        np.int64(1),
        np.zeros(2),
        {1: "a"},
        1j,
        len,
    ],
    ids=lambda value: repr(value).partition(" at 0x")[0],  # an address differs between processes
)
def test_unstable_values_are_refused_where_they_are(value):
    with pytest.raises(TypeError, match=r"\$\.a\[1\]"):
        fingerprint({"a": [0, value]})


def test_differences_name_nested_fields():
    ours = {"alpha": 0.5, "recipe": {"epochs": 9, "lr": {"peak": 0.1}}, "seed": 0}
    theirs = {"alpha": 0.5, "recipe": {"epochs": 8, "lr": {"peak": 0.2}}, "pool": None}
    assert differences(ours, theirs) == [
        "pool: None -> absent",
        "recipe.epochs: 8 -> 9",
        "recipe.lr.peak: 0.2 -> 0.1",
        "seed: absent -> 0",
    ]
    assert differences({"a": True}, {"a": 1}) == ["a: 1 -> True"]
    assert differences({"a": [1.0]}, {"a": [1]}) == []


@given(RECORDS, RECORDS)
def test_fingerprints_differ_exactly_when_a_difference_is_named(ours, theirs):
    assert bool(differences(ours, theirs)) == (fingerprint(ours) != fingerprint(theirs))
