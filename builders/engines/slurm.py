"""The Slurm engine, through submitit: units in packs of 20 to 60 minutes, a job array of packs, outcomes by way of the lake.

A unit is done when its partitions stand in the lake, so progress shows before a pack ends, and a pack that is preempted,
requeued or started twice builds only what is not there. Jobs take sbatch's own settings from the environment
(SBATCH_PARTITION, SBATCH_ACCOUNT, SBATCH_GPUS, ...). Logs lie in `.lake/slurm` of the lake and are kept when a pack failed.
submitit: https://github.com/facebookincubator/submitit; arrays: https://slurm.schedmd.com/job_array.html
"""

import logging
import math
import re
import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from builders.engines import Window, Work, address, may_use_gpu
from builders.engines.local import attempt, run_here
from builders.unit import Unit
from lake.errors import LakeError, UsageError
from lake.files import Stat
from lake.partition import Partition
from lake.store import Lake

PACK = (20 * 60.0, 60 * 60.0)
"""Seconds that a pack is expected to take at least and at most: long against the queue, short against a preemption."""
LOOK = 10.0
"""Seconds between two looks at the queue and the lake, at most."""
LAG = 30.0
"""Seconds that a shared folder may take to show a file that another machine wrote."""
SILENCE = 600.0
"""Seconds that the controller may not answer before we stop waiting for it."""
TIMEOUTS = 3
"""Times that a pack which runs out of time goes on in a new job."""


def start(lake: Lake, work: Work, workers: int) -> "Queue":
    """See that jobs can be submitted from here; LakeError in one line otherwise."""
    try:
        import submitit  # noqa: F401  # pyright: ignore[reportUnusedImport]
    except ImportError as error:
        raise UsageError("ENGINE=slurm needs submitit: pip install 'datamodels-lake[slurm]'") from error
    if shutil.which("sbatch") is None:
        raise LakeError(
            "there is no sbatch on this machine. Nothing was built: run ENGINE=slurm where jobs are submitted, such as a "
            "login node, or use ENGINE=local"
        )
    return Queue(lake, work, workers, "slurm", largest_array())


@dataclass
class Pack:
    """What a job does: build its units one after another, those left out that are there or would end too late."""

    root: str
    work: Work
    units: list[Unit]
    seconds: list[float]
    """Expected for each unit."""
    until: float
    """Of time.time(): the end of the budget."""

    def __call__(self) -> dict[Unit, Any]:
        """Outcome of each unit; None for one left out for want of time."""
        return {unit: self._build(unit, seconds) for unit, seconds in zip(self.units, self.seconds, strict=True)}

    def _build(self, unit: Unit, seconds: float) -> Any:
        if present(Lake(self.root), [unit]).keys() >= set(unit.partitions):
            return []
        return attempt(self.work, unit) if time.time() + seconds <= self.until else None

    def checkpoint(self) -> Any:
        """Asked for by submitit before a preempted or overdue job ends: the same again, since the lake is all the state."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


class Queue:
    """Jobs of one build; leaving it cancels those that have not ended. `cluster` is submitit's word: slurm, or local."""

    def __init__(self, lake: Lake, work: Work, workers: int, cluster: str, largest: int) -> None:
        self.lake, self.work, self.asked, self.cluster, self.largest = lake, work, workers, cluster, largest
        self.workers = max(1, workers)
        self.folder = lake.files.cache.absolute() / "slurm" / uuid.uuid4().hex[:12]
        self.jobs: list[Any] = []
        """Submitted and not known to have ended; a job may still be ending when all of its units are in the lake."""
        self.packs: dict[str, list[Unit]] = {}
        """Units of each job, by its id."""
        self.gone: dict[str, float] = {}
        """When a job without a result was first missed in the queue."""
        self.answered = time.monotonic()
        self.failed = False

    def __enter__(self) -> "Queue":
        return self

    def __exit__(self, *error: object) -> None:
        if self.cluster == "slurm" and self.jobs:
            _ask("scancel", *sorted({job.job_id.partition("_")[0] for job in self.jobs}))
        for job in self.jobs if self.cluster == "local" else ():
            job.cancel()
        if not self.failed:
            shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, units: Sequence[Unit], window: Window, here: bool = False, gpu: bool = False) -> Iterator[tuple[Unit, Any]]:
        """Yield (unit, outcome) as their partitions appear or their jobs end, as every engine does.

        All units are submitted at once, so `window.latest` is over before the first job ends: a turn is as long as its jobs.
        """
        if here:
            yield from run_here(self.work, units, window)
            return
        before, began = present(self.lake, units), time.monotonic()
        waiting = self._submit([unit for unit in units if window.may_start(unit)], window, gpu and may_use_gpu())
        while waiting and not window.is_over([unit for unit, _ in waiting]):
            ended = self._ended()
            now, still = present(self.lake, units), []
            for unit, job in waiting:
                if now.keys() >= set(unit.partitions):
                    new = {p: now[p] for p in unit.partitions if p not in before}
                    yield unit, list(self.lake.facts(new).values())
                elif job.job_id not in ended:
                    still.append((unit, job))
                elif (outcome := ended[job.job_id].pop(unit, None)) is not None:
                    yield unit, outcome
            waiting = still
            time.sleep(min(LOOK, 0.1 + 0.05 * (time.monotonic() - began)) if waiting else 0)

    def _submit(self, units: list[Unit], window: Window, gpu: bool) -> list[tuple[Unit, Any]]:
        """Each unit with its job, which asks for a GPU where the cluster has any; arrays no larger than it allows."""
        import submitit
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        logging.getLogger("submitit").setLevel(logging.ERROR)
        until = time.time() + window.deadline - time.monotonic()
        packs = pack(units, [window.seconds(unit) for unit in units], self.asked)
        arrays = [packs[i : i + self.largest] for i in range(0, len(packs), self.largest)]
        executor = submitit.AutoExecutor(self.folder, cluster=self.cluster, slurm_max_num_timeout=TIMEOUTS)
        longest = max((sum(map(window.seconds, units)) for units in packs), default=0)
        executor.update_parameters(
            name="datamodels",
            timeout_min=10 + math.ceil(3 * longest / 60),
            cpus_per_task=1,
            **({"gpus_per_node": 1} if gpu and "gpu" in (_ask("sinfo", "--noheader", "--format=%G") or "") else {}),
            stderr_to_stdout=True,
            slurm_array_parallelism=max(1, self.asked // len(arrays)) if self.asked and arrays else self.largest,
            slurm_additional_parameters={"requeue": True},
        )
        before = len(self.jobs)
        for array in arrays:
            work = [Pack(address(self.lake), self.work, us, list(map(window.seconds, us)), until) for us in array]
            try:
                with executor.batch():
                    jobs = [executor.submit(each) for each in work]
            except (FailedJobError, FailedSubmissionError) as error:
                raise LakeError(
                    f"sbatch refused ({_one_line(str(error))}): what was built is safe; see to that and run the command again"
                ) from error
            self.jobs += jobs
            self.packs |= {job.job_id: units for job, units in zip(jobs, array, strict=True)}
        return [(unit, job) for job in self.jobs[before:] for unit in self.packs[job.job_id]]

    def _ended(self) -> dict[str, dict[Unit, Any]]:
        """Jobs that are over, by id, with the outcomes that are known; of a job that died, it stands for its first unit."""
        queued, ended = self._queued(), {}
        for job in self.jobs:
            if job.paths.result_pickle.exists():
                ended[job.job_id] = self._result(job)
            elif queued is not None and job.job_id not in queued:
                if time.monotonic() - self.gone.setdefault(job.job_id, time.monotonic()) >= LAG:
                    ended[job.job_id] = self._died(job, "it ended without a result")
            else:
                self.gone.pop(job.job_id, None)
        self.jobs = [job for job in self.jobs if job.job_id not in ended]
        return ended

    def _queued(self) -> set[str] | None:
        """Ids of jobs that are waiting or running; None when nobody answers."""
        if self.cluster == "local":
            return {job.job_id for job in self.jobs if not job.done()}
        listed = _ask("squeue", "--me", "--noheader", "--array", "--format=%i")
        if listed is not None:
            self.answered = time.monotonic()
            return set(listed.split())
        if time.monotonic() - self.answered > SILENCE:
            raise LakeError(
                f"the Slurm controller has not answered for {SILENCE / 60:.0f} minutes: what was built is safe; run the same "
                "command again when it does"
            )
        return None

    def _result(self, job: Any) -> dict[Unit, Any]:
        kind, result = job._get_outcome_and_result()
        return result if kind == "success" else self._died(job, _one_line(str(result)))

    def _died(self, job: Any, why: str) -> dict[Unit, Any]:
        self.failed = True
        there = present(self.lake, self.packs[job.job_id])
        first = next((unit for unit in self.packs[job.job_id] if not there.keys() >= set(unit.partitions)), None)
        error = LakeError(
            f"Slurm job {job.job_id}: {why}; nothing half-written is in the lake: see {job.paths.stdout}, which its node must "
            "be able to write, then run the command again"
        )
        return {first: error} if first else {}


def pack(units: Sequence[Unit], seconds: Sequence[float], workers: int) -> list[list[Unit]]:
    """`units` in order, in packs of about equal expected seconds: as many as `workers` where PACK allows it (0: the most)."""
    total, (shortest, longest) = sum(seconds), PACK
    most = int(total // shortest)
    n_packs = max(1, math.ceil(total / longest), min(most, workers) if workers else most)
    packs: list[list[Unit]] = [[] for _ in range(n_packs)]
    begun = 0.0
    for unit, each in zip(units, seconds, strict=True):
        packs[min(n_packs - 1, int((begun + each / 2) / total * n_packs)) if total else 0].append(unit)
        begun += each
    return [units for units in packs if units]


def present(lake: Lake, units: Sequence[Unit]) -> dict[Partition, Stat]:
    """Partitions in the lake of the studies and tables that the units are of."""
    owners = {(p.table, p.value) for unit in units for p in unit.partitions}
    return {p: stat for table, value in owners for p, stat in lake.present(table, value).items()}


def largest_array() -> int:
    """How many jobs the cluster takes as one array; LakeError when its controller does not answer."""
    told = _ask("scontrol", "show", "config")
    if told is None:
        raise LakeError(
            "the Slurm controller does not answer (`scontrol show config` failed). Nothing was built: try again later, or use "
            "ENGINE=local"
        )
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)", told, re.M)
    return max(1, int(found[1]) if found else 1)


def _ask(*command: str) -> str | None:
    """What a command of Slurm printed; None when it failed."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def _one_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip(" -")]
    return lines[-1][:300] if lines else "no reason given"
