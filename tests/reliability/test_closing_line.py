"""The closing line itself: what it adds up, and that a run fails by it though every test passed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from closing_line import LEAST

HERE = Path(__file__).parent


@pytest.fixture
def run(tmp_path):
    """Runs tests with this body and the plugin; (exit code, what was printed, the kept line)."""

    def pytest_run(body: str, *options: str) -> tuple[int, str, dict]:
        (tmp_path / "test_inner.py").write_text(f"import pytest, time\n\n\n{body}\n")
        command = [sys.executable, "-m", "pytest", "-p", "closing_line", "-p", "no:cacheprovider", "-c", "/dev/null"]
        done = subprocess.run(
            [*command, "--rootdir", tmp_path, "--closing-line", tmp_path / "line.json", *options, tmp_path / "test_inner.py"],
            **{"capture_output": True, "text": True, "timeout": 100, "check": False, "cwd": tmp_path},
            env={"PYTHONPATH": str(HERE), "PATH": "/usr/bin:/bin", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        )
        kept = tmp_path / "line.json"
        return done.returncode, done.stdout, json.loads(kept.read_text()) if kept.exists() else {}

    return pytest_run


ENOUGH = "def test_enough(tally):\n    tally(" + ", ".join(f"{name}={count}" for name, count in LEAST.items()) + ")\n"


@pytest.mark.parametrize("options", [(), ("-p", "xdist", "-n", "2")], ids=["one process", "two"])
def test_what_tests_count_is_added_up_wherever_they_ran(run, options):
    body = (
        ENOUGH
        + "\n\n@pytest.mark.skip('no tmpfs')\ndef test_skipped(): ...\n\n\ndef test_more(tally):\n    tally(named=2)\n    tally(named=1)\n"
    )
    code, out, line = run(body, *options)
    assert code == 0
    assert "nothing lost: kills" in out
    assert line["kills"] == LEAST["kills"]
    assert (line["named"], line["lost"], line["skipped"]) == (3, 0, 1)
    assert line["skipped_because"] == ["test_inner.py::test_skipped: no tmpfs"]


@pytest.mark.parametrize("wrong", ["lost", "unnamed", "accepted_wrongly", "hangs"])
def test_a_run_fails_by_its_line_though_its_tests_pass(run, wrong):
    code, out, line = run(f"{ENOUGH}    tally({wrong}=1)\n")
    assert (code, line[wrong]) == (1, 1)
    assert f"failed: {wrong.replace('_', ' ')} 1" in out


def test_a_run_that_tried_too_little_fails(run):
    code, out, _ = run("def test_little(tally):\n    tally(kills=1)\n")
    assert code == 1
    assert f"failed: kills 1, at least {LEAST['kills']:,} are due" in out


def test_a_test_that_hangs_ends_and_is_counted(run):
    code, _, line = run(f"{ENOUGH}\n\n@pytest.mark.limit(1)\ndef test_hangs():\n    time.sleep(60)\n")
    assert (code, line["hangs"]) == (1, 1)


def test_a_misspelt_count_is_refused(tally):
    with pytest.raises(KeyError, match="nothing counts"):
        tally(kils=1)
