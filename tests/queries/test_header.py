"""The head of a query file: what parses, what each type takes, and what is said of a value that is not allowed."""

import pytest

from lake.errors import LakeError, UsageError
from queries.header import parse

TEXT = """-- question: How many?
-- paper: Ilyas et al. 2022 section 3
-- tables: masks
-- param: k integer 1..9 = 3 : how many
-- param: split test|train = null : which half; null: both
-- param: at double = 0.5 : where
-- param: all boolean = false : everything
-- param: big bigint : a large number
-- param: ids integers = null : which
-- param: study text = null : one study; null: all
-- column: n bigint [B] : bytes: in all
-- column: name text : a name
-- rows: a thing
select 1 as n -- not: a header
order by n
"""


@pytest.fixture
def query(tmp_path):
    """The query of TEXT."""
    path = tmp_path / "theme" / "how_many.sql"
    path.parent.mkdir()
    path.write_text(TEXT)
    return parse(path)


def test_header_is_read(query):
    assert (query.name, query.theme, query.question, query.source) == (
        "how_many",
        "theme",
        "How many?",
        "Ilyas et al. 2022 section 3",
    )
    assert [(p.name, p.type, p.bounds, p.default) for p in query.params[:3]] == [
        ("k", "integer", (1, 9), "3"),
        ("split", "test|train", None, "null"),
        ("at", "double", None, "0.5"),
    ]
    assert [(c.name, c.type, c.unit, c.meaning) for c in query.columns] == [
        ("n", "bigint", "B", "bytes: in all"),
        ("name", "text", "", "a name"),
    ]
    assert (query.rows, query.tables, query.sql) == ("a thing", "masks", TEXT)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        *[("k", "9", 9), ("k", "+1", 1), ("k", "007", 7), ("big", str(-(2**63)), -(2**63))],
        *[
            ("split", "train", "train"),
            ("split", "null", None),
            ("study", "null", None),
            ("study", "", ""),
            ("study", "a=b", "a=b"),
        ],
        *[("ids", "3,17,020", [3, 17, 20]), ("ids", "0", [0]), ("ids", "null", None)],
        *[("at", "1e-3", 0.001), ("at", "-2", -2.0), ("all", "true", True), ("all", "false", False)],
    ],
)
def test_values_are_typed(query, name, text, value):
    found = next(p for p in query.params if p.name == name).value(text)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("name", "text", "allowed"),
    [
        *[
            ("k", text, "an integer from 1 to 9")
            for text in ("20; drop table x", "0", "10", "3.0", "", "null", "1_0", "٣", "9" * 30)
        ],
        *[("split", text, "test or train, or null") for text in ("tset", "Test", "test|train", "")],
        *[("at", text, "a finite number") for text in ("nan", "inf", "1,5", "")],
        *[("ids", text, "integers from 0 with commas") for text in ("", "3,", "3, 4", "-1", "1e3", "3;4", "9" * 10)],
        ("all", "yes", "true or false"),
        ("big", str(2**63), "an integer from -9223372036854775808 to 9223372036854775807"),
        ("study", "\udcff", "any text"),
    ],
)
def test_values_that_are_not_allowed_are_named(query, name, text, allowed):
    param = next(p for p in query.params if p.name == name)
    with pytest.raises(UsageError) as error:
        param.value(text)
    assert f"parameter {name}: got {text!r}, allowed is {allowed}" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("-- paper: Ilyas et al. 2022 section 3\n", "", "needs question, paper or source"),
        ("-- rows: a thing\n", "", "needs question, paper or source"),
        ("k integer 1..9 = 3 : how many", "k number = 3 : how many", "param 'k number"),
        ("k integer 1..9 = 3 : how many", "k integer = 3", "param 'k integer = 3'"),
        ("n bigint [B] : bytes: in all", "n decimal : bytes", "column 'n decimal"),
    ],
)
def test_a_broken_header_is_named_with_its_file(tmp_path, before, after, message):
    path = tmp_path / "broken.sql"
    path.write_text(TEXT.replace(before, after))
    with pytest.raises(LakeError, match=r"broken\.sql") as error:
        parse(path)
    assert message in str(error.value)


def test_source_stands_in_for_paper(tmp_path):
    path = tmp_path / "q.sql"
    path.write_text(TEXT.replace("paper:", "source:"))
    assert parse(path).source == "Ilyas et al. 2022 section 3"
