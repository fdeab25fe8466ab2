"""The command line: examples that can be copied, mistakes that end with 2 in one line, and nothing imported in vain."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import builders
from builders import study
from builders.__main__ import seconds_of, shard_of
from lake.errors import UsageError
from lake.partition import Partition

COMMANDS = ("build-missing", "status", "studies")


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_an_example_and_every_option(command, name):
    ended = command("builders", name, "--help")
    assert ended.code == 0
    assert f"python -m builders {name}" in ended.out
    options = set(re.findall(r"--[a-z-]+", ended.out.split("Options:")[1])) - {"--help"}
    assert len(options) >= {"build-missing": 7, "status": 4, "studies": 0}[name]


def test_help_without_a_command_lists_them(command):
    ended = command("builders", "--help")
    assert ended.code == 0
    assert all(name in ended.out for name in COMMANDS)


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["build-missing", "--stduy", "tiny"], "No such option: --stduy"),
        (["build-mising"], "No such command 'build-mising'"),
        (["build-missing", "--models", "many"], "Invalid value for '--models'"),
        (["build-missing", "--models", "0"], "models: Input should be greater than or equal to 1, got 0"),
        (["build-missing", "--study", "tinny"], "no study 'tinny': shipped are "),
        (["build-missing", "--study", "nowhere.toml"], "no file nowhere.toml"),
        (["build-missing", "--workers", "-1"], "Invalid value for '--workers'"),
        (["build-missing", "--budget", "10"], "budget '10': write a number and a unit, such as 90s, 30m or 2h"),
        (["build-missing", "--shard", "0/2"], "shard '0/2': write i/n with 1 <= i <= n, such as 2/4"),
        (["build-missing", "--study", "tiny", "--engine", "spark"], "no engine 'spark': choose one of local, ray, slurm"),
        (["build-missing", "--engine", "ray", "--mirror", "a/b"], "with --engine ray build first, then push"),
        (["status", "--format", "xml"], "--format 'xml': choose table or json"),
        (["studies", "tiny"], "unexpected extra argument"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
@pytest.mark.row("B14")
def test_a_mistake_ends_with_2_and_says_what_is_allowed(command, lake, monkeypatch, tmp_path, arguments, wanted):
    monkeypatch.chdir(tmp_path)
    ended = command("builders", *arguments)
    assert ended.code == 2
    assert wanted in ended.err
    assert "Traceback" not in ended.err
    assert ended.out == ""
    assert list(tmp_path.iterdir()) == []


def test_a_study_with_mistakes_ends_with_2_in_one_line(command, study_file, tmp_path):
    ended = command("builders", "build-missing", "--study", study_file(alpha=7, modles=3), "--lake", tmp_path / "lake")
    assert ended.code == 2
    assert ended.err.count("\n") == 1
    assert "alpha: Input should be less than 1, got 7" in ended.err
    assert "modles is not a field of a study; did you mean models?" in ended.err


def test_a_dry_run_prints_the_plan_and_builds_nothing(command, lake, study_file):
    ended = command("builders", "build-missing", "--study", study_file(), "--lake", lake.root, "--dry-run", "--workers", 2)
    assert ended.code == 0
    assert re.search(
        r"dry run: 12 piece\(s\) of work missing, about \d+ s on 2 worker\(s\) \(a guess until .*nothing was built", ended.out
    )
    assert re.search(r"margins +0 +4", ended.out)
    assert not lake.root.exists()


def test_a_build_ends_with_what_it_did_and_a_second_with_nothing_to_do(command, lake, study_file):
    options = ("--study", study_file(), "--lake", lake.root, "--workers", 1)
    first = command("builders", "build-missing", *options)
    assert first.code == 0
    assert "study small: added 1 examples, 1 neighbours, 4 masks, 4 margins, " in first.out
    assert "64 models trained" in first.out
    second = command("builders", "build-missing", *options)
    assert second.code == 0
    assert second.out == f"study small: nothing to do, every partition is in {lake.root}\n"


def test_a_budget_that_is_spent_ends_with_5_and_the_next_command_finishes(command, lake, study_file, built, contents):
    options = ("--study", study_file(), "--lake", lake.root, "--workers", 1)
    ended = command("builders", "build-missing", *options, "--budget", "0s")
    assert ended.code == 5
    assert ended.err.splitlines()[-1] == "error: 12 piece(s) of work remain: run the same command again to go on"
    assert contents(lake) == {}
    assert command("builders", "build-missing", *options, "--budget", "9h").code == 0
    assert contents(lake) == contents(built)


def test_a_shard_ends_with_5_until_the_last_one(command, lake, study_file, built, contents):
    options = ("--study", study_file(), "--lake", lake.root, "--workers", 1)
    assert command("builders", "build-missing", *options, "--shard", "2/2").code == 5
    assert [p.index for p in lake.present("margins")] == [1]
    assert command("builders", "build-missing", *options, "--shard", "1/2").code == 0
    assert contents(lake) == contents(built)


def test_more_models_on_the_command_line_only_add(command, built_copy, study_file):
    before = {p.path for p in built_copy.present("margins")}
    options = ("--study", study_file(curve=[]), "--lake", built_copy.root, "--workers", 1, "--models", 64)
    assert command("builders", "build-missing", *options).code == 0
    assert {p.path for p in built_copy.present("margins")} - before == {Partition("margins", "small", "fit", 3).path}
    assert Partition("weights", "small", "lasso", 64) in built_copy.present("weights")


def test_a_failed_partition_ends_with_1_and_is_named(own, command, lake, study_file):
    name = own("def prepare(data):\n    def train(group):\n        raise RuntimeError('no\\nsuch luck')\n    return train")
    options = ("--study", study_file(algorithm={"name": f"{name}:prepare"}), "--lake", lake.root, "--workers", 1)
    ended = command("builders", "build-missing", *options)
    assert ended.code == 1
    assert (
        ended.err.count("every model failed, first with: RuntimeError: no such luck") == 5
    )  # four as they end, one at the end
    last = ended.err.splitlines()[-1]
    assert last.startswith("error: 4 piece(s) of work failed, the others are safe; first: margins/study=small/")


def test_the_shipped_studies_are_listed_with_what_they_are(command):
    lines = command("builders", "studies").out.splitlines()
    assert [line.split()[0] for line in lines] == study.shipped()
    assert all(len(line.split()) > 5 for line in lines)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("2h", 7200), ("1.5h", 5400), (" 2 h ", 7200), ("0s", 0)]
)
def test_budgets(text, seconds):
    assert seconds_of(text) == seconds
    assert seconds_of("") is None


@pytest.mark.parametrize("text", ["10", "-5s", "5x", "1e3s", "nans", "h", "5 s m", "٣s", "5h30m", " "])
def test_budgets_that_are_none(text):
    with pytest.raises(UsageError, match=r"^budget .*: write a number and a unit"):
        seconds_of(text)


@pytest.mark.parametrize(("text", "shard"), [("1/1", (1, 1)), ("2/4", (2, 4)), (" 4/4 ", (4, 4))])
def test_shards(text, shard):
    assert shard_of(text) == shard


@pytest.mark.parametrize("text", ["", "1", "0/2", "3/2", "1/0", "a/b", "-1/2", "1/2/3", "1.0/2", "²/3"])
def test_shards_that_are_none(text):
    with pytest.raises(UsageError, match=r"^shard .*: write i/n with 1 <= i <= n"):
        shard_of(text)


def test_a_build_with_nothing_to_do_imports_no_library_that_computes(command, lake, study_file):
    """A pinned dataset needs no images, and a finished study no network and no solver."""
    dataset, recipe = {"source": "digits", "n_train": 200, "n_test": 100}, {"name": "patchnet", "widths": [4], "epochs": 1}
    fields = {"dataset": dataset, "algorithm": recipe, "models": 16, "curve": [], "estimators": ["difference"]}
    path = study_file(**fields)
    assert command("builders", "build-missing", "--study", path, "--lake", lake.root, "--workers", 1).code == 0
    code = f"""
import runpy, sys
sys.argv = ["builders", "build-missing", "--study", {str(path)!r}, "--lake", {str(lake.root)!r}]
try:
    runpy.run_module("builders", run_name="__main__")
except SystemExit as end:
    print(end.code, sorted({{"torch", "numba", "sklearn", "scipy", "polars", "pandas"}} & set(sys.modules)))
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(builders.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=path.parent)
    assert "nothing to do" in done.stdout
    assert done.stdout.splitlines()[-1] == "0 []"


def test_a_look_at_a_lake_imports_only_what_reads_it(lake, study_file):
    """DuckDB, fsspec and what computes take longer to import than 4,700 footers to read."""
    path = study_file(dataset={"source": "digits", "n_train": 200, "n_test": 100})
    code = """
import runpy, sys
try:
    runpy.run_module("builders", run_name="__main__")
except SystemExit as end:
    print(end.code, sorted({"torch", "numba", "sklearn", "duckdb", "fsspec", "asyncio", "pyarrow.compute"} & set(sys.modules)))
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(builders.__file__).parents[1])}
    asked = [sys.executable, "-c", code, "status", "--study", str(path), "--lake", str(lake.root)]
    done = subprocess.run(asked, capture_output=True, text=True, env=environment, cwd=path.parent)
    assert "masks" in done.stdout, done.stderr
    assert done.stdout.splitlines()[-1] == "0 []"
