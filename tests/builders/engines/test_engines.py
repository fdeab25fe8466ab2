"""What engines share: when a unit may start, when to stop waiting, and names that are known."""

import time

import pytest

from builders.engines import GRACE, Window, address, start
from builders.unit import Unit
from lake.errors import UsageError
from lake.partition import Partition
from lake.store import Lake

UNIT = Unit("masks", (Partition("masks", "small", "fit", 0),), rows=100)


def test_a_unit_may_start_while_it_is_expected_to_end_in_time():
    now = time.monotonic()
    assert Window().may_start(UNIT)
    assert Window(rate=10, deadline=now + 1_500).may_start(UNIT)
    assert not Window(rate=10, deadline=now + 500).may_start(UNIT)
    assert not Window(latest=now - 1).may_start(UNIT)


def test_waiting_ends_when_the_longest_should_have_ended():
    now = time.monotonic()
    assert not Window().is_over([UNIT])
    assert not Window(rate=10, deadline=now - 500).is_over([UNIT])
    assert Window(rate=10, deadline=now - 1_500).is_over([UNIT])
    assert not Window(deadline=now).is_over([])
    assert Window(deadline=now - GRACE - 1).is_over([])


def test_an_engine_that_is_not_known_is_refused_by_name(lake):
    with pytest.raises(UsageError, match="no engine 'spark': choose one of local, ray, slurm"):
        start("spark", lake, print, 1)


def test_a_folder_is_handed_over_whole(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert address(Lake("data")) == str(tmp_path / "data")
