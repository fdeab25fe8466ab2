"""The runner: finding, binding, and what it refuses."""

import dataclasses
import math

import pytest

from lake import connect
from lake.errors import CorruptError, LakeError, UsageError
from queries.run import ask, assignments, bind, find, hint, run, words

MARGINS = [{"model_id": 0, "mask_id": 0, "test_accuracy": 0.5}]


def test_a_query_is_found_by_name_and_by_theme_and_name():
    assert find("lds") is find("evaluation/lds") is find("lds.sql")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("ldss", "did you mean lds?"),
        ("propnents", "did you mean proponents?"),
        ("", "`make queries`"),
        ("data/lds", "lds"),
        ("../run", "no query"),
    ],
)
def test_an_unknown_query_is_a_usage_error_with_the_nearest(name, said):
    with pytest.raises(UsageError, match="no query") as error:
        find(name)
    assert said in str(error.value)


def test_defaults_are_typed():
    assert bind(find("proponents"), {"target_id": "3"}) == {
        "target_id": 3,
        "k": 10,
        "split": "test",
        "study": None,
        "fit": None,
    }


def test_a_missing_parameter_is_named_with_the_command():
    with pytest.raises(UsageError, match=r"needs target_id: for example `make query Q=proponents PARAMS=\"target_id=0\"`"):
        bind(find("proponents"), {})


def test_an_unknown_parameter_is_named_with_the_nearest():
    with pytest.raises(
        UsageError, match=r"no parameter 'targetid': did you mean target_id\? it takes target_id, k, split, study, fit"
    ):
        bind(find("proponents"), {"targetid": "3"})


def test_assignments():
    assert assignments(["k=20", "study=a=b", "fit="]) == {"k": "20", "study": "a=b", "fit": ""}
    assert words("k=20 'study=a b'") == ["k=20", "study=a b"]
    for wrong in (["k"], ["=3"], ["k=1", "k=2"]):
        with pytest.raises(UsageError):
            assignments(wrong)
    with pytest.raises(UsageError, match="No closing quotation"):
        words("study='a")


def test_a_result_that_breaks_the_header_raises(tmp_path):
    query = find("accuracy")
    renamed = dataclasses.replace(query, columns=(dataclasses.replace(query.columns[0], name="studyid"), *query.columns[1:]))
    retyped = dataclasses.replace(
        query, columns=(*query.columns[:2], dataclasses.replace(query.columns[2], type="integer"), *query.columns[3:])
    )
    for broken in (renamed, retyped):
        with pytest.raises(LakeError, match="header promises"):
            run(connect(tmp_path), broken, {})


@pytest.mark.parametrize("sql", ["drop view masks", "select 1; select 2", "copy masks to 'x.csv'", "attach 'x.db'", ""])
def test_only_one_select_is_run(sql, tmp_path):
    with pytest.raises(UsageError, match="one SELECT"):
        run(connect(tmp_path), dataclasses.replace(find("accuracy"), sql=sql, params=()), {})


def test_numbers_that_are_not_finite_come_back_as_null(tmp_path):
    column = dataclasses.replace(find("fits").columns[-1], name="x")
    sql = "select unnest(['nan'::double, 'inf'::double, '-inf'::double, 1.5, null]) as x"
    rows = run(connect(tmp_path), dataclasses.replace(find("fits"), sql=sql, params=(), columns=(column,)), {})
    assert rows.to_pydict() == {"x": [None, None, None, 1.5, None]}


def test_ask_is_a_query_in_one_call(lake_of):
    rows = ask("accuracy", {"study": "toy"}, lake_of(margins=MARGINS).root).to_pylist()
    assert [(row["n_models"], row["test_accuracy"]) for row in rows] == [(1, 0.5)]
    assert math.isclose(rows[0]["test_accuracy"], 0.5)


def test_hints_say_why_nothing_came_back(tmp_path, lake_of):
    assert hint(connect(tmp_path / "none"), {}) == "nothing there yet: make build-missing"
    shell = connect(lake_of(margins=MARGINS).root)
    assert hint(shell, {"study": "toys"}) == "no study 'toys' in this lake; there are toy"
    assert "make status" in hint(shell, {"study": "toy"})


def test_a_damaged_file_ends_in_one_line_that_names_it(lake_of):
    lake = lake_of(margins=MARGINS)
    (path,) = lake.root.glob("margins/*/*.parquet")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CorruptError, match=r"fit-00000\.parquet.*make verify"):
        connect(lake.root, locked=True)


def test_a_file_that_is_damaged_after_the_start_ends_in_one_line(lake_of):
    lake = lake_of(margins=MARGINS)
    shell = connect(lake.root, locked=True)
    (path,) = lake.root.glob("margins/*/*.parquet")
    path.write_bytes(b"PAR1")
    with pytest.raises(CorruptError, match="make verify"):
        run(shell, find("accuracy"), {})


@pytest.mark.row("B3")
def test_a_whole_file_of_values_that_cannot_be_is_told_in_one_line(lake_of, ask):
    lake = lake_of(
        masks=[{"role": "fit", "mask_id": i, "mask": b""} for i in range(2)],
        margins=[{"role": "fit", "model_id": i, "mask_id": i, "init_id": 0} for i in range(2)],
        examples=[{"split": "train", "example_id": 0}],
    )
    with pytest.raises(CorruptError, match="make verify DEEP=1") as error:
        ask(lake, "mask_sizes")
    assert "\n" not in str(error.value)
