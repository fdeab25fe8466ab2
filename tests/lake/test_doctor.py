"""The doctor tells what is wrong and what to do next, and changes nothing."""

import pytest

from lake.doctor import LIBRARIES, examine
from lake.partition import Partition

MASKS = Partition("masks", "half", "fit", 0)


def test_a_sound_lake(sample):
    lines, advice = examine(sample)
    told = dict(lines)
    assert told["lake"].startswith("21 partition(s)")
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
