"""The command line: what lands on stdout, on stderr and in the exit code."""

import json
import re
import subprocess
import sys

import pytest

from lake.cli import run as run_app
from queries.__main__ import app
from queries.run import shipped

MARGINS = [{"model_id": i, "mask_id": 0, "test_accuracy": 0.5, "test_margin": [1, -1]} for i in range(2)]


@pytest.fixture
def call(monkeypatch, capfd):
    """A function from arguments to (exit code, stdout, stderr)."""
    monkeypatch.setattr("signal.signal", lambda *_: None)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["queries", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            run_app(app)
        return end.value.code, *capfd.readouterr()

    return run


def test_json_alone_on_stdout(call, lake_of):
    code, out, err = call(
        "run", "accuracy", "--lake", lake_of(margins=MARGINS).root, "--format", "json", "--param", "study=toy"
    )
    assert code == 0
    assert re.fullmatch(r"lake revision [0-9a-f]{12}; toy \(fingerprint f1\)\n", err)
    assert [(row["n_models"], row["test_accuracy"]) for row in json.loads(out)] == [(2, 0.5)]


def test_an_empty_lake_gives_an_empty_list_a_hint_and_exit_0(call, tmp_path):
    code, out, err = call("run", "lds", "--lake", tmp_path / "none", "--format", "json")
    assert (code, json.loads(out), err) == (0, [], "nothing there yet: make build-missing\n")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "proponents", "--param", "target_id=20; drop table x"],
        ["run", "proponents"],
        ["run", "proponents", "--params", "target_id=0 kk=3"],
        ["run", "proponents", "--params", "target_id='0"],
        ["run", "propnents"],
        ["run", "lds", "--format", "xml"],
        ["list", "--format", "csv"],
        ["show", "nothing"],
        ["summary", "--study", "missing.toml"],
    ],
)
def test_a_mistake_is_one_line_on_stderr_and_exit_2(call, arguments, tmp_path):
    code, out, err = call(*arguments, *(["--lake", tmp_path] if arguments[0] in ("run", "summary") else []))
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1


def test_param_and_params_add_up(call, lake_of):
    weights = [{"target_id": 1, "train_id": i, "weight": 1.0 + i} for i in range(4)]
    lake = lake_of(fits=[{"target_id": 1}], weights=weights)
    code, out, _ = call(
        "run", "proponents", "--param", "target_id=1", "--params", "k=2 study=toy", "--lake", lake.root, "--format", "csv"
    )
    assert code == 0
    assert [line.split(",")[0] for line in out.splitlines()] == ['"train_id"', "3", "2"]


def test_output_goes_to_a_file(call, lake_of, tmp_path):
    file = tmp_path / "rows.json"
    code, out, _ = call("run", "accuracy", "--lake", lake_of(margins=MARGINS).root, "--format", "json", "--output", file)
    assert (code, out) == (0, "")
    assert json.loads(file.read_text())[0]["n_ok"] == 2


def test_list_names_every_query_with_its_question(call):
    code, out, _ = call("list")
    assert code == 0
    assert all(f"{query.theme}/{name}" in out and query.question in out for name, query in shipped().items())
    described = {entry["name"]: entry for entry in json.loads(call("list", "--format", "json")[1])}
    assert described.keys() == shipped().keys()
    assert described["proponents"]["params"][1] == {
        **{"name": "k", "type": "integer", "default": "10", "allowed": "an integer from 1 to 1000000"},
        "meaning": "how many proponents",
    }


def test_show_prints_the_file(call):
    assert call("show", "lds")[1] == shipped()["lds"].sql


def test_check_exits_4_and_prints_the_failing_rows(call, lake_of):
    lake = lake_of(masks=[{"mask_id": 0, "mask": "10"}], margins=MARGINS)
    code, out, err = call("check", "--lake", lake.root)
    assert (code, err) == (0, "")
    assert out.count("holds") == len(out.splitlines()) >= 13
    orphans = lake_of(margins=MARGINS)
    code, out, err = call("check", "--lake", orphans.root)
    assert code == 4
    assert "fails  orphan_margins" in out
    assert err == "error: 1 check(s) found failing rows, printed above: orphan_margins\n"


def test_help_shows_examples_and_documents_every_option(call):
    for command in app.registered_commands:
        name = command.name or ""
        out = call(name, "--help")[1]
        assert "Example" in out
        assert f"python -m queries {name}" in out
        options = [line for line in out.splitlines() if line.strip("│ ").startswith("--")]
        assert all(len(line.split()) > 3 for line in options)


def test_start_is_light_and_json_is_clean_in_a_process_of_its_own(lake_of):
    lake = lake_of(margins=MARGINS)
    code = "import sys, queries.__main__; print(sorted({'torch', 'numba', 'sklearn', 'scipy', 'pandas', 'polars'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
    command = [sys.executable, "-m", "queries", "run", "failures", "--lake", str(lake.root), "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
    assert "make status" in done.stderr
