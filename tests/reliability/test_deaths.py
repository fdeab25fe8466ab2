"""R1, R5-R10: processes that die, sleep, run twice or out of memory, signals at any moment, and clocks that lie."""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from world import BY_WORKERS, ROOT, build, content, masks, small, small_toml, start, stored

from lake.content import content_hash
from lake.errors import ConflictError
from lake.store import Lake
from lake.verify import verify

FAULTS = ROOT / "tests" / "lake" / "faults.py"


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> dict[str, str]:
    """Contents of the small study, built in one go."""
    lake = Lake(tmp_path_factory.mktemp("undisturbed") / "lake")
    build(lake, small())
    return stored(lake)


def kills(lake: Lake, n_kills: int, seed: int) -> list[int]:
    """Index of every partition that was acknowledged by writers, each of which is killed at a random moment."""
    process = start(FAULTS, "kill", lake.root, n_kills, seed, "publish")
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert len(out.splitlines()) == n_kills
    return [int(index) for index in out.split()]


@pytest.mark.slow
@pytest.mark.row("R1")
def test_a_thousand_kills_lose_nothing(tmp_path, tally):
    acknowledged = 0
    for seed in range(20):
        lake = Lake(tmp_path / f"lake{seed}")
        told = kills(lake, 50, 1_000 + seed)
        present = {p.index for p in lake.present("masks")}
        lost = set(told) - present
        acknowledged += len(told)
        tally(kills=50, acknowledged=len(told), lost=len(lost))
        assert lost == set(), seed
        assert verify(lake, True, lambda path, size: tally(bytes_hashed=size)) == [], seed
        shutil.rmtree(lake.root)
    assert acknowledged > 10 * 1_000


TOO_MUCH = """
import numpy as np, resource, sys
from pathlib import Path
from builders.training.interface import Logits

def prepare(data):
    def train(group):
        if Path("hungry").exists() and 20 in group.order_ids:
            resource.setrlimit(resource.RLIMIT_AS, (1 << 20, resource.getrlimit(resource.RLIMIT_AS)[1]))
            np.zeros(10**9)
        shape = (len(group.masks), len(data.train_labels), data.n_classes)
        logits = np.cumsum(np.ones(shape, np.float32), 0) * (1 + group.order_ids[:, None, None] % 7)
        return Logits(logits.astype(np.float32), logits[:, : len(data.test_labels)].astype(np.float32))
    return train
"""


@pytest.mark.row("R5")
@pytest.mark.case(38)
@pytest.mark.slow
def test_a_unit_that_finds_no_memory_is_named_and_the_rest_is_built(tmp_path, tally):
    (tmp_path / "hungry.py").write_text(TOO_MUCH)
    (tmp_path / "hungry").touch()
    toml = small_toml(tmp_path, algorithm={"name": "hungry:prepare"}, estimators=["difference"], curve=[])
    command = ("-c", BY_WORKERS, "build-missing", "--study", toml, "--lake", tmp_path / "lake", "--workers", 2)
    process = start(*command, cwd=tmp_path)
    _, err = process.communicate()
    assert process.returncode == 1
    assert "margins/study=small/fit-00001.parquet" in err
    assert "MemoryError" in err or "worker died" in err
    lake = Lake(tmp_path / "lake")
    assert {p.name for p in lake.present("margins")} == {"fit-00000", "fit-00002", "heldout-00000"}
    (tmp_path / "hungry").unlink()
    process = start(*command, cwd=tmp_path)
    _, err = process.communicate()
    assert process.returncode == 0, err
    assert verify(lake, deep=True) == []
    tally(faults_injected=1, survived=1, named=1)


@pytest.mark.row("R5", "R6", control=True)
def test_a_worker_that_dies_without_being_watched_is_waited_for(tmp_path):
    """What the engine guards against: the standard pool waits for ever for the result of a worker that was killed."""
    code = "import multiprocessing, os\nmultiprocessing.Pool(2).apply_async(os._exit, (1,)).get(3)\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert "TimeoutError" in done.stderr


@pytest.mark.slow
@pytest.mark.row("R6")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda how: how.name)
def test_a_signal_at_twenty_moments(tmp_path, undisturbed, tally, how):
    rng, toml, lake, stopped = random.Random(how), small_toml(tmp_path), Lake(tmp_path / "lake"), 0
    command = ("-c", BY_WORKERS, "build-missing", "--study", toml, "--lake", lake.root, "--workers", 2)
    for turn in range(20):
        process = start(*command, cwd=ROOT)
        time.sleep(rng.uniform(0.5, 5))
        process.send_signal(how)
        if turn % 3 == 0:
            time.sleep(rng.uniform(0, 0.2))
            process.send_signal(how)
        _, err = process.communicate(timeout=120)
        assert process.returncode in (0, 128 + how, -how), err
        if process.returncode == 128 + how:
            stopped += 1
            assert "is safe" in err
        before = stored(lake) if lake.root.exists() else {}
        assert before.items() <= undisturbed.items()
        if before == undisturbed:
            shutil.rmtree(lake.root)
        tally(kills=1, acknowledged=len(before))
    build(lake, small())
    assert stored(lake) == undisturbed
    assert stopped >= 5


@pytest.mark.slow
@pytest.mark.row("R8")
def test_the_same_task_two_hundred_times_at_once(lake, tally):
    process = start(FAULTS, "race", lake.root, 200, 2, "publish")
    out, err = process.communicate()
    assert process.returncode == 0, err
    for index, found in enumerate(zip(*out.split(), strict=True)):
        assert sorted(found) == sorted("W" + ("A" if index % 2 == 0 else "C"))
    assert verify(lake, deep=True) == []
    tally(acknowledged=200, faults_injected=200, survived=200)


SLEEPER = """
import sys
sys.path.insert(0, sys.argv[2])
from world import masks
from lake.errors import ConflictError
from lake.store import Lake
lake = Lake(sys.argv[1])
real = lake.files.claim
def claim(staged, path):
    print("staged", flush=True)
    sys.stdin.readline()
    return real(staged, path)
lake.files.claim = claim
try:
    print("new" if lake.publish(*masks(0)).new else "already there")
except ConflictError as error:
    print("conflict")
"""


@pytest.fixture
def sleeper(lake):
    """A writer that has staged its file and is stopped before it gives it a name."""
    process = start("-c", SLEEPER, lake.root, Path(__file__).parent, stdin=subprocess.PIPE, cwd=ROOT)
    assert process.stdout.readline() == "staged\n"
    process.send_signal(signal.SIGSTOP)
    yield process
    process.kill()
    process.communicate()


@pytest.mark.row("R9")
@pytest.mark.case(31)
@pytest.mark.parametrize(("alpha", "said"), [(0.5, "already there"), (0.25, "conflict")])
def test_a_writer_that_wakes_up_late_publishes_nothing_over_the_new(lake, sleeper, tally, alpha, said):
    assert lake.files.sweep() == 0  # it sleeps, and is not dead
    assert lake.publish(*masks(0, alpha)).new
    sleeper.send_signal(signal.SIGCONT)
    out, _ = sleeper.communicate("go\n")
    assert (out.strip(), sleeper.returncode) == (said, 0)
    assert content_hash(lake.read(masks(0)[0])) == content(0, alpha)
    assert list((lake.root / ".staging").iterdir()) == []
    tally(faults_injected=1, survived=1, named=1, acknowledged=1)


@pytest.mark.row("R9", control=True)
def test_a_writer_that_dies_asleep_is_swept_away(lake, sleeper):
    sleeper.kill()
    sleeper.wait()
    assert lake.files.sweep() == 1
    assert list((lake.root / ".staging").iterdir()) == []


@pytest.mark.row("R9")
@pytest.mark.case(26, 27)
def test_locks_of_the_dead_and_of_other_hosts_keep_nobody_waiting(lake, tally):
    for folder, name in ((".staging", "0123456789abcdef.lock"), (".lake", "mirror.lock"), (".staging", "x.lock")):
        (lake.root / folder).mkdir(parents=True, exist_ok=True)
        (lake.root / folder / name).write_text("host: another.example.org, pid: 1, since: 1970")
    assert lake.publish(*masks(0)).new
    assert lake.files.sweep() == 2
    from lake.mirror_state import alone

    with alone(lake.root / ".lake", patience=0.0):
        tally(faults_injected=3, survived=3)


YEARS = 10 * 365 * 86_400


@pytest.mark.row("R10")
@pytest.mark.case(32)
@pytest.mark.xdist_group("undisturbed")
def test_clocks_and_times_of_files_decide_nothing(tmp_path, undisturbed, monkeypatch, tally):
    rng, lake = random.Random(0), Lake(tmp_path / "lake")
    real = time.time

    def jumping() -> float:
        return rng.choice([0.0, 1.0, real() + YEARS, real() - YEARS, real() + 3_600])

    monkeypatch.setattr(time, "time", jumping)
    build(lake, small(), shard=(1, 2))
    for number, path in enumerate(sorted(lake.root.rglob("*"))):
        then = [0, 1, real() + YEARS, real() - YEARS][number % 4]
        os.utime(path, (then, then))
    build(lake, small())
    assert stored(lake) == undisturbed
    assert build(lake, small()).added == {}
    assert verify(lake, deep=True) == []
    tally(faults_injected=4, survived=4, acknowledged=len(undisturbed))


@pytest.mark.row("R10", control=True)
def test_a_cache_by_time_alone_would_be_fooled(lake):
    """Why the footer cache is keyed by size and time, and every build plans from names: equal times, other rows."""
    lake.publish(*masks(0))
    path = lake.root / masks(0)[0].path
    before = path.stat()
    lake.quarantine(masks(0)[0])
    lake.publish(*masks(0, 0.25, n_masks=5))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    [facts] = Lake(lake.root).facts(lake.present("masks")).values()
    assert facts.content == content_hash(masks(0, 0.25, n_masks=5)[1])


@pytest.mark.row("R10")
def test_no_module_asks_what_time_it_is():
    """But the engines of many machines, where a wrong clock may keep a unit from starting, and no more."""
    modules = [
        path for package in ("lake", "builders") for path in (ROOT / package).rglob("*.py") if path.parent.name != "engines"
    ]
    assert [path.name for path in modules if re.search(r"time\.time\(|datetime\.now|getmtime", path.read_text())] == []
    assert len(modules) > 40


@pytest.mark.row("R7")
@pytest.mark.case(36, 37)
@pytest.mark.xdist_group("undisturbed")
def test_what_was_pushed_is_enough_when_the_machine_is_gone(tmp_path, undisturbed, monkeypatch, tally):
    """`here` is lost with half a build that was pushed and more that was not; the next machine knows no name of a run."""
    from fakehub import FakeHub
    from fakehub_repo import Repo
    from huggingface_hub import HfApi

    from lake.hub import Hub
    from lake.mirror import Request
    from lake.pull import pull
    from lake.push import push

    with FakeHub() as server:
        server.repos["tester/lake"] = Repo()

        def hub() -> Hub:
            return Hub("tester/lake", api=HfApi(endpoint=server.url, token="hf_secretsecret"), pause=lambda seconds: None)

        here, there = Lake(tmp_path / "here"), Lake(tmp_path / "another" / "name")
        build(here, small(), shard=(1, 2))
        push(here, hub(), Request(), lambda line: None)
        pushed = stored(here)
        build(here, small())  # not pushed
        shutil.rmtree(here.root)
        pull(there, hub(), Request(), lambda line: None)
        assert stored(there) == pushed
        report = build(there, small())
        assert stored(there) == undisturbed
        assert sum(report.added.values()) == len(undisturbed) - len(pushed)
        assert 0 < report.models < 64
        tally(faults_injected=1, survived=1, acknowledged=len(pushed))


@pytest.mark.row("R7", control=True)
@pytest.mark.slow
def test_what_was_not_pushed_is_lost_with_the_machine(tmp_path, undisturbed):
    here = Lake(tmp_path / "here")
    build(here, small())
    shutil.rmtree(here.root)
    assert build(here, small()).models == 64


def test_threads_of_one_process_race_too(lake):
    """Threads share a process and its locks: one wins each name, all agree."""
    found: list[bool | str] = []

    def put(alpha: float) -> None:
        try:
            found.append(Lake(lake.root).publish(*masks(0, alpha)).new)
        except ConflictError:
            found.append("conflict")

    threads = [threading.Thread(target=put, args=(0.5 if i % 2 else 0.25,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found.count(True) == 1
    assert found.count(False) == 3
    assert found.count("conflict") == 4
