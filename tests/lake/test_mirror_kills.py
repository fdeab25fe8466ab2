"""kill -9 at each kind of request of a push and of a pull; then the plain command finishes, and nothing is torn or doubled."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lake.store import Lake
from lake.verify import verify

ROOT = Path(__file__).parents[2]
N = 8
slow = pytest.mark.slow


@pytest.fixture
def command(server, tmp_path):
    """Runs `python -m lake ...` against the fake Hub; with `at`, kills it just before that request is answered."""
    home = {"HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path / "home"), "HF_TOKEN": "hf_secretsecret"}

    def run(*arguments: object, at: tuple[str, str] | None = None) -> int:
        process = subprocess.Popen(
            [sys.executable, "-m", "lake", *map(str, arguments)],
            env={**os.environ, **home, "PYTHONPATH": str(ROOT)},
            cwd=tmp_path,
        )
        if at:
            server.meet(*at, lambda: (os.kill(process.pid, signal.SIGKILL), process.wait()))
        return process.wait(timeout=60)

    return run


@pytest.fixture
def filled(lake, rows_of, facts_of):
    """A lake of a few partitions."""
    from lake.partition import Partition

    for index in range(N):
        partition = Partition("masks", "half", "fit", index)
        lake.publish(partition, rows_of(partition), facts_of(partition))
    return lake


@pytest.mark.parametrize(
    "at",
    [
        pytest.param(("GET", "/tree/"), marks=slow),
        pytest.param(("POST", "/preupload"), marks=slow),
        pytest.param(("PUT", "/_lfs/"), marks=slow),
        ("POST", "/commit/"),  # the commit is made all the same
    ],
)
@pytest.mark.row("R1")
def test_a_killed_push_is_finished_by_the_next(server, command, filled, at, tally):
    repo = server.repos["tester/lake"]
    assert command("push", "tester/lake", "--lake", filled.root, at=at) == -signal.SIGKILL
    assert len(repo.messages) == (2 if "/commit/" in at[1] else 1)
    assert command("push", "tester/lake", "--lake", filled.root) == 0
    assert repo.messages[1:] == [f"Add {N} partition(s): masks", "Describe the tables and studies"]
    assert server.count("PUT") <= N + 1
    commits = len(repo.messages)
    assert command("push", "tester/lake", "--lake", filled.root) == 0
    assert len(repo.messages) == commits
    tally(kills=1, acknowledged=N)


@pytest.mark.parametrize(
    "at",
    [
        pytest.param(("GET", "/tree/"), marks=slow),
        pytest.param(("HEAD", "/resolve/"), marks=slow),
        pytest.param(("GET", "/_lfs/"), marks=slow),
    ],
)
@pytest.mark.row("R1")
def test_a_killed_pull_is_finished_by_the_next(server, command, filled, tmp_path, at, tally):
    assert command("push", "tester/lake", "--lake", filled.root) == 0
    target = Lake(tmp_path / "target")
    assert command("pull", "tester/lake", "--lake", target.root, at=at) == -signal.SIGKILL
    assert verify(target, deep=True) == []
    assert len(target.present("masks")) < N
    assert command("pull", "tester/lake", "--lake", target.root) == 0
    assert {p: filled.files.sha256(p) for p in filled.files.list()} == {p: target.files.sha256(p) for p in target.files.list()}
    assert not (target.root / ".lake" / "stage").exists()
    tally(kills=1, acknowledged=N)
