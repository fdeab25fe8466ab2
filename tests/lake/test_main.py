"""The command line of the lake: exit codes, one line an error, and SQL that reads."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lake import verify
from lake.__main__ import app
from lake.cli import run
from lake.partition import Partition

FIT = Partition("masks", "half", "fit", 0)
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def command(monkeypatch, capsys):
    """Run `python -m lake ...` in this process; return exit code, output and messages."""
    monkeypatch.setattr(verify, "entry_points", lambda group: [])
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["lake", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            run(app)
        return ended.value.code, *capsys.readouterr()

    yield call
    for number, handler in kept.items():
        signal.signal(number, handler)


def test_a_clean_lake_exits_0_and_a_damaged_one_4(sample_copy):
    """As a user runs it, in processes of their own."""

    def call():
        arguments = [sys.executable, "-m", "lake", "verify", "--lake", str(sample_copy.root)]
        return subprocess.run(arguments, capture_output=True, text=True, check=False, cwd=REPOSITORY)

    clean = call()
    assert (clean.returncode, clean.stdout) == (0, "")
    assert f"{len(sample_copy.files.list())} files" in clean.stderr
    assert "0 problem(s)" in clean.stderr
    (sample_copy.root / FIT.path).write_bytes(b"")
    damaged = call()
    assert damaged.returncode == 4
    assert damaged.stdout == f"{FIT.path}: is empty. {verify.SET_ASIDE}\n"
    assert damaged.stderr.splitlines()[-1] == f"error: 1 problem(s) in {sample_copy.root}, listed above"


def test_quarantine_sets_aside_and_the_next_check_is_clean(command, sample_copy):
    (sample_copy.root / FIT.path).write_bytes(b"")
    code, out, _ = command("verify", "--lake", sample_copy.root, "--quarantine")
    assert code == 4
    assert f"{FIT.path}: set aside as .quarantine/" in out
    assert command("verify", "--lake", sample_copy.root, "--deep")[:2] == (0, "")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("verify", "--lake", "nowhere"), 2, "error: there is no lake in nowhere"),
        (("verify", "--colour"), 2, "No such option"),
        (("mystery",), 2, "No such command"),
        (("sql", "selct 1", "--lake", "{lake}"), 2, "syntax error"),
        (("sql", "from nothing", "--lake", "{lake}"), 2, "nothing does not exist"),
        (("sql", "select alpa from masks", "--lake", "{lake}"), 2, "alpa"),
        (("sql", "drop view masks", "--lake", "{lake}"), 2, "one SELECT statement is allowed here, got drop"),
        (("sql", "copy masks to 'x.csv'", "--lake", "{lake}"), 2, "one SELECT statement is allowed here, got copy"),
        (("sql", "with c as (copy masks to 'x.csv') from c", "--lake", "{lake}"), 2, "got select, copy"),
        (("sql", "from read_text('/etc/hostname')", "--lake", "{lake}"), 2, "calls read_text"),
    ],
)
def test_mistakes_are_told_without_a_stack_trace(command, sample, tmp_path, monkeypatch, arguments, code, message):
    monkeypatch.chdir(tmp_path)
    ended, out, err = command(*(argument.format(lake=sample.root) for argument in arguments))
    assert (ended, out) == (code, "")
    assert message in err
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_sql_answers(command, sample):
    code, out, err = command("sql", "select role, count(*) as n from masks group by role order by role", "--lake", sample.root)
    assert (code, err) == (0, "")
    assert [line.split() for line in out.splitlines() if " 6 " in line] == [
        ["│", "fit", "│", "6", "│"],
        ["│", "heldout", "│", "6", "│"],
    ]


def test_sql_works_on_a_lake_that_is_not_there_yet(command, tmp_path):
    code, out, _ = command("sql", "select count(*) as n from margins", "--lake", tmp_path / "lake")
    assert code == 0
    assert "0" in out


def test_the_prompt_goes_on_after_a_mistake(command, sample, monkeypatch):
    typed = iter(["select 41 +", "1 as answer;", "drop view masks;", "selct;", "show tables;"])
    monkeypatch.setattr("builtins.input", lambda prompt: next(typed, None) or (_ for _ in ()).throw(EOFError))
    code, out, err = command("sql", "--lake", sample.root)
    assert code == 0
    assert "42" in out
    assert "margins" in out
    assert "got drop" in err
    assert "syntax error" in err


def test_the_catalog_is_written_and_named(command, sample_copy):
    code, out, _ = command("catalog", "--lake", sample_copy.root)
    assert (code, out.strip()) == (0, str(sample_copy.root / "lake.duckdb"))
    assert Path(out.strip()).stat().st_size > 0


@pytest.mark.parametrize("name", ["verify", "sql", "catalog", "migrate"])
def test_every_command_explains_itself(command, name):
    code, out, _ = command(name, "--help")
    assert code == 0
    assert f"python -m lake {name}" in out


def test_ctrl_c_ends_with_130_and_says_what_is_safe(command, sample, monkeypatch):
    monkeypatch.setattr("lake.__main__.find_problems", lambda *arguments: signal.raise_signal(signal.SIGINT))
    code, _, err = command("verify", "--lake", sample.root)
    assert code == 130
    assert "every published partition is safe" in err


def test_a_reader_that_leaves_is_no_stack_trace():
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as closed:
        arguments = [sys.executable, "-m", "lake", "tables"]
        done = subprocess.run(arguments, stdout=closed, stderr=subprocess.PIPE, text=True, check=False, cwd=REPOSITORY)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr


def test_a_signal_ends_with_128_and_its_number(command, sample, monkeypatch):
    monkeypatch.setattr("lake.__main__.find_problems", lambda *arguments: signal.raise_signal(signal.SIGTERM))
    assert command("verify", "--lake", sample.root)[0] == 128 + signal.SIGTERM


@pytest.mark.row("R6")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_that_a_library_makes_an_error_of_is_still_a_stop(command, sample, monkeypatch, number, code):
    """As when it comes while one is imported: compiled modules then say that their initialization failed."""

    def imported(*arguments: object) -> None:
        try:
            signal.raise_signal(number)
        except BaseException as error:
            raise ImportError("initialization failed") from error

    monkeypatch.setattr("lake.__main__.find_problems", imported)
    ended, _, err = command("verify", "--lake", sample.root)
    assert ended == code
    assert "is safe" in err
    assert "Traceback" not in err


def test_a_bug_keeps_its_stack_trace(monkeypatch, sample):
    monkeypatch.setattr("lake.__main__.find_problems", lambda *arguments: 1 / 0)
    monkeypatch.setattr(sys, "argv", ["lake", "verify", "--lake", str(sample.root)])
    with pytest.raises(ZeroDivisionError):
        run(app)
