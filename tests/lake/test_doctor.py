"""The doctor tells what is wrong and what to do next, and changes nothing."""

import pytest

from lake.doctor import LIBRARIES, examine
from lake.mirror_state import Memory
from lake.partition import Partition

MASKS = Partition("masks", "half", "fit", 0)


def test_a_sound_lake(sample):
    lines, advice = examine(sample)
    told = dict(lines)
    assert told["lake"].startswith(f"{len(sample.files.list())} partition(s)")
    assert told["mirror"].startswith("none: what is here is only here")
    assert "studies: half, other" in told["lake"]
    assert "GB free at" in told["disk"]
    assert all(name in told["libraries"] for name in LIBRARIES)
    assert "strangers" not in told
    assert advice == "make status"


def test_no_lake_is_made_by_asking(lake):
    lines, advice = examine(lake)
    assert ("lake", f"none in {lake.root}") in lines
    assert advice == "make build-missing"
    assert not lake.root.exists()


@pytest.mark.parametrize(("damage", "advice"), [(b"short", "make verify QUARANTINE=1"), (None, "make verify")])
def test_damage_and_strangers_lead_to_a_check(sample_copy, damage, advice):
    if damage:
        (sample_copy.root / MASKS.path).write_bytes(damage)
    else:
        (sample_copy.root / "masks" / "notes.txt").write_text("mine")
    lines, said = examine(sample_copy)
    assert said == advice
    assert (MASKS.path if damage else "masks/notes.txt") in " ".join(how for _, how in lines)


@pytest.mark.case(36, 37)
def test_what_outlives_the_machine_is_counted(sample_copy):
    memory = Memory(sample_copy.files.cache, "ada/lake@main")
    paths = list(sample_copy.files.list())
    memory.base = dict.fromkeys([*paths[:5], "masks/study=gone/fit-00000.parquet"], "0" * 64)
    memory.save()
    told = dict(examine(sample_copy)[0])
    assert told["mirror"] == f"5 of {len(paths)} partition(s) were in ada/lake@main last time"


def test_what_was_set_aside_and_what_lies_in_staging_is_counted(sample_copy):
    sample_copy.quarantine(MASKS)
    with sample_copy.files.staging():
        told = dict(examine(sample_copy)[0])
    assert told["set aside"].startswith("1 file(s)")
    assert told["staging"] == "1 writer(s) at work or dead"
