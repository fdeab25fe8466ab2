"""Each guard of the mirror, taken out once, is missed by a test: the suite holds them in place."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

GUARDS = {
    "commits name their parent": ("hub.py", "parent_commit=parent", "parent_commit=None", "between_plan_and_commit"),
    "a batch is judged again": ("push.py", "elif there != row.remote:", "elif False:", "between_plan_and_commit"),
    "what has landed is recognised": ("push.py", "if there == row.local:", "if False:", "neither_loses_nor_doubles"),
    "conflicts stay": ("mirror.py", '"changed-remote" if local == base else "conflict"', '"changed-remote"', "no_clobber"),
    "downloads are hashed": ("pull.py", '"sha256").hexdigest() == row.remote', '"sha256").hexdigest()', "swapped_download"),
    "downloads are sealed": (
        "pull.py",
        "if not parquet.seal_holds(source):",
        "if False:",
        "changed_before_it",
    ),
    "downloads are named": ("pull.py", "facts.partition != partition", "False", "another_one_is_not_taken"),
    "rows are those of the footer": ("pull.py", "if content_hash(rows) != facts.content:", "if False:", "lies_about_its_rows"),
    "builders are not overwritten": (
        "pull.py",
        "elif lake.files.sha256(row.path) != row.local:",
        "elif False:",
        "builder_that",
    ),
    "listings are checked": ("hub.py", 'if path.startswith("/") or', "if False and", "leads_out"),
    "damaged files are not sent": ("push.py", 'return "damaged"', 'return ""', "damaged_local"),
    "renamed files are not sent": ("push.py", "if facts.partition == parse_path(path)", "if True", "renamed_locally"),
    "what is sent was planned": ("push.py", ".sha256.hex() != row.local", ".sha256.hex() is None", "changes_while"),
    "a limit is obeyed": ("hub.py", "max(unsure.seconds, ", "max(0.0, ", "rate_limit"),
    "a long wait ends the run": ("hub.py", "if unsure.seconds > LONGEST_WAIT:", "if False:", "quota"),
    "attempts are bounded": ("hub.py", "TRIES = 12", "TRIES = 40", "giving_up"),
    "refusals stop": ("hub.py", "or status in _HEALING or", "or True or", "stops_at_once"),
    "tokens are cut out": ("hub.py", 'text.replace(secret, "<token>")', "text", "token_is_never_told"),
    "studies are not mixed": ("mirror.py", "found.add(owner)", "pass", "never_mixed"),
    "removals stay": ("mirror.py", '"removed-remote" if local == base', '"new-local" if local == base', "deletion"),
    "one at a time": ("mirror_state.py", "while not _locked(lock.fileno()):", "while False:", "two_pushes"),
    "dry runs are dry": ("push.py", "if not request.dry_run:", "if True:", "dry_run"),
    "plain blobs are not taken": ("pull.py", 'row.remote.startswith("git:")', "False", "link_in_the_repo"),
    "one bad file is left": ("push.py", "if len(failed) >= min(FEW, len(self.files)):", "if True:", "hold_up"),
    "state may be damaged": (
        "mirror_state.py",
        "except (OSError, ValueError, RecursionError):",
        "except OSError:",
        "damaged_state",
    ),
}


def outcome(folder: Path, selection: str) -> int:
    """Exit code of the mirror's tests, some of them, on the code in `folder`."""
    options = ["-x", "-p", "no:cacheprovider", "-o", "addopts=--import-mode=importlib", "-k", selection]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "tests/lake/test_mirror.py", *options],
        **{"cwd": folder, "capture_output": True, "timeout": 120, "env": {**os.environ, "PYTHONPATH": str(folder)}},
    )
    return done.returncode


@pytest.fixture
def folder(tmp_path):
    """A copy of the code and of the mirror's tests."""
    for part in ("lake", "tests/lake"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "tests/reliability").mkdir()
    plugins = ("tests/reliability/closing_line.py", "tests/reliability/local_slurm.py")
    for file in ("tests/conftest.py", *plugins, "pyproject.toml"):
        shutil.copy(ROOT / file, tmp_path / file)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("guard", GUARDS)
@pytest.mark.row("R11", "R12", "R14", "R15", "B7", "B12", control=True)
def test_a_guard_that_is_taken_out_is_missed(folder, guard):
    file, text, without, selection = GUARDS[guard]
    source = (folder / "lake" / file).read_text()
    assert text in source
    (folder / "lake" / file).write_text(source.replace(text, without, 1))
    assert outcome(folder, selection) == 1


@pytest.mark.slow
def test_with_every_guard_the_same_tests_pass(folder):
    assert outcome(folder, " or ".join(selection for *_, selection in GUARDS.values())) == 0
