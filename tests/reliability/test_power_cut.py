"""R2: the power goes at any moment of a publish. What was acknowledged is there, and nothing half-written has a name."""

import hashlib
import itertools
import os
import re
from pathlib import Path

import pytest
from shim import Disk, disks, watched, write_disk
from world import audit, content, masks

from lake import files
from lake.catalog import connect, write_catalog
from lake.content import content_hash
from lake.errors import LakeError
from lake.store import Lake

FIRST, SECOND = masks(0), masks(1)


def cut(lake: Lake, work, tmp_path: Path, check) -> tuple[int, list[str]]:
    """Run `work`, cut the power after each of its calls in every way; (disks tried, what `check` said of them).

    `check` gets the lake on such a disk and whether the work had been acknowledged.
    """
    lake.root.mkdir(parents=True, exist_ok=True)
    disk = Disk(lake.root)
    with watched(lake.root, lambda call, path: None, disk.note):
        work()
    seen, wrong = set(), []
    numbers = itertools.count()
    for moment in disk.moments:
        acknowledged = moment is disk.moments[-1]
        for found in disks(moment):
            key = (acknowledged, *sorted((path, _told_apart(path, data)) for path, data in found.items()))
            if key not in seen:
                seen.add(key)
                root = write_disk(tmp_path / f"disk-{next(numbers)}", found)
                with pytest.MonkeyPatch.context() as patch:
                    patch.setattr(os, "fsync", lambda descriptor: None)  # one power cut at a time
                    said = check(Lake(root), acknowledged)
                wrong += [f"after {moment.call}: {said}"] if said else []
    return len(seen), wrong


def _told_apart(path: str, data: bytes) -> bytes:
    """Contents that make two disks differ: of staged files, which nobody reads, the first byte and roughly the size."""
    return b"%r %d" % (data[:1], len(data) // 1024) if path.startswith(".staging/") else hashlib.sha256(data).digest()


def whole(lake: Lake, acknowledged: bool) -> str:
    """What is wrong with a lake that had published FIRST before, and was publishing SECOND."""
    if problems := audit(lake):
        return str(problems[0])
    needed = [FIRST, SECOND] if acknowledged else [FIRST]
    if lost := [p.path for p, _, _ in needed if p not in lake.present("masks")]:
        return f"lost {lost}"
    for index, work in enumerate((FIRST, SECOND)):
        lake.publish(*work)
        if content_hash(lake.read(work[0])) != content(index):
            return f"{work[0].path} is altered"
    lake.files.sweep()
    left = list((lake.root / ".staging").iterdir())
    return f"left {left}" if left else ""


@pytest.mark.parametrize("fresh", [False, True], ids=["beside another", "in a new lake"])
@pytest.mark.row("R2")
def test_a_power_cut_in_a_publish_loses_nothing(lake, tmp_path, tally, fresh):
    if not fresh:
        lake.publish(*FIRST)

    def check(found: Lake, acknowledged: bool) -> str:
        if fresh and not acknowledged:
            found.root.mkdir(exist_ok=True)
            if problems := audit(found):
                return str(problems[0])
            found.publish(*FIRST)
        return whole(found, acknowledged)

    def work() -> None:
        if fresh:
            lake.publish(*FIRST)
        lake.publish(*SECOND)

    tried, wrong = cut(lake, work, tmp_path, check)
    tally(faults_injected=tried, survived=tried - len(wrong), lost=sum("lost" in said for said in wrong))
    assert wrong == []
    assert tried >= 15


def test_a_power_cut_between_the_link_of_one_and_the_acknowledgement_of_another(lake, tmp_path, tally):
    """A writer that finds the name taken acknowledges it too, so it has to make it last."""
    lake.publish(*FIRST)
    real = os.link

    def taken(source, target):  # another writer has linked, and has not come to its fsync
        real(source, target)
        raise FileExistsError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "link", taken)
        tried, wrong = cut(lake, lambda: lake.publish(*SECOND), tmp_path, whole)
    tally(faults_injected=tried, survived=tried - len(wrong))
    assert wrong == []


@pytest.mark.parametrize(("kind", "said"), [("file", "damaged or cut short|is empty|not a parquet"), ("folder", "lost")])
@pytest.mark.row("R2", control=True)
def test_without_the_fsync_of_files_or_folders_power_cuts_are_seen_to_hurt(lake, tmp_path, monkeypatch, kind, said):
    """The control."""
    lake.publish(*FIRST)
    sync = files._sync
    monkeypatch.setattr(files, "_sync", lambda path: None if path.is_dir() == (kind == "folder") else sync(path))
    _, wrong = cut(lake, lambda: lake.publish(*SECOND), tmp_path, whole)
    assert wrong
    assert re.search(said, " ".join(wrong))


def test_a_power_cut_while_a_damaged_file_is_set_aside_keeps_its_bytes(lake, tmp_path, tally):
    lake.publish(*FIRST)
    lake.publish(*SECOND)
    bad = (lake.root / SECOND[0].path).read_bytes()[:-50]
    (lake.root / SECOND[0].path).write_bytes(bad)

    def check(found: Lake, acknowledged: bool) -> str:
        kept = [path for path in found.root.rglob("*") if path.is_file() and path.read_bytes() == bad]
        if not kept:
            return "lost the damaged bytes"
        problems = audit(found)
        return str(problems) if {p.path for p in problems} - {SECOND[0].path} else ""

    tried, wrong = cut(lake, lambda: lake.quarantine(SECOND[0]), tmp_path, check)
    tally(faults_injected=tried, survived=tried - len(wrong))
    assert wrong == []
    assert tried >= 3


def test_a_power_cut_in_a_fast_forward_leaves_the_old_or_the_new(lake, tmp_path, tally):
    lake.publish(*FIRST)
    lake.publish(*SECOND)
    other = Lake(tmp_path / "other")
    other.publish(*masks(1, 0.25))
    old, new = ((found.root / SECOND[0].path).read_bytes() for found in (lake, other))

    def work() -> None:
        with lake.files.staging() as staged:
            with staged.open("xb") as sink:
                sink.write(new)
            lake.files.replace(staged, SECOND[0].path)

    def check(found: Lake, acknowledged: bool) -> str:
        there = (found.root / SECOND[0].path).read_bytes()
        kept = [path.read_bytes() for path in found.root.rglob("*.parquet")]
        if problems := audit(found):
            return str(problems[0])
        if there not in (old, new) or (acknowledged and there != new) or old not in kept:
            return "neither the old nor the new, or the old is gone"
        return ""

    tried, wrong = cut(lake, work, tmp_path, check)
    tally(faults_injected=tried, survived=tried - len(wrong))
    assert wrong == []
    assert tried >= 10


@pytest.mark.slow
def test_a_torn_catalog_or_cache_is_no_more_than_one_to_be_written_again(lake, tmp_path, tally):
    lake.publish(*FIRST)
    lake.publish(*SECOND)

    def work() -> None:
        write_catalog(lake.root)
        lake.facts(lake.present("masks"))

    def check(found: Lake, acknowledged: bool) -> str:
        try:
            rows = connect(found.root).execute("select count(*) from masks").fetchone()
            facts = {p.path: f.content for p, f in found.facts(found.present("masks")).items()}
            write_catalog(found.root)
        except LakeError as error:
            return str(error)
        expected = {work[0].path: content(i) for i, work in enumerate((FIRST, SECOND))}
        return "" if rows == (6,) and facts == expected else f"{rows} {facts}"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lake.catalog._create_derived", lambda connection: None)  # most of its time, and no part of this
        tried, wrong = cut(lake, work, tmp_path, check)
    tally(faults_injected=tried, survived=tried - len(wrong))
    assert wrong == []
    assert tried >= 5
