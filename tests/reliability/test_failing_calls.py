"""R3: the Nth call on the disk fails, for every N until the work passes: a clean error or success, and the next try succeeds."""

import errno
import itertools
import os
import sys
from collections.abc import Callable

import pytest
from fakehub import FakeHub
from fakehub_repo import Repo
from huggingface_hub import HfApi
from shim import watched
from world import audit, build, content, masks, small, stored

from builders import loop
from lake.__main__ import app
from lake.catalog import write_catalog
from lake.cli import run
from lake.content import content_hash
from lake.errors import LakeError
from lake.hub import Hub
from lake.migrate import migrate
from lake.mirror import Request
from lake.pull import pull
from lake.push import push
from lake.store import Lake
from lake.verify import verify

CODES = (errno.EIO, errno.ENOSPC, errno.EACCES)
"""EINTR is not among them: Python itself calls again (PEP 475)."""
WORK = {
    "publish": lambda lake: lake.publish(*masks(1)),
    "publish again": lambda lake: lake.publish(*masks(0)),
    "set aside": lambda lake: lake.quarantine(masks(0)[0]),
    "facts": lambda lake: lake.facts(lake.present("masks")),
    "sweep": lambda lake: lake.files.sweep(),
    "verify": lambda lake: audit(lake),
    "catalog": lambda lake: write_catalog(lake.root),
}


FEWEST = {"sweep": 1, "facts": 2}
"""Work that makes few calls."""


def fails_at(nth: int, code: int):
    """A `before` that fails the nth call, and the list of calls it saw."""
    seen = []

    def before(call: str, path) -> None:
        seen.append(call)
        if len(seen) == nth:
            raise OSError(code, os.strerror(code), str(path))

    return before, seen


def attempt(lake: Lake, work: Callable[[Lake], object], nth: int, code: int) -> tuple[str, int]:
    """How the work ended (`done`, `named` or the name of another error) when call `nth` failed, and how many calls it made."""
    before, seen = fails_at(nth, code)
    try:
        with watched(lake.root, before):
            work(lake)
    except LakeError:
        return "named", len(seen)
    except OSError as error:  # the command line tells it in one line when it says of which file
        return "named" if error.filename else f"{type(error).__name__} in {seen[-1]}", len(seen)
    return "done", len(seen)


@pytest.mark.parametrize("what", [w for w in WORK if w != "catalog"])
@pytest.mark.row("R3")
@pytest.mark.case(5)
def test_whichever_call_fails_nothing_is_lost_and_the_next_try_succeeds(tmp_path, tally, monkeypatch, what):
    assert _every_call(tmp_path, tally, monkeypatch, what, lambda nth: CODES[nth % len(CODES)]) > FEWEST.get(what, 5)


@pytest.mark.slow
@pytest.mark.parametrize("code", CODES, ids=errno.errorcode.get)
@pytest.mark.parametrize("what", WORK)
@pytest.mark.row("R3")
def test_whichever_call_fails_in_whichever_way(tmp_path, tally, monkeypatch, what, code):
    assert _every_call(tmp_path, tally, monkeypatch, what, lambda nth: code) > FEWEST.get(what, 5)


def _every_call(folder, tally, monkeypatch, what, code_of) -> int:
    """How many calls failed, one a lake."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # nothing is cut off here; the disk is shared
    unnamed, nth, made = [], 0, 0
    while made >= nth:
        nth += 1
        lake = Lake(folder / f"lake{nth}")
        lake.publish(*masks(0))
        ended, made = attempt(lake, WORK[what], nth, code_of(nth))
        unnamed += [f"call {nth}: {ended}"] if ended not in ("done", "named") else []
        lake.publish(*masks(0))
        WORK[what](lake)
        lake.publish(*masks(0))
        lake.files.sweep()
        assert verify(lake) == []
        assert content_hash(lake.read(masks(0)[0])) == content(0)
        assert list((lake.root / ".staging").iterdir()) == []
        tally(faults_injected=1, survived=1, named=ended == "named")
    tally(unnamed=len(unnamed))
    assert unnamed == []
    return nth


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """What a command does to the lake of a folder, by name: it is watched there, and sees the same world each time."""
    old, server = Lake(tmp_path / "old"), FakeHub()
    for index in range(3):
        old.publish(*masks(index))

    def hub(repo: str) -> Hub:
        return Hub(repo, api=HfApi(endpoint=server.url, token="hf_secretsecret"), pause=lambda seconds: None)

    def pushed(lake: Lake) -> None:
        migrate(old, lake)
        server.repos.setdefault(f"tester/{lake.root.name}", Repo())
        push(lake, hub(f"tester/{lake.root.name}"), Request(), lambda line: None).finish()

    with server:
        server.repos["tester/old"] = Repo()
        push(old, hub("tester/old"), Request(), lambda line: None).finish()
        yield {
            "build": lambda lake: loop.check(build(lake, small())),
            "pull": lambda lake: pull(lake, hub("tester/old"), Request(), lambda line: None).finish(),
            "push": pushed,
            "migrate": lambda lake: migrate(old, lake),
        }


@pytest.mark.parametrize(
    ("what", "stride", "fewest"),
    [
        ("migrate", 11, 4),
        ("pull", 19, 4),
        pytest.param("migrate", 1, 40, marks=pytest.mark.slow),
        pytest.param("pull", 1, 80, marks=pytest.mark.slow),
        pytest.param("push", 1, 60, marks=pytest.mark.slow),
        pytest.param("build", 11, 40, marks=pytest.mark.slow),
    ],
)
@pytest.mark.row("R3")
def test_whichever_call_of_a_command_fails_the_same_command_ends_it(
    tmp_path, tally, monkeypatch, commands, what, stride, fewest
):
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    work, whole = commands[what], Lake(tmp_path / "whole")
    work(whole)
    unnamed, tried = [], 0
    for nth in itertools.count(1, stride):
        lake = Lake(tmp_path / f"lake{nth}")
        lake.root.mkdir()
        ended, made = attempt(lake, work, nth, CODES[nth % len(CODES)])
        unnamed += [f"call {nth}: {ended}"] if ended not in ("done", "named") else []
        work(lake)
        assert stored(lake) == stored(whole)
        assert audit(lake) == []
        if made < nth:
            break
        tally(faults_injected=1, survived=1, named=ended == "named")
        tried += 1
    tally(unnamed=len(unnamed))
    assert unnamed == []
    assert tried >= fewest


@pytest.mark.parametrize("code", CODES, ids=errno.errorcode.get)
def test_a_failing_disk_is_one_line_at_the_command_line(sample, monkeypatch, capsys, code):
    def before(call: str, path) -> None:
        if call == "scandir":
            raise OSError(code, os.strerror(code), str(path))

    monkeypatch.setattr(sys, "argv", ["lake", "verify", "--lake", str(sample.root)])
    with watched(sample.root, before), pytest.raises(SystemExit) as end:
        run(app)
    assert end.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {sample.root}")
    assert os.strerror(code) in line


@pytest.mark.row("R3", control=True)
def test_a_writer_to_the_final_name_does_not_pass(tmp_path):
    """The control: the same failures leave a torn file where something writes without staging."""
    bad = 0
    for nth in range(1, 12):
        lake = Lake(tmp_path / f"lake{nth}")
        lake.publish(*masks(0))
        source = (lake.root / masks(0)[0].path).read_bytes()
        before, _ = fails_at(nth, errno.EIO)
        try:
            with watched(lake.root, before), (lake.root / masks(1)[0].path).open("xb") as sink:
                for at in range(0, len(source), 512):
                    sink.write(source[at : at + 512])
        except OSError:
            bad += audit(lake) != []
    assert bad >= 3
