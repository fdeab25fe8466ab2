"""The local engine: every unit ends once, whatever its worker does, and no process outlives the pool."""

import importlib
import itertools
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import builders
from builders.engines import ENVIRONMENT, Window, local, start
from builders.engines.local import Pool, attempt
from builders.regression import device
from builders.unit import Unit
from lake.errors import ConflictError, LakeError
from lake.partition import Partition
from lake.store import Lake

WORK = """
    import os
    import signal

    class Odd(Exception):
        def __init__(self, first, second):
            super().__init__(f"{first}\\n  {second}")

    def work(unit):
        if unit.builder == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if unit.builder == "exits":
            os._exit(3)
        if unit.builder == "odd":
            raise Odd("one", "two")
        if unit.builder == "interrupted":
            raise KeyboardInterrupt
        blocked = signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])
        return unit.rows, os.getpid(), os.environ["OMP_NUM_THREADS"], blocked
"""


def units(*kinds: str) -> list[Unit]:
    return [Unit(kind, (Partition("masks", "small", "fit", i),), rows=i) for i, kind in enumerate(kinds)]


def test_workers_that_die_are_named_and_the_rest_is_built(own):
    work = importlib.import_module(own(WORK)).work
    with Pool(work, 2) as pool:
        kinds = ["fine", "killed", "fine", "odd", "exits", "fine", "fine"]
        ended = {unit.rows: outcome for unit, outcome in pool.run(units(*kinds), Window())}
        assert sorted(ended) == list(range(7))
        assert [ended[i][0] for i in (0, 2, 5, 6)] == [0, 2, 5, 6]
        assert "its worker died (SIGKILL: often the system is out of memory, try fewer workers)" in str(ended[1])
        assert "its worker died (exit code 3)" in str(ended[4])
        assert str(ended[3]).startswith("Odd: one two (own")
        assert all(isinstance(ended[i], LakeError) for i in (1, 3, 4))
        processes = {ended[i][1] for i in (5, 6)}
        assert os.getpid() not in processes

        for process in processes:  # one that dies between two tables is replaced, and nothing is lost
            os.kill(process, signal.SIGKILL)
        for child in multiprocessing.active_children():
            child.join(10 if child.pid in processes else 0)
        again = [outcome for _, outcome in pool.run(units("fine", "fine", "fine"), Window())]
        assert sorted(rows for rows, *_ in again) == [0, 1, 2]
        assert not processes & {process for _, process, *_ in again}
        assert {(threads, blocked) for *_, threads, blocked in again} == {("1", True)}  # a Ctrl-C is for the parent
    assert not multiprocessing.active_children()


def test_units_for_a_gpu_have_one_each_and_find_it_alone(own, monkeypatch):
    work = importlib.import_module(
        own("""
    import os
    import time

    def work(unit):
        began = time.monotonic()
        time.sleep(0.05)
        return os.environ["CUDA_VISIBLE_DEVICES"], began, time.monotonic()
""")
    ).work
    monkeypatch.setattr(local, "cards", lambda: ["3", "5"])
    with Pool(work, 3) as pool:
        assert {outcome[0] for _, outcome in pool.run(units(*["fine"] * 9), Window())} == {"3", "5"}
        assert len(pool.started) == 3
        done = sorted(outcome for _, outcome in pool.run(units(*["fine"] * 9), Window(), gpu=True))
        assert {card for card, *_ in done} == {"3", "5"}
        assert all(a[2] <= b[1] for a, b in itertools.pairwise(done) if a[0] == b[0])


def test_a_machine_without_a_gpu_or_told_to_leave_it_has_no_cards(monkeypatch):
    monkeypatch.setenv("DEVICE", "cpu")
    device.name.cache_clear()
    assert local.cards() == []
    device.name.cache_clear()


def test_the_very_first_worker_of_a_process_is_deaf_to_ctrl_c(own, tmp_path):
    name = own(WORK)
    code = f"""
from builders.engines import Window
from builders.engines.local import Pool
from builders.unit import Unit
from lake.partition import Partition
import {name}
if __name__ == "__main__":
    with Pool({name}.work, 2) as pool:
        print([outcome[3] for _, outcome in pool.run([Unit("fine", (Partition("masks", "small", "fit", 0),))], Window())])
"""
    (tmp_path / "first.py").write_text(code)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(Path(builders.__file__).parents[1]), str(tmp_path)))}
    done = subprocess.run([sys.executable, "first.py"], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout == "[True]\n"


def test_work_that_may_not_start_is_left_out_and_one_worker_is_this_process(own):
    work = importlib.import_module(own(WORK)).work
    for pool, here in ((Pool(work, 1), False), (Pool(work, 2), True)):
        with pool:
            window = Window(rate=1_000.0, deadline=time.monotonic() + 1_500)
            ended = list(pool.run(units(*["fine"] * 4), window, here=here))
        assert [(unit.rows, outcome[0]) for unit, outcome in ended] == [(0, 0), (1, 1)]
        assert {outcome[1] for _, outcome in ended} == {os.getpid()}
        assert not pool.started


def test_units_may_start_as_late_as_the_one_before_ended(own):
    asked = []

    class Asked(Window):
        def may_start(self, unit: Unit) -> bool:
            return asked.append(unit.rows) is None

    with Pool(importlib.import_module(own(WORK)).work, 1) as pool:
        for unit, _ in pool.run(units("fine", "fine", "fine"), Asked()):
            assert asked == list(range(unit.rows + 1))


def test_an_interrupt_goes_up(own):
    work = importlib.import_module(own(WORK)).work
    with Pool(work, 1) as pool, pytest.raises(KeyboardInterrupt):
        list(pool.run(units("interrupted"), Window()))


def test_what_work_raises_is_one_line_with_its_place():
    def fails(unit: Unit) -> None:
        {}["missing"]

    def conflicts(unit: Unit) -> None:
        raise ConflictError("two studies")

    (unit,) = units("fine")
    assert str(attempt(fails, unit)).startswith("KeyError: 'missing' (test_local.py:")
    assert isinstance(attempt(conflicts, unit), ConflictError)


def test_libraries_are_told_to_use_one_thread(own):
    start("local", Lake(""), importlib.import_module(own(WORK)).work, 1)
    assert {name: os.environ[name] for name in ENVIRONMENT} == ENVIRONMENT
