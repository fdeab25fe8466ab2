"""The Ray engine: a unit is a task of a Ray cluster, which places it, and builds it again when a worker or node is lost.

The cluster is the one at RAY_ADDRESS (host:port), or the one that this machine belongs to. At most as many tasks as it has
room for are handed over, so that it stays free for others and a budget means what it says. Before anything is built every
node is asked whether it sees the lake: one that does not would fill a folder of its own. Ray's tasks and retries:
https://docs.ray.io/en/latest/ray-core/fault-tolerance.html
"""

import logging
import os
import platform
import signal
import socket
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

from builders.engines import ENVIRONMENT, Window, Work, may_use_gpu
from builders.engines.local import attempt, run_here
from builders.unit import Unit
from lake.errors import LakeError, UsageError
from lake.store import Lake

RETRIES = 3
"""Times that Ray builds a unit again whose worker or node was lost."""
PATIENCE = 10.0
"""Seconds to wait for a port to open."""
LOOK = 0.1
"""Seconds between two looks at what has ended; we sleep in Python, since a signal that meets Ray's own waiting is garbled."""
SILENCE = 30.0
"""Seconds that the head of the cluster may not answer; after 60 Ray would end this process without a word."""
PASSED = ("CIFAR10", "DEVICE")
"""Variables of this process that its workers need, where they are set; never a credential, which Ray would show."""


def start(lake: Lake, work: Work, workers: int) -> "Cluster":
    """Connect, and see that every node sees the lake; LakeError in one line otherwise."""
    try:
        import ray
    except ImportError as error:
        raise UsageError("ENGINE=ray needs Ray: pip install 'datamodels-lake[ray]'") from error
    address = os.environ.get("RAY_ADDRESS") or "auto"
    environment = {**ENVIRONMENT, **{name: os.environ[name] for name in PASSED if name in os.environ}}
    stop = signal.getsignal(signal.SIGTERM)
    try:
        if address != "auto":  # where nothing listens Ray itself would try for minutes
            socket.create_connection(_host_and_port(address), PATIENCE).close()
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR, runtime_env={"env_vars": environment})
    except (OSError, RuntimeError, ValueError) as error:
        raise _unreachable(address, str(error)) from error
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, stop)  # Ray put its own in place, which ends with another exit code
    return Cluster(ray, lake, work, workers)


class Cluster:
    """A connected cluster; leaving it stops what of ours is still being built there."""

    def __init__(self, ray: Any, lake: Lake, work: Work, workers: int) -> None:
        self.ray, self.work, self.asked = ray, work, workers
        self.head = ray.get_runtime_context().gcs_address
        self.resources: dict[str, float] = ray.cluster_resources()
        self.answered, self.left = time.monotonic(), threading.Event()
        self.watcher = threading.Thread(target=self._watch, daemon=True)
        self.beacon = lake.files.cache.absolute() / f"ray-{uuid.uuid4().hex}" if lake.files.local else None
        """A file that whoever sees the lake sees; None for an address, which every machine resolves alike."""

    @property
    def workers(self) -> int:
        """Units at once: as asked, or one a CPU of the nodes that are there now."""
        return self.asked or self._has("CPU") or 1

    def __enter__(self) -> "Cluster":
        with ExitStack() as stack:
            stack.push(self.__exit__)
            if self.beacon:
                self.beacon.parent.mkdir(parents=True, exist_ok=True)
                self.beacon.touch()
            self._ask_every_node()
            self.watcher.start()
            stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        if self.beacon:
            self.beacon.unlink(missing_ok=True)
        self.left.set()
        if not self._is_lost():  # else Ray waits for what is not there
            self.ray.shutdown()

    def run(self, units: Sequence[Unit], window: Window, here: bool = False, gpu: bool = False) -> Iterator[tuple[Unit, Any]]:
        """Yield (unit, outcome) as units end, as every engine does."""
        if here:
            yield from run_here(self.work, units, window)
            return
        waiting, flying = list(units), {}
        cards = self._has("GPU") if gpu and may_use_gpu() else 0
        build = self.ray.remote(_build).options(num_cpus=1, num_gpus=min(1, cards), max_retries=RETRIES)
        while not window.is_over(list(flying.values())):
            while waiting and len(flying) < min(self.workers, cards or self.workers):
                unit = waiting.pop(0)
                if window.may_start(unit):
                    left = window.deadline - time.monotonic() - window.seconds(unit)
                    flying[build.remote(self.work, unit, self.beacon, Path.cwd(), time.time() + left)] = unit
            if not flying:
                return
            ended = self.ray.wait(list(flying), num_returns=len(flying), timeout=0)[0]
            for reference in ended:
                unit, outcome = flying.pop(reference), self._outcome(reference)
                if outcome is not None:
                    yield unit, outcome
            if self._is_lost():
                raise LakeError(
                    f"the Ray cluster at {self.head} does not answer any more: what was built is safe; run the same command "
                    "again when it does, or use ENGINE=local"
                )
            time.sleep(0 if ended else LOOK)

    def _watch(self) -> None:
        """Ask for the cluster's resources now and then; in a thread, since a question to a head that dies can hang."""
        while not self.left.wait(SILENCE / 10):
            with suppress(OSError, RuntimeError, self.ray.exceptions.RayError):
                socket.create_connection(_host_and_port(self.head), PATIENCE).close()
                self.resources, self.answered = self.ray.cluster_resources(), time.monotonic()

    def _is_lost(self) -> bool:
        return time.monotonic() > self.answered + SILENCE

    def _has(self, resource: str) -> int:
        return int(self.resources.get(resource, 0))

    def _ask_every_node(self) -> None:
        """LakeError that names the nodes on which nothing could be built."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        ask = self.ray.remote(_blindness)
        on = partial(NodeAffinitySchedulingStrategy, soft=False)
        asked = {n: ask.options(num_cpus=0, scheduling_strategy=on(n)).remote(self.beacon) for n in self._nodes()}
        said = {node: self._outcome(ended) for node, ended in asked.items()}
        alive = self._nodes()  # a node that is gone meanwhile builds nothing, and needs to see nothing
        if wrong := [why for node, why in said.items() if why and node in alive]:
            raise LakeError(f"{len(wrong)} of {len(alive)} node(s) of the Ray cluster cannot build, first: {wrong[0]}")

    def _nodes(self) -> set[str]:
        """Ids of the nodes that are there."""
        return {node["NodeID"] for node in self.ray.nodes() if node["Alive"]}

    def _outcome(self, ended: Any) -> Any:
        """What the task returned, or a LakeError for one that Ray gave up."""
        try:
            return self.ray.get(ended)
        except self.ray.exceptions.RayError as error:
            lines = [line for line in str(error).splitlines() if line.strip()]
            kind = type(error).__name__
            return LakeError(f"Ray gave it up ({kind}: {lines[-1].strip() if lines else ''}); run the command again")


def _build(work: Work, unit: Unit, beacon: Path | None, folder: Path, latest: float) -> Any:
    """In a worker: the outcome of the unit; None when the task began after `latest` of time.time().

    A user's modules are looked for in the current folder, so it is made the one that the build was started in.
    """
    if blindness := _blindness(beacon):
        return LakeError(blindness)
    if folder.is_dir():
        os.chdir(folder)
    return attempt(work, unit) if time.time() <= latest else None


def _blindness(beacon: Path | None) -> str:
    """In a worker: why nothing can be built here, or nothing."""
    if beacon is None or beacon.exists():
        return ""
    return (
        f"{platform.node()} does not see the lake in {beacon.parents[1]}: keep it in a folder that all nodes share, "
        "or at an address such as s3://bucket/lake"
    )


def _host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.removeprefix("ray://").rpartition(":")
    return host.strip("[]"), int(port)


def _unreachable(address: str, why: str) -> LakeError:
    why = " ".join(why.split())
    return LakeError(
        f"no Ray cluster at {address} ({why}). Nothing was built: start one with `ray start --head`, give its address as "
        "RAY_ADDRESS=host:port, or use ENGINE=local"
    )
