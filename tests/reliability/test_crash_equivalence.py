"""Item 4 of the promise: whatever schedule of kills, restarts, shards and budgets, the finished lake is the undisturbed one."""

import random
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from shim import watched
from world import BY_WORKERS, ROOT, build, masks, small, small_toml, start, stored

from lake.store import Lake


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> dict[str, str]:
    """Contents of the small study, built in one go."""
    lake = Lake(tmp_path_factory.mktemp("undisturbed") / "lake")
    build(lake, small())
    return stored(lake)


@pytest.fixture
def ray_head(monkeypatch) -> Iterator[None]:
    """A Ray cluster of one node, found through RAY_ADDRESS."""
    cluster_utils = pytest.importorskip("ray.cluster_utils", reason="ray is not installed")
    monkeypatch.setenv("RAY_worker_niceness", "0")  # else a busy machine lets its workers wait for minutes
    head = {"num_cpus": 2, "object_store_memory": 100_000_000, "include_dashboard": False}
    cluster = cluster_utils.Cluster(initialize_head=True, head_node_args=head)
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    yield
    cluster.shutdown()


def killed_build(lake: Lake, nth: int, **options: object) -> bool:
    """Build, and leave the folder as it was at the nth call on it; whether the build came so far."""
    seen, aside = [], lake.root.with_name("at-the-kill")

    class Kill(BaseException):
        pass

    def before(call: str, path: Path) -> None:
        seen.append(call)
        if len(seen) == nth:
            shutil.copytree(lake.root, aside)
            raise Kill

    try:
        with watched(lake.root, before):
            build(lake, small(), **options)
    except Kill:
        shutil.rmtree(lake.root)
        aside.rename(lake.root)
        return True
    return False


def disturb(lake: Lake, rng: random.Random) -> int:
    """One schedule of one to four disturbed builds; how many were killed."""
    kills = 0
    for _ in range(rng.randint(1, 4)):
        shard = rng.choice([(1, 1), (1, 2), (2, 2), (2, 3)])
        if rng.random() < 0.75:
            kills += killed_build(lake, rng.randint(1, 900), shard=shard)
        else:
            build(lake, small(), shard=shard, seconds=rng.choice([0.0, 0.2]))
        if rng.random() < 0.3:
            shutil.rmtree(lake.root / ".lake", ignore_errors=True)
    return kills


def check_schedules(tmp_path, undisturbed, seeds, tally, audited) -> int:
    """Every schedule ends in the undisturbed lake; how many kills there were."""
    kills = 0
    for seed in seeds:
        lake = Lake(tmp_path / f"lake{seed}" / "lake")
        lake.root.mkdir(parents=True)
        kills += disturb(lake, random.Random(seed))
        acknowledged = stored(lake)
        assert acknowledged.items() <= undisturbed.items(), seed
        build(lake, small())
        assert stored(lake) == undisturbed, seed
        assert build(lake, small()).added == {}
        assert audited(lake) == []
        assert list((lake.root / ".staging").iterdir()) == []
        tally(acknowledged=len(acknowledged))
        shutil.rmtree(lake.root)
    tally(kills=kills)
    return kills


@pytest.mark.row("R1")
@pytest.mark.case(28, 30, 34)
def test_disturbed_builds_end_in_the_undisturbed_lake(tmp_path, undisturbed, tally, audited):
    assert check_schedules(tmp_path, undisturbed, range(6), tally, audited) >= 6


@pytest.mark.slow
@pytest.mark.row("R1")
def test_many_disturbed_builds_end_in_the_undisturbed_lake(tmp_path, undisturbed, tally, audited):
    assert check_schedules(tmp_path, undisturbed, range(100, 300), tally, audited) >= 200


def test_a_lake_with_a_foreign_partition_is_not_the_undisturbed_one(tmp_path, undisturbed):
    """The control."""
    lake = Lake(tmp_path / "lake")
    build(lake, small())
    lake.publish(*masks(0))
    assert stored(lake) != undisturbed
    build(second := Lake(tmp_path / "second"), small(seed=1))
    assert len({path for path, content in stored(second).items() if undisturbed[path] != content}) >= 10


@pytest.mark.slow
@pytest.mark.row("R1", "R6")
def test_builds_that_are_killed_for_real_end_in_the_undisturbed_lake(tmp_path, undisturbed, tally):
    assert killed_for_real(tmp_path, undisturbed, LOCAL, 10, tally) >= 15


@pytest.mark.slow
@pytest.mark.row("R1")
def test_builds_on_ray_that_are_killed_end_in_the_undisturbed_lake(ray_head, tmp_path, undisturbed, tally):
    """And go on with another engine than the one that was killed."""
    assert killed_for_real(tmp_path, undisturbed, [("--engine", "ray", "--workers", 2), *LOCAL[:1]], 2, tally) >= 2


@pytest.mark.slow
@pytest.mark.row("R1")
def test_builds_on_slurm_that_are_killed_end_in_the_undisturbed_lake(slurm, tmp_path, undisturbed, tally):
    """And go on here, and there again, while jobs of the killed may still be at work."""
    assert killed_for_real(tmp_path, undisturbed, [("--engine", "slurm", "--workers", 2), *LOCAL[:1]], 2, tally) >= 2


LOCAL = [("--workers", 2), ("--workers", 1), ("--workers", 2, "--shard", "1/2"), ("--workers", 1, "--shard", "2/2")]


def wait_for(lake: Lake, n_files: int, process) -> None:
    """Until so many partitions are there, or the process has ended: kills by the clock may all come before the first."""
    while process.poll() is None and len(list(lake.root.glob("*/*/*.parquet"))) < n_files:
        time.sleep(0.02)


def killed_for_real(folder: Path, undisturbed: dict[str, str], ways: list[tuple], n_lakes: int, tally) -> int:
    """Build so many lakes, each four times killed, in ways drawn by chance, and then to the end; how many were killed."""
    rng, study, kills, acknowledged = random.Random(7), small_toml(folder), 0, 0
    for number in range(n_lakes):
        lake = Lake(folder / f"lake{number}")
        command = ("-c", BY_WORKERS, "build-missing", "--study", study, "--lake", lake.root)
        for turn, how in enumerate((signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL)):
            process = start(*command, *(rng.choice(ways) if turn else ways[0]), cwd=ROOT)
            wait_for(lake, rng.randint(0, 4 * turn + 3), process)
            time.sleep(rng.uniform(0, 0.3))
            if process.poll() is None:
                process.send_signal(how)
                kills += 1
            _, err = process.communicate(timeout=120)
            assert process.returncode in (0, 5, -how, 128 + how), err  # 5: the other shard is not there yet
            found = stored(lake) if lake.root.exists() else {}
            assert found.items() <= undisturbed.items()
            acknowledged += len(found)
        process = start(*command, "--workers", 2, cwd=ROOT)
        _, err = process.communicate(timeout=240)
        assert process.returncode == 0, err
        assert stored(lake) == undisturbed
    tally(kills=kills, acknowledged=acknowledged)
    assert acknowledged >= 5 * n_lakes
    return kills
