"""L1-L4: many models, files, writers and rounds."""

import json
import os
import resource
import time
from itertools import pairwise
from pathlib import Path

import pytest
from world import BY_WORKERS, ROOT, audit, content, masks, small_toml, start

from lake.catalog import connect
from lake.content import content_hash
from lake.store import Lake

CROWD = Path(__file__).with_name("crowd.py")

ASK = """
import json, re, resource, sys, time
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
from lake.catalog import connect
from lake.store import Lake
from lake.verify import verify
lake, took = Lake(sys.argv[1]), {}
def timed(name, work):
    began = time.perf_counter()
    found = work()
    took[name] = round(time.perf_counter() - began, 2)
    return found
present = timed("present", lambda: lake.present("masks"))
timed("facts", lambda: lake.facts(present))
timed("facts again", lambda: lake.facts(present))
problems = timed("verify", lambda: verify(lake))
connection = timed("connect", lambda: connect(lake.root))
rows = timed("count", lambda: connection.execute("select count(*) from masks").fetchone()[0])
timed("limit", lambda: connection.execute("select * from masks limit 51").fetchall())
timed("partitions", lambda: connection.execute("select sum(rows) from partitions").fetchall())
used = int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024  # ru_maxrss counts the parent in
bar = connection.execute("select current_setting('enable_progress_bar')").fetchone()[0]
print(json.dumps({"bar": bar, "files": len(present), "rows": rows, "problems": len(problems), "MB": round(used), **took}))
"""


def fill(lake: Lake, n_files: int) -> None:
    """Publish many files of few rows, without waiting for the disk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        for index in range(n_files):
            lake.publish(*masks(index))


def ask(lake: Lake) -> dict:
    """What a process that may open 64 files finds, in how many seconds, with how much memory."""
    process = start("-c", ASK, lake.root, cwd=ROOT)
    out, err = process.communicate()
    assert process.returncode == 0, err
    return json.loads(out)


@pytest.mark.row("L1")
@pytest.mark.case(22, 23)
def test_files_are_asked_with_few_open(lake, tally):
    fill(lake, 100)
    found = ask(lake)
    assert (found["files"], found["rows"], found["problems"]) == (100, 300, 0)
    assert found["MB"] < 1_000
    assert found["bar"] is False
    tally(acknowledged=100)
    assert (lake.root / masks(0)[0].path).stat().st_size < 4_000  # lists and bits: a footer that does not grow with examples


@pytest.mark.slow
@pytest.mark.row("L1")
@pytest.mark.case(23)
def test_4700_files_are_asked_with_few_open(lake, tally, capsys):
    fill(lake, 4_700)
    found = ask(lake)
    assert (found["files"], found["rows"], found["problems"]) == (4_700, 14_100, 0)
    assert found["MB"] < 2_000
    tally(acknowledged=4_700)
    with capsys.disabled():
        print(f"\n4,700 files: {found}")


@pytest.mark.slow
@pytest.mark.row("L1")
def test_5000_models_in_one_go(tmp_path, tally, capsys):
    toml = small_toml(tmp_path, models=5_000, partition_models=256, heldout_masks=64, heldout_repeats=8, pool=32, curve=[1_000])
    command = ("-c", BY_WORKERS, "build-missing", "--study", toml, "--lake", tmp_path / "lake", "--workers", 2)
    began = time.perf_counter()
    process = start(*command, cwd=ROOT)
    _, err = process.communicate()
    used = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    assert process.returncode == 0, err
    lake = Lake(tmp_path / "lake")
    assert sum(f.rows for f in lake.facts(lake.present("margins", "small")).values()) >= 5_000 + 512
    assert audit(lake, lambda size: tally(bytes_hashed=size)) == []
    assert used < 2_000
    tally(acknowledged=len(lake.present("margins")))
    took = {"build": time.perf_counter() - began}
    for asked in (
        *(
            (name, "-m", "builders", *rest, "--study", toml)
            for name, *rest in (("status", "status"), ("dry run", "build-missing", "--dry-run"))
        ),
        *((name, "-m", "queries", "run", name) for name in ("lds", "accuracy", "memorization", "how_many_models", "failures")),
    ):
        began = time.perf_counter()
        process = start(*asked[1:], "--lake", lake.root, cwd=ROOT)
        _, err = process.communicate()
        assert process.returncode == 0, err
        took[asked[0]] = time.perf_counter() - began
    with capsys.disabled():
        print(f"\n5,000 models, {used:.0f} MB: " + ", ".join(f"{name} {seconds:.1f} s" for name, seconds in took.items()))


@pytest.mark.row("L1", control=True)
def test_a_reader_that_holds_every_file_open_does_not_get_far(lake):
    fill(lake, 80)
    holds = "import resource, sys, pathlib; resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))\n"
    holds += "held = [path.open() for path in pathlib.Path(sys.argv[1]).rglob('*.parquet')]\n"
    process = start("-c", holds, lake.root)
    _, err = process.communicate()
    assert "Too many open files" in err


def crowd(root: Path, writers: list[str], turns: int, seconds: float = 0) -> tuple[list[int], int, list[str]]:
    """(indices acknowledged, looks, errors) of so many writers and two readers."""
    readers, stop = [start(CROWD, "read", root, 0, 0, seed) for seed in (8, 9)], root.with_name("stop")
    processes = [start(CROWD, what, root, turns, seconds, seed) for seed, what in enumerate(writers)]
    said = [process.communicate() for process in processes]
    stop.touch()
    said += [process.communicate() for process in readers]
    assert [process.returncode for process in (*processes, *readers)] == [0] * len(said), said
    lines = [line for out, _ in said for line in out.splitlines()]
    errors = [line for line in lines if line.startswith("error")]
    looks = sum(int(line.split()[1]) for line in lines if line.startswith("looks"))
    return [int(line) for line in lines if line.isdigit()], looks, errors


def hold(lake: Lake, turns: int, seconds: float, tally) -> tuple[int, int]:
    """How many publishes were acknowledged, none of them lost, and how often the readers looked."""
    acknowledged, looks, errors = crowd(lake.root, ["write"] * 4, turns, seconds)
    lost = [i for i in set(acknowledged) if content_hash(lake.read(masks(i)[0])) != content(i)]
    tally(acknowledged=len(acknowledged), lost=len(lost))
    assert errors == []
    assert lost == []
    assert audit(lake, lambda size: tally(bytes_hashed=size)) == []
    return len(acknowledged), looks


@pytest.mark.row("L2")
@pytest.mark.case(35)
def test_writers_and_readers_at_once(lake, tally):
    acknowledged, looks = hold(lake, 13, 0, tally)
    assert acknowledged >= 50
    assert looks >= 2


@pytest.mark.slow
@pytest.mark.row("L2")
def test_writers_and_readers_for_ten_minutes(lake, tally):
    acknowledged, looks = hold(lake, 0, 600, tally)
    assert acknowledged >= 500
    assert looks >= 100


@pytest.mark.row("L2", control=True)
@pytest.mark.slow
def test_readers_notice_writers_to_the_final_name(lake):
    _, _, errors = crowd(lake.root, ["write_straight"] * 2, 20)
    assert errors


def index_of(lake: Lake, n_files: int) -> tuple[list[bytes], float]:
    """Files of many partitions whose footers alone are right; the footer cache as made twice, and processor seconds of one."""
    lake.publish(*masks(100_000_000 + n_files))
    template = (lake.root / masks(100_000_000 + n_files)[0].path).read_bytes()
    place = b"%d" % (100_000_000 + n_files)
    for index in range(100_000_000, 100_000_000 + n_files):
        (lake.root / masks(0)[0].path).with_name(f"fit-{index}.parquet").write_bytes(template.replace(place, b"%d" % index))
    made, began = [], time.process_time()
    for _ in range(2):
        (lake.root / ".lake" / "footers").unlink(missing_ok=True)
        assert len(lake.facts(lake.present("masks"))) == n_files + 1
        made.append((lake.root / ".lake" / "footers").read_bytes())
    return made, (time.process_time() - began) / 2


@pytest.mark.row("L3")
def test_the_footer_cache_is_made_anew_equal_by_byte(lake):
    (first, second), _ = index_of(lake, 200)
    assert first == second


@pytest.mark.slow
@pytest.mark.row("L3")
def test_100000_footers_are_read_and_cached(lake, capsys):
    (first, second), seconds = index_of(lake, 100_000)
    assert first == second
    assert seconds < 30  # L3 says so; of the processor, which others may be busy with
    took = []
    for work in (lambda: lake.present("masks"), lambda: lake.facts(lake.present("masks"))):
        began = time.perf_counter()
        assert len(work()) == 100_001
        took.append(time.perf_counter() - began)
    with capsys.disabled():
        print(
            f"\n100,000 files: cache made in {seconds:.1f} s, listed in {took[0]:.1f} s, facts from the cache in {took[1]:.1f} s"
        )


@pytest.mark.row("L3", control=True)
def test_the_footer_cache_of_other_files_is_other_bytes(lake):
    (first, _), _ = index_of(lake, 10)
    lake.publish(*masks(1))
    lake.facts(lake.present("masks"))
    assert (lake.root / ".lake" / "footers").read_bytes() != first


def resident() -> int:
    """Bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def grown(lake: Lake, marks: tuple[int, ...], keep: list | None = None) -> tuple[list[float], int]:
    """Share by which memory grew from one mark to the next, in rounds of publish, verify, ask and set aside; files left open."""
    memory, files = [], 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        for number in range(marks[-1] + 1):
            if number in marks:
                memory.append(resident())
                files = files or len(os.listdir("/proc/self/fd"))
            lake.publish(*masks(number % 50))
            assert audit(lake) == []
            rows = connect(lake.root).execute("select count(*) from masks").fetchone() if number % 10 == 0 else None
            kept = lake.root / lake.quarantine(masks(number % 50)[0])
            kept.unlink()
            if keep is not None:
                keep.append((rows, os.open(lake.root, os.O_RDONLY), bytearray(b"x" * (4 << 20))))
    assert list((lake.root / ".staging").iterdir()) == []
    return [after / before - 1 for before, after in pairwise(memory)], len(os.listdir("/proc/self/fd")) - files


@pytest.mark.row("L4")
def test_rounds_leave_nothing_behind(lake):
    [share], files = grown(lake, (11, 31))
    assert share < 0.1
    assert files <= 0


@pytest.mark.slow
@pytest.mark.row("L4")
def test_2000_rounds_leave_nothing_behind_and_twice_as_many_take_no_more(lake, tally, capsys):
    shares, files = grown(lake, (200, 500, 1_000, 2_000))
    tally(acknowledged=2_000)
    assert sum(shares) < 0.05
    assert max(shares[1:]) < 0.03  # each time the rounds double
    assert files <= 0
    with capsys.disabled():
        print(f"\n2,000 rounds: memory grew by {', '.join(f'{share:.2%}' for share in shares)}")


@pytest.mark.row("L4", control=True)
@pytest.mark.slow
def test_rounds_that_keep_something_are_seen_to(lake):
    kept = []
    [share, twice], files = grown(lake, (11, 31, 61), kept)
    for _, descriptor, _ in kept:
        os.close(descriptor)
    assert files >= 50
    assert share > 0.01
    assert twice > 0.03
