"""Progress: whole lines on stderr where there is no terminal, and nothing at all when asked to be quiet."""

import pytest

from builders.progress import Progress
from builders.unit import Unit
from lake.errors import LakeError
from lake.partition import Partition


def unit(index: int, rows: int = 16) -> Unit:
    return Unit("margins", (Partition("margins", "small", "fit", index),), rows=rows)


def test_a_table_ends_with_a_line(capsys):
    with Progress() as progress:
        progress.begin("margins", 2, 32, "models")
        progress.advance("margins", unit(0), [])
        progress.advance("margins", unit(1), [])
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("margins: 32 of 32 models, ")
    assert err.endswith("/s, 0 s left\n")
    assert err.count("\n") == 1


def test_a_failure_is_named_at_once_on_one_line_however_long(capsys):
    with Progress() as progress:
        progress.begin("margins", 2, 32, "models")
        progress.advance("margins", unit(0), LakeError("x" * 300 + " [bold]end[/bold]"))
        err = capsys.readouterr().err
    assert err == f"failed: margins/study=small/fit-00000.parquet: {'x' * 300} [bold]end[/bold]\n"


def test_nothing_to_do_says_nothing(capsys):
    with Progress() as progress:
        progress.begin("margins", 0, 0, "models")
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("outcome", [[], LakeError("no")])
def test_quiet_is_quiet(capsys, outcome):
    with Progress(quiet=True) as progress:
        progress.begin("margins", 1, 16, "models")
        progress.advance("margins", unit(0), outcome)
    assert capsys.readouterr() == ("", "")
