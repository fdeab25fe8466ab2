"""What an engine costs beside `local`: wall seconds of a build of the study `tiny` by two workers, each into a fresh lake.

`python tests/bench/measure_engines.py [ROUNDS]` measures those in reach: Ray at RAY_ADDRESS, or on a cluster of two nodes that
it starts itself; Slurm where there is an sbatch (SLURM_CONF tells which). Packs of Slurm are cut to two seconds, since the
study takes less than the shortest that is worth a job. Prints seconds by engine, medians over the rounds, in turns.
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CODE = """
from builders.engines import slurm
slurm.PACK = (2.0, 2.0)
from builders.__main__ import app
from lake.cli import run
run(app)
"""


def seconds(engine: str) -> float:
    """Wall seconds of the command from start to exit."""
    with tempfile.TemporaryDirectory() as folder:
        options = ("--study", "tiny", "--lake", f"{folder}/lake", "--workers", "2", "--engine", engine)
        began = time.monotonic()
        subprocess.run([sys.executable, "-c", CODE, "build-missing", *options], check=True, capture_output=True)
        return time.monotonic() - began


def main() -> None:
    """Measure and print."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    os.environ["PYTHONPATH"] = str(Path(__file__).parents[2])
    engines = ["local", *(["slurm"] if shutil.which("sbatch") else [])]
    cluster = None
    if not os.environ.get("RAY_ADDRESS"):
        from ray.cluster_utils import Cluster

        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        cluster.add_node(num_cpus=1)
        os.environ["RAY_ADDRESS"] = cluster.address
    engines.append("ray")
    took = [{engine: seconds(engine) for engine in engines} for _ in range(rounds)]
    if cluster:
        cluster.shutdown()
    for engine in engines:
        print(f"{engine:<6} {statistics.median(each[engine] for each in took):6.1f} s")


if __name__ == "__main__":
    main()
