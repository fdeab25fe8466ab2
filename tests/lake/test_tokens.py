"""B12: the token stands in no message, trace, log, file, address, argument or picture of an object, whatever fails."""

import logging
import os
import subprocess
import sys
import traceback
from pathlib import Path

import pytest

from lake.errors import LakeError
from lake.mirror import Request
from lake.partition import Partition
from lake.pull import diff, pull
from lake.push import push
from lake.store import Lake

TOKEN = "hf_secretsecretsecret"
ROOT = Path(__file__).parents[2]


def fail(server, how: str) -> None:
    """Let the next requests go wrong, each in that way, with the token in what comes back."""
    said = {
        "body": f'{{"error": "{TOKEN} is bad"}}'.encode(),
        "headers": {"X-Error-Message": f"token {TOKEN}", "Retry-After": "1"},
    }
    for method, pattern in (
        ("POST", "/commit/"),
        ("GET", "/tree/"),
        ("POST", "/preupload"),
        ("GET", "/resolve/"),
        ("PUT", "/_lfs/"),
    ):
        if how == "cut":
            server.cut(method, pattern, answer=20, times=40)
        elif how == "html":
            server.fail(method, pattern, 200, times=40, body=f"<html>{TOKEN}</html>".encode())
        else:
            server.fail(method, pattern, int(how), times=40, **said)


@pytest.mark.row("B12")
@pytest.mark.case(54)
@pytest.mark.parametrize("how", ["401", "403", "500", "cut", "html"])
def test_no_failure_tells_the_token(lake, server, hub_of, rows_of, facts_of, how, caplog, capfd, tally):
    caplog.set_level(logging.INFO)  # on DEBUG the HTTP library writes down what the other side says, word for word
    partition, told = Partition("masks", "half", "fit", 0), []
    lake.publish(partition, rows_of(partition), facts_of(partition))
    hub = hub_of(token=TOKEN)
    push(lake, hub, Request(), told.append)
    fail(server, how)
    lake.publish(other := Partition("masks", "half", "fit", 1), rows_of(other), facts_of(other))
    for work in (push, pull, diff):
        try:
            done = work(lake, hub, Request(), told.append)
            told += [repr(done)]
        except LakeError as error:
            told += [str(error), traceback.format_exc()]
    told += [repr(hub), str(hub), repr(lake), caplog.text, *capfd.readouterr(), *(path for _, path, _ in server.requests)]
    told += [path.read_bytes().decode("latin-1") + path.name for path in lake.root.rglob("*") if path.is_file()]
    assert TOKEN not in "\n".join(told)
    tally(faults_injected=5, survived=5, named=1)


@pytest.mark.row("B12", control=True)
def test_the_token_is_in_what_the_hub_says(lake, server, hub_of):
    fail(server, "403")
    with pytest.raises(Exception, match=TOKEN):
        hub_of(token=TOKEN).api.list_repo_files("tester/lake", repo_type="dataset")


@pytest.mark.row("B12")
@pytest.mark.slow
def test_the_command_line_keeps_the_token_to_itself(lake, server, tmp_path, rows_of, facts_of, tally):
    partition = Partition("masks", "half", "fit", 0)
    lake.publish(partition, rows_of(partition), facts_of(partition))
    fail(server, "403")
    home = {
        "HF_ENDPOINT": server.url,
        "HF_HOME": str(tmp_path / "home"),
        "HF_TOKEN": TOKEN,
        "HF_DEBUG": "1",
        "PYTHONPATH": str(ROOT),
    }
    for command in (["push", "tester/lake"], ["pull", "tester/lake"], ["doctor"]):
        done = subprocess.run(
            [sys.executable, "-m", "lake", *command, "--lake", str(lake.root)],
            **{"env": {**os.environ, **home}, "capture_output": True, "text": True, "timeout": 100, "check": False},
        )
        assert TOKEN not in done.stdout + done.stderr
        assert (done.returncode == 0) is (command == ["doctor"])
    kept = [path.read_bytes() for path in Lake(tmp_path).root.rglob("*") if path.is_file()]
    assert not any(TOKEN.encode() in data for data in kept)
    tally(faults_injected=2, survived=2, named=2)
