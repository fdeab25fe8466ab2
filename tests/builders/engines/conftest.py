"""For the engines' tests: an object store, a Ray cluster of two nodes, and a study whose models take their time."""

import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from builders.study import Study
from lake.store import Lake

ROOT = Path(__file__).parents[3]

SLOW = """
    import os
    import time
    from pathlib import Path

    import numpy as np
    from builders import counter
    from builders.training.interface import Logits

    def prepare(data):
        n_train, n_classes = len(data.train_labels), data.n_classes
        effects = np.random.default_rng(0).normal(size=(n_train, n_train + len(data.test_labels), n_classes))

        def train(group):
            job = [os.environ[name] for name in ("SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID") if name in os.environ]
            job = "_".join(job) or os.environ.get("SLURM_JOB_ID", "")
            marks = (str(os.getpid()), job, os.environ.get("CUDA_VISIBLE_DEVICES", ""))
            Path(FOLDER, f"began-{time.time_ns()}").write_text(" ".join(marks))
            began = time.monotonic()
            while time.monotonic() < began + float(Path(FOLDER, "seconds").read_text()):
                time.sleep(0.05)
            noise = counter.uniform(counter.words(group.seed, group.role, group.order_ids))
            logits = np.tensordot(group.masks.astype(float), effects, 1) + noise[:, None, None] * effects[0]
            logits = logits.astype(np.float32)
            return Logits(logits[:, :n_train], logits[:, n_train:])
        return train
"""


class Began(NamedTuple):
    """Where models were begun."""

    process: int
    job: str
    """Of Slurm."""
    card: str
    """What CUDA_VISIBLE_DEVICES said."""


class SlowStudy:
    """A study of 4 partitions of models; each takes `seconds`, and leaves a mark when it begins."""

    def __init__(self, folder: Path, path: Path, study: Study) -> None:
        self.folder, self.path, self.study = folder, path, study
        self.started: list[subprocess.Popen] = []

    def take(self, seconds: float) -> None:
        """Let each partition of models, those at hand too, take so long."""
        (self.folder / "fresh").write_text(str(seconds))
        (self.folder / "fresh").replace(self.folder / "seconds")

    def began(self) -> list[Began]:
        """The partitions of models that were begun, in order."""
        marks = (mark.read_text().split(" ") for mark in sorted(self.folder.glob("began-*")))
        return [Began(int(mark[0]), *mark[1:]) for mark in marks if len(mark) == 3]

    def command(self, lake: Lake, *options: object, before: str = "pass") -> subprocess.Popen:
        """`python -m builders build-missing` in a process group of its own, after the Python statement `before`."""
        code = f"{before}\nfrom builders.__main__ import app\nfrom lake.cli import run\nrun(app)"
        line = [sys.executable, "-c", code, "build-missing", "--study", self.path, "--lake", lake.root, *map(str, options)]
        pipe = subprocess.PIPE
        self.started.append(
            subprocess.Popen(line, cwd=self.folder, stdout=pipe, stderr=pipe, text=True, start_new_session=True)
        )
        return self.started[-1]

    def finish(self, lake: Lake, *options: object, before: str = "pass") -> None:
        """The same, now with models that take no time, to its good end."""
        self.take(0)
        process = self.command(lake, *options, before=before)
        _, err = process.communicate()
        assert process.returncode == 0, err


@pytest.fixture
def slow_study(own, study_file, study_of, tmp_path, monkeypatch) -> Iterator[SlowStudy]:
    """The small study with models that take as long as they are told."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(ROOT), str(tmp_path))))
    algorithm = {"name": f"{own(SLOW.replace('FOLDER', repr(str(tmp_path))))}:prepare"}
    made = SlowStudy(tmp_path, study_file(algorithm=algorithm), study_of(algorithm=algorithm))
    made.take(0)
    yield made
    for process in made.started:
        process.kill()
        process.wait()


@pytest.fixture
def alone(slow_study, build_missing, tmp_path) -> Lake:
    """What one process makes of the slow study."""
    lake = Lake(tmp_path / "alone")
    assert build_missing(lake, slow_study.study).models == 64
    for mark in tmp_path.glob("began-*"):
        mark.unlink()
    return lake


@pytest.fixture
def until() -> Callable[[Callable[[], object]], None]:
    """Waits until something holds; patience is counted in looks, which a machine that stalls does not spend."""

    def wait(holds: Callable[[], object]) -> None:
        for _ in range(3_000):
            if holds():
                return
            time.sleep(0.1)
        raise AssertionError("still not after five minutes")

    return wait


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """The address of an empty bucket of an object store that every process of this machine reaches by its variables."""
    import fsspec

    moto = pytest.importorskip("moto.server")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    settings = {"AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_ACCESS_KEY_ID": "ada", "AWS_SECRET_ACCESS_KEY": "secret"}
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as cache:
        for name, value in (settings | {"AWS_DEFAULT_REGION": "us-east-1", "LAKE_CACHE": cache}).items():
            patch.setenv(name, value)
        name = f"b-{uuid.uuid4().hex}"
        fsspec.filesystem("s3", skip_instance_cache=True).mkdir(name)
        yield f"s3://{name}"
    server.stop()


@pytest.fixture(scope="module")
def ray_cluster(bucket) -> Iterator[object]:
    """A Ray cluster of two nodes with a CPU each, found through RAY_ADDRESS."""
    cluster_utils = pytest.importorskip("ray.cluster_utils")
    node = {"num_cpus": 1, "object_store_memory": 100_000_000}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_worker_niceness", "0")  # else a busy machine lets its workers wait for minutes
        cluster = cluster_utils.Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
        patch.setenv("RAY_ADDRESS", cluster.address)
        cluster.add_node(**node)
        yield cluster
        cluster.shutdown()
