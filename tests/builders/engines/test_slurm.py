"""The Slurm engine: packs that keep their bounds, and real jobs that are requeued, killed, stopped, and end with one whole lake."""

import re
import signal
import subprocess
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.engines import slurm
from builders.engines.slurm import PACK, Queue, pack
from builders.unit import Unit
from lake.partition import Partition
from lake.store import Lake
from lake.verify import verify

psutil = pytest.importorskip("psutil")
pytest.importorskip("submitit")

QUICK = "from builders.engines import slurm; slurm.PACK, slurm.LOOK, slurm.LAG = (0.001, 0.001), 0.5, 2.0"
"""Packs of one unit each, and a queue that is looked at often."""


def units(n: int) -> list[Unit]:
    return [Unit("masks", (Partition("masks", "small", "fit", i),)) for i in range(n)]


@pytest.fixture
def quick(monkeypatch):
    for name, value in (("PACK", (0.001, 0.001)), ("LOOK", 0.5), ("LAG", 2.0)):
        monkeypatch.setattr(slurm, name, value)


@given(st.lists(st.floats(0.1, 600), min_size=1, max_size=300), st.integers(0, 40))
def test_packs_take_20_to_60_minutes_where_the_work_allows(seconds, workers):
    every = units(len(seconds))
    packs = pack(every, seconds, workers)
    assert [unit for units in packs for unit in units] == every
    cost = dict(zip(every, seconds, strict=True))
    expected = [sum(cost[unit] for unit in units) for units in packs]
    assert max(expected) <= PACK[1] + max(seconds)
    if sum(seconds) >= PACK[0]:
        assert min(expected) >= PACK[0] - max(seconds)
    else:
        assert len(packs) == 1


def test_packs_are_as_many_as_workers_until_they_are_too_short_or_too_long():
    for n_units, workers, n_packs in ((600, 0, 30), (600, 12, 12), (600, 2, 10), (600, 100, 30), (10, 4, 1), (0, 4, 0)):
        assert len(pack(units(n_units), [60.0] * n_units, workers)) == n_packs


def test_without_sbatch_one_line_says_so_and_nothing_is_built(command, lake, study_file, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    ended = command("builders", "build-missing", "--study", study_file(), "--lake", lake.root, "--engine", "slurm")
    assert (ended.code, ended.err.count("\n")) == (1, 1)
    assert "there is no sbatch on this machine" in ended.err
    assert not lake.present("masks")


def test_jobs_of_submitit_on_this_machine_fill_the_lake(
    built, lake, small, build_missing, contents, monkeypatch, quick, by_workers
):
    monkeypatch.setattr(slurm, "PACK", PACK)
    monkeypatch.setattr(slurm, "start", lambda lake, work, workers: Queue(lake, work, workers, "local", 3))
    report = build_missing(lake, small, engine="slurm", workers=2)
    assert (report.failures, report.left, report.models) == ([], 0, 64)
    assert contents(lake) == contents(built)
    assert not list((lake.root / ".lake" / "slurm").iterdir())  # no logs are kept of a build that went well


def test_a_real_slurm_builds_what_one_process_does(
    slurm, built, lake, small, build_missing, contents, monkeypatch, quick, by_workers
):
    monkeypatch.setattr("builders.engines.slurm.PACK", (0.8, 0.9))
    report = build_missing(lake, small, engine="slurm", workers=2)
    assert (report.failures, report.left, report.models) == ([], 0, 64)
    assert contents(lake) == contents(built)
    assert not list((lake.root / ".lake" / "slurm").iterdir())


@pytest.mark.slow
def test_jobs_that_end_late_are_not_counted_twice(built, lake, small, build_missing, contents, monkeypatch, quick, by_workers):
    class Late(Queue):
        def _ended(self) -> dict:
            return {}

    monkeypatch.setattr(slurm, "PACK", PACK)
    monkeypatch.setattr(slurm, "start", lambda lake, work, workers: Late(lake, work, workers, "local", 3))
    report = build_missing(lake, small, engine="slurm", workers=2)
    assert (report.failures, report.left, report.models) == ([], 0, 64)
    assert sum(report.added.values()) == len(contents(built))
    assert contents(lake) == contents(built)


@pytest.mark.slow
def test_jobs_meet_in_a_lake_on_an_object_store(bucket, built, small, build_missing, contents, monkeypatch, quick, by_workers):
    monkeypatch.setattr(slurm, "PACK", (0.8, 0.9))
    monkeypatch.setattr(slurm, "start", lambda lake, work, workers: Queue(lake, work, workers, "local", 3))
    lake = Lake(f"{bucket}/slurm")
    report = build_missing(lake, small, engine="slurm", workers=2)
    assert (report.failures, report.left, report.models) == ([], 0, 64)
    assert contents(lake) == contents(built)


@pytest.mark.slow
def test_a_preempted_job_goes_on_with_what_is_not_there(slow_study, lake, build_missing, contents, alone, monkeypatch, quick):
    preempted = []

    class Preempting(Queue):
        def _queued(self) -> set[str] | None:
            if len(slow_study.began()) == 2 and not preempted:
                preempted.append(self.jobs[0].job_id)
                (task,) = psutil.Process(int(preempted[0])).children()
                task.send_signal(signal.SIGUSR2)  # as Slurm does
            return super()._queued()

    monkeypatch.setattr(slurm, "PACK", PACK)
    monkeypatch.setattr(slurm, "start", lambda lake, work, workers: Preempting(lake, work, workers, "local", 3))
    slow_study.take(2.0)
    report = build_missing(lake, slow_study.study, engine="slurm", workers=2)
    assert (report.failures, report.left, report.models) == ([], 0, 64)
    assert len(preempted) == 1
    assert len(slow_study.began()) == 5  # of 4: the one that was at hand is begun again, the one before it is not
    assert contents(lake) == contents(alone)


def ask(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.slow
def test_a_real_slurm_fills_the_lake_in_arrays_that_it_allows(slurm, slow_study, lake, contents, alone):
    process = slow_study.command(lake, "--engine", "slurm", before=QUICK)
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert "64 models trained" in out
    assert contents(lake) == contents(alone)
    assert {mark.card for mark in slow_study.began()} <= {"0", "1"}  # a GPU each, since the cluster has some
    arrays = re.findall(r"JobId=\d+ ArrayJobId=(\d+) ArrayTaskId=(\d+) ", ask("scontrol", "show", "jobs", "--oneliner"))
    assert {task for _, task in arrays} == {"0", "1", "2"}


@pytest.mark.slow
def test_a_job_that_is_requeued_in_mid_run_costs_what_it_had_at_hand(slurm, slow_study, lake, contents, alone, until):
    slow_study.take(1_000)
    process = slow_study.command(lake, "--engine", "slurm", before=QUICK)
    until(lambda: len(slow_study.began()) == 2 or process.poll() is not None)
    job = slow_study.began()[0].job
    ask("scontrol", "requeue", job)
    until(lambda: "PENDING" in ask("squeue", "--noheader", f"--jobs={job}", "--format=%T"))
    ask("scontrol", "update", f"jobid={job}", "starttime=now")  # else Slurm waits two minutes
    slow_study.take(0)
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert "64 models trained" in out
    assert len(slow_study.began()) == 5
    assert contents(lake) == contents(alone)


@pytest.mark.slow
def test_a_job_that_is_killed_is_named_and_the_same_command_goes_on(slurm, slow_study, lake, contents, alone, until):
    slow_study.take(1_000)
    process = slow_study.command(lake, "--engine", "slurm", before=QUICK)
    until(lambda: len(slow_study.began()) == 2 or process.poll() is not None)
    job = slow_study.began()[0].job
    ask("scancel", job)
    until(lambda: job not in ask("squeue", "--noheader", "--array", "--format=%i").split())
    slow_study.take(0)
    out, err = process.communicate()
    assert process.returncode == 1, err
    assert "48 models trained" in out
    assert err.splitlines()[-1].startswith("error: 1 piece(s) of work failed, the others are safe; first: margins/study=small/")
    assert f"Slurm job {job}: it ended without a result; nothing half-written is in the lake: see {lake.root}" in err
    slow_study.finish(lake, "--engine", "slurm", before=QUICK)
    assert contents(lake) == contents(alone)


@pytest.mark.slow
@pytest.mark.parametrize(("options", "number", "code"), [((), signal.SIGINT, 130), (("--budget", "60s"), 0, 5)])
def test_ctrl_c_and_budget_leave_no_job_behind(slurm, slow_study, lake, contents, alone, until, options, number, code):
    slow_study.take(1_000)
    started = time.monotonic()
    process = slow_study.command(lake, "--engine", "slurm", *options, before=QUICK)
    until(lambda: len(slow_study.began()) == 2 or process.poll() is not None)
    if number:
        process.send_signal(number)
    else:  # 16 s are expected for each: after 44 s no other may start
        until(lambda: time.monotonic() > started + 46)
        slow_study.take(0)
    _, err = process.communicate()
    assert process.returncode == code, err
    assert err.count("Traceback") == 0
    until(lambda: not ask("squeue", "--me", "--noheader"))
    assert len(lake.present("margins")) == (0 if number else 2)
    assert verify(lake, deep=False) == []
    slow_study.finish(lake)
    assert contents(lake) == contents(alone)


@pytest.mark.slow
def test_a_controller_that_does_not_answer_is_told_in_one_line(slurm, lake, study_file, command, monkeypatch, tmp_path):
    (tmp_path / "slurm.conf").write_text("ClusterName=gone\nSlurmctldHost=localhost\nSlurmctldPort=1\nAuthType=auth/none\n")
    monkeypatch.setenv("SLURM_CONF", str(tmp_path / "slurm.conf"))
    ended = command("builders", "build-missing", "--study", study_file(), "--lake", lake.root, "--engine", "slurm")
    assert (ended.code, ended.err.count("\n")) == (1, 1)
    assert "the Slurm controller does not answer" in ended.err
