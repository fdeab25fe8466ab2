"""Building through a mirror: machines that know nothing of each other end with one whole study, and a stop loses nothing."""

import threading
from functools import partial
from types import SimpleNamespace

import pytest
from fakehub import FakeHub
from fakehub_repo import Repo
from huggingface_hub import HfApi
from huggingface_hub.utils import _http

from builders import loop, turns
from builders.progress import Progress
from builders.sharing import build_shared
from lake.errors import IncompleteError, LakeError
from lake.hub import Hub
from lake.store import Lake
from lake.verify import verify


@pytest.fixture
def server(monkeypatch):
    """A fake Hub with an empty repo."""
    monkeypatch.setattr(_http, "time", SimpleNamespace(**{**vars(_http.time), "sleep": lambda seconds: None}))
    with FakeHub() as fake:
        fake.repos["tester/lake"] = Repo()
        yield fake


@pytest.fixture
def machine(server, tmp_path, small):
    """Builds the small study on a machine of that name; returns its lake, report and exit code's cause."""

    def run(name: str, shard=(1, 1), **options: object):
        lake, lines = Lake(tmp_path / name), []
        hub = Hub("tester/lake", api=HfApi(endpoint=server.url, token="hf_secretsecret"), pause=lambda seconds: None)
        chosen = loop.Options(shard=shard, **options)
        report, outcome = build_shared(lake, small, chosen, hub, Progress(quiet=True), lines.append)
        outcome.finish()
        return SimpleNamespace(lake=lake, report=report, lines=lines)

    return run


def partitions(server) -> set[str]:
    return {path for path in server.repos["tester/lake"].tree if path.endswith(".parquet")}


def test_what_one_machine_built_the_next_one_pulls(server, machine):
    first = machine("first")
    assert first.report.left == 0
    assert partitions(server) == set(first.lake.files.list()) - {"lake.duckdb"}
    second = machine("second")
    assert second.report.models == 0
    assert sum(second.report.added.values()) == 0
    assert verify(second.lake, deep=True) == []


def test_turns_end_with_a_push(server, machine, monkeypatch):
    monkeypatch.setattr(turns, "EVERY", 1)
    done = machine("one")
    assert done.report.models == 64
    assert len(done.lines) >= 4
    assert sum(m.startswith("Add") for m in server.repos["tester/lake"].messages) >= 4


def test_machines_at_once_build_one_study(server, machine, monkeypatch):
    monkeypatch.setattr(turns, "EVERY", 1)
    done = []
    threads = [threading.Thread(target=lambda i=i: done.append(machine(f"m{i}", shard=(i, 3)))) for i in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [d.report.left for d in done] == [0, 0, 0]
    last = machine("last")
    assert last.report.models == 0
    assert verify(last.lake, deep=True) == []
    assert partitions(server) == set(last.lake.files.list()) - {"lake.duckdb"}


@pytest.mark.row("R7")
def test_a_stop_leads_to_a_last_push(server, machine, monkeypatch):
    real, calls = loop.build_unit, []

    def stopped(*arguments):
        calls.append(arguments)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(loop, "build_unit", stopped)
    with pytest.raises(KeyboardInterrupt):
        machine("stopped")
    assert len(partitions(server)) >= 3
    monkeypatch.setattr(loop, "build_unit", real)
    assert machine("elsewhere").report.left == 0  # a new machine, which has only what was pushed
    assert len(calls) == 4


def test_a_token_that_expires_in_mid_run_costs_no_model(server, machine, monkeypatch, tmp_path, contents):
    monkeypatch.setattr(turns, "EVERY", 1)
    happens = partial(server.expired.add, "hf_secretsecret")
    for _ in range(3):  # with the third commit: that of the second turn
        happens = partial(server.meet, "POST", "/commit/", happens)
    happens()
    with pytest.raises(LakeError, match="the Hub answered 401: no token, one that has expired") as raised:
        machine("one")
    assert "hf_secretsecret" not in str(raised.value)
    before = contents(Lake(tmp_path / "one"))
    assert before.keys() > partitions(server)
    server.expired.clear()
    again = machine("one")
    assert contents(again.lake).items() > before.items()
    assert again.report.models == 64 - 16 * sum(path.startswith("margins/") for path in before)
    assert partitions(server) == contents(again.lake).keys()


def test_a_mirror_that_does_not_answer_puts_the_push_off(server, machine, monkeypatch):
    monkeypatch.setattr(turns, "EVERY", 1)
    server.fail("POST", "/commit/", 503, times=12)
    done = machine("one")
    assert any("put off" in line for line in done.lines)
    assert partitions(server) == set(done.lake.files.list()) - {"lake.duckdb"}
    server.fail("POST", "/commit/", 503, times=1000)
    server.repos["tester/lake"] = Repo()
    with pytest.raises(IncompleteError):
        machine("two")
