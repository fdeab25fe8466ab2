"""Every row and case of README.md is held by a test: rows by a fast one, a control, and a long one where the table says so."""

import ast
import re
from pathlib import Path
from typing import NamedTuple

import pytest

TESTS = Path(__file__).parents[1]
README = (Path(__file__).parent / "README.md").read_text("utf-8")


class Held(NamedTuple):
    """What a mark on a test says."""

    mark: str
    held: str | int
    control: bool
    slow: bool


def held(source: str) -> list[Held]:
    """The marks `row` and `case` of every test in a module; of a parametrized one, `slow` only when all of it is."""
    found = []
    for test in (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)):
        marks = [d for d in test.decorator_list if ast.unparse(d).startswith("pytest.mark.")]
        slow = any(ast.unparse(d) == "pytest.mark.slow" for d in marks)
        for mark in (d for d in marks if isinstance(d, ast.Call)):
            name = ast.unparse(mark.func).removeprefix("pytest.mark.")
            control = any(k.arg == "control" and ast.literal_eval(k.value) for k in mark.keywords)
            if name in ("row", "case"):
                found += [Held(name, ast.literal_eval(a), control, slow) for a in mark.args]
    return found


MARKS = [mark for path in sorted(TESTS.rglob("test_*.py")) for mark in held(path.read_text("utf-8"))]
ROWS = {line[0]: line[3] for line in re.findall(r"^\| ([LRB]\d+) \| (.*) \| (.*) \| (.*) \|$", README, re.M)}
CASES = {int(number) for number in re.findall(r"^\| (\d+) \|", README, re.M)}


def missing(marks: list[Held]) -> list[str]:
    """What no test holds."""
    rows = [m for m in marks if m.mark == "row"]
    fast = {m.held for m in rows if not m.control and not m.slow}
    slow = {m.held for m in rows if not m.control and m.slow}
    controls = {m.held for m in rows if m.control}
    lacks = [f"{row}: no fast test" for row in ROWS if row not in fast]
    lacks += [f"{row}: no control" for row in ROWS if row not in controls]
    lacks += [f"{row}: no long test" for row, long in ROWS.items() if long.strip() and row not in slow]
    return lacks + [f"case {n}" for n in sorted(CASES - {m.held for m in marks if m.mark == "case"})]


def test_every_row_and_case_is_held():
    assert (len(ROWS), len(CASES)) == (40, 57)
    assert missing(MARKS) == []


def test_no_mark_names_what_the_table_does_not():
    assert {m.held for m in MARKS if m.mark == "row"} <= ROWS.keys()
    assert {m.held for m in MARKS if m.mark == "case"} <= CASES


@pytest.mark.parametrize("lost", ["row", "case"])
def test_a_mark_that_is_taken_off_is_missed(lost):
    """The control."""
    assert missing([m for m in MARKS if m.mark != lost])
    text = "import pytest\n@pytest.mark.slow\n@pytest.mark.row('R1', 'R2', control=True)\n@pytest.mark.case(3)\ndef test(): ..."
    assert held(text) == [Held("row", "R1", True, True), Held("row", "R2", True, True), Held("case", 3, False, True)]
