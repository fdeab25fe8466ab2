"""The folder of a lake: order of the publish, failing calls, full and read-only disks, links, and the sweep of leftovers."""

import errno
import os
import resource
import subprocess
from functools import partial

import numpy as np
import pyarrow as pa
import pytest

from lake.errors import CorruptError, LakeError
from lake.partition import Partition
from lake.store import Lake
from lake.verify import verify

MASKS = Partition("masks", "half", "fit", 0)


@pytest.fixture
def put(rows_of, facts_of):
    """Publish a partition of a lake, with masks of `n_bytes` random bytes each if asked."""

    def publish(lake, index=0, n_bytes=0):
        partition = Partition("masks", "half", "fit", index)
        rows = rows_of(partition)
        if n_bytes:
            bits = np.random.default_rng(index).bytes(n_bytes)
            rows = rows.set_column(5, rows.schema.field("mask"), pa.array([bits] * 3, pa.binary()))
        return lake.publish(partition, rows, facts_of(partition))

    return publish


@pytest.fixture
def mounted(tmp_path):
    """Mount a small file system in memory, to be filled or made read-only; skipped where that is not allowed."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("no mount command here")
    if done.returncode:
        pytest.skip(f"mounting is not allowed here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def leftovers(lake: Lake) -> list[str]:
    return [path.name for path in (lake.root / ".staging").iterdir()]


def test_a_file_is_synced_before_its_name_and_the_name_before_the_acknowledgement(lake, put, monkeypatch):
    (lake.root / ".staging").mkdir(parents=True)
    calls, fsync, link = [], os.fsync, os.link

    def traced_fsync(descriptor):
        target = os.readlink(f"/proc/self/fd/{descriptor}") if os.path.exists("/proc/self/fd") else ""
        calls.append(f"fsync {os.path.relpath(target, lake.root) if '.staging' not in target else 'staged'}")
        fsync(descriptor)

    def traced_link(source, target):
        calls.append("link")
        link(source, target)

    monkeypatch.setattr(os, "fsync", traced_fsync)
    monkeypatch.setattr(os, "link", traced_link)
    expected = ["fsync staged", "link", "fsync masks/study=half", "fsync masks", "fsync ."]
    for new in (True, False):
        calls.clear()
        assert put(lake).new is new
        assert calls == expected


@pytest.mark.parametrize(
    "code", [errno.EIO, errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT, errno.EFBIG], ids=errno.errorcode.get
)
@pytest.mark.parametrize("nth", range(1, 8))
def test_whichever_call_fails_the_name_is_absent_or_whole_and_the_next_try_succeeds(lake, put, monkeypatch, nth, code):
    lake.root.mkdir()
    made = []

    def failing(real):
        def call(*arguments, **options):
            made.append(real)
            if len(made) == nth:
                raise OSError(code, os.strerror(code))
            return real(*arguments, **options)

        return call

    with monkeypatch.context() as patch:
        for name in ("mkdir", "fsync", "link", "unlink"):
            patch.setattr(os, name, failing(getattr(os, name)))
        with pytest.raises(LakeError, match=r"disk|cannot write|takes no file"):
            put(lake)
    assert len(made) >= nth
    assert len(lake.files.list()) <= 1
    assert verify(lake, deep=True) == []
    put(lake)
    assert not put(lake).new
    lake.files.sweep()
    assert [name for name in leftovers(lake) if not name.endswith(".lock")] == []


@pytest.mark.row("R4")
@pytest.mark.case(40)
def test_a_full_disk_is_one_line_and_the_same_command_goes_on_after_room_is_made(mounted, put):
    (mounted / "ballast").write_bytes(bytes(500_000))
    lake = Lake(mounted / "lake")
    put(lake, 0, 100_000)
    with pytest.raises(LakeError, match=r"disk full: .*\.staging has \d\.\d MB free.*run the same command again"):
        list(map(partial(put, lake, n_bytes=100_000), range(1, 9)))
    done = lake.present("masks")
    assert 0 < len(done) < 8
    assert verify(lake, deep=True) == []
    assert leftovers(lake) == []
    (mounted / "ballast").unlink()
    assert [put(lake, index, 100_000).new for index in range(len(done) + 1)] == [False] * len(done) + [True]


def test_a_limit_on_the_size_of_files_is_one_line(lake, put):
    put(lake)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(LakeError, match="takes no file of this size"):
            put(lake, 1, 50_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(lake.files.list()) == [MASKS.path]
    assert leftovers(lake) == []


@pytest.mark.row("R19")
def test_a_read_only_disk_is_one_line_and_can_still_be_read(mounted, put, sample):
    lake = Lake(mounted / "lake")
    put(lake)
    expected = lake.facts(lake.present("masks"))
    subprocess.run(["mount", "-o", "remount,ro", str(mounted)], check=True)
    with pytest.raises(LakeError, match=r"cannot write to .*\.staging \(Read-only file system\): choose a folder"):
        put(lake, 1)
    assert list(lake.files.list()) == [MASKS.path]
    (fresh,) = lake.facts(lake.present("masks")).values()
    assert {MASKS: fresh} == expected
    assert verify(lake, deep=True) == []


def test_a_read_only_disk_without_a_cache_is_read_from_the_footers(mounted, put):
    lake = Lake(mounted / "lake")
    expected = put(lake).facts
    subprocess.run(["mount", "-o", "remount,ro", str(mounted)], check=True)
    assert lake.facts(lake.present("masks")) == {MASKS: expected}


@pytest.mark.parametrize("root", ["file", "file/below"])
def test_a_file_in_the_place_of_the_lake_is_one_line(tmp_path, put, root):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(LakeError, match=r"cannot write to .*: choose a folder"):
        put(Lake(tmp_path / root))
    assert Lake(tmp_path / root).files.list() == {}


LINKS = {
    "a file": "masks/study=half/fit-00001.parquet",
    "a study's folder": "masks/study=linked",
    "a table's folder": "weights",
    "a stray file": "masks/notes.txt",
}


@pytest.mark.parametrize("what", LINKS)
@pytest.mark.parametrize("target", ["outside", "missing", "."])
@pytest.mark.row("B8")
def test_links_inside_a_lake_are_refused(lake, put, tmp_path, what, target):
    put(lake)
    (tmp_path / "outside").mkdir()
    (lake.root / LINKS[what]).symlink_to(tmp_path / target)
    with pytest.raises(CorruptError, match=r"is a link or a device: .*copy what it names in its place"):
        lake.files.list()
    with pytest.raises(CorruptError, match="is a link"):
        verify(lake)


@pytest.mark.parametrize("link", ["masks", "masks/study=half", MASKS.path])
def test_nothing_is_published_through_a_link(lake, put, tmp_path, link):
    (tmp_path / "outside").mkdir()
    (lake.root / link).parent.mkdir(parents=True)
    (lake.root / link).symlink_to(tmp_path / "outside")
    with pytest.raises(CorruptError, match="is a link"):
        put(lake)
    assert list((tmp_path / "outside").iterdir()) == []


def test_the_lake_itself_may_be_reached_by_a_link(tmp_path, put):
    (tmp_path / "disk").mkdir()
    (tmp_path / "lake").symlink_to(tmp_path / "disk")
    put(Lake(tmp_path / "lake"))
    assert list(Lake(tmp_path / "disk").files.list()) == [MASKS.path]


@pytest.mark.row("B8")
def test_a_pipe_under_a_partition_name_does_not_hang(lake, put):
    put(lake)
    os.mkfifo(lake.root / "masks/study=half/fit-00001.parquet")
    with pytest.raises(CorruptError, match="is a link or a device"):
        lake.present("masks")


def test_hidden_folders_are_no_part_of_the_lake(sample_copy):
    listed = sample_copy.files.list()
    for name in (".staging/x", ".quarantine/y.parquet", ".lake/z", ".git/masks/study=a/fit-00000.parquet"):
        (sample_copy.root / name).parent.mkdir(parents=True, exist_ok=True)
        (sample_copy.root / name).write_text("hidden")
    assert sample_copy.files.list() == listed
    assert list(listed) == sorted(listed)


@pytest.mark.row("R9")
@pytest.mark.case(26)
def test_sweep_removes_what_the_dead_left_and_nothing_of_the_living(lake):
    staging = lake.root / ".staging"
    with lake.files.staging() as alive:
        alive.write_text("at work")
        for name in ("dead", "dead.lock", "dead.wal", "mute.lock"):
            (staging / name).write_text("")
        assert lake.files.sweep() == 2
        assert sorted(leftovers(lake)) == sorted([alive.name, f"{alive.name}.lock"])
        assert lake.files.sweep() == 0
    assert leftovers(lake) == []


def test_sweep_of_a_lake_that_is_not_there_does_nothing(lake):
    assert lake.files.sweep() == 0
    assert not lake.root.exists()


def test_staging_is_emptied_when_the_work_fails(lake):
    def fail():
        with lake.files.staging() as staged:
            staged.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert leftovers(lake) == []
