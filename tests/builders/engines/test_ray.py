"""The Ray engine on a real cluster of two nodes: one is killed in mid-run, one does not see the lake, one is not there."""

import importlib
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from builders.engines import ray as engine
from builders.unit import Unit
from lake.errors import LakeError
from lake.partition import Partition
from lake.store import Lake
from lake.verify import verify

psutil = pytest.importorskip("psutil")
pytest.importorskip("ray")


def test_a_cluster_that_is_not_there_is_told_in_one_line(command, lake, study_file, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")
    ended = command("builders", "build-missing", "--study", study_file(), "--lake", lake.root, "--engine", "ray")
    assert (ended.code, ended.err.count("\n")) == (1, 1)
    assert f"no Ray cluster at 127.0.0.1:{port} ([Errno 111] Connection refused)" in ended.err
    assert "Nothing was built: start one with `ray start --head`" in ended.err
    assert not lake.present("masks")


def test_an_address_that_is_none_is_told_in_one_line(command, lake, study_file, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "somewhere")
    ended = command("builders", "build-missing", "--study", study_file(), "--lake", lake.root, "--engine", "ray")
    assert (ended.code, ended.err.count("\n")) == (1, 1)
    assert "no Ray cluster at somewhere (" in ended.err


def test_a_worker_that_does_not_see_the_lake_builds_nothing_and_a_late_one_neither(tmp_path):
    unit = Unit("masks", (Partition("masks", "small", "fit", 0),))
    beacon = tmp_path / "lake" / ".lake" / "beacon"
    blind = engine._build(lambda unit: "built", unit, beacon, tmp_path, float("inf"))
    assert isinstance(blind, LakeError)
    assert f"does not see the lake in {tmp_path / 'lake'}: keep it in a folder that all nodes share" in str(blind)
    beacon.parent.mkdir(parents=True)
    beacon.touch()
    assert engine._build(lambda unit: "built", unit, beacon, tmp_path / "elsewhere", float("inf")) == "built"
    assert engine._build(lambda unit: "built", unit, None, tmp_path / "elsewhere", 0.0) is None


@pytest.mark.slow
def test_a_node_killed_in_mid_run_costs_nothing_but_time(ray_cluster, slow_study, lake, contents, alone, until):
    slow_study.take(1_000)
    process = slow_study.command(lake, "--engine", "ray")
    until(lambda: len(slow_study.began()) == 2 or process.poll() is not None)
    ray_cluster.remove_node(ray_cluster.worker_nodes.copy().pop(), allow_graceful=False)
    until(
        lambda: not all(psutil.pid_exists(mark.process) for mark in slow_study.began())
    )  # a worker may outlive its node a little
    slow_study.take(0)
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert "64 models trained" in out
    assert len(slow_study.began()) == 5  # of 4: the one that was at hand on the node is begun again
    assert contents(lake) == contents(alone)
    ids = [(row["role"], row["model_id"]) for p in lake.present("margins") for row in lake.read(p).to_pylist()]
    assert len(ids) == len(set(ids)) == 64
    assert not list((lake.root / ".lake").glob("ray-*"))
    ray_cluster.add_node(num_cpus=1, object_store_memory=100_000_000)


@pytest.mark.slow
def test_nodes_meet_in_a_lake_on_an_object_store(ray_cluster, bucket, slow_study, contents, alone):
    lake = Lake(f"{bucket}/ray")
    slow_study.finish(lake, "--engine", "ray")
    assert contents(lake) == contents(alone)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "number", "code"), [((), signal.SIGINT, 130), ((), signal.SIGTERM, 143), (("--budget", "60s"), 0, 5)]
)
def test_stops_are_clean(ray_cluster, slow_study, lake, contents, alone, until, options, number, code):
    slow_study.take(1_000)
    started = time.monotonic()
    process = slow_study.command(lake, "--engine", "ray", *options)
    until(lambda: len(slow_study.began()) == 2 or process.poll() is not None)
    if number:
        process.send_signal(number)
    else:  # 16 s are expected for each: after 44 s no other may start
        until(lambda: time.monotonic() > started + 46)
        slow_study.take(0)
    _, err = process.communicate()
    assert process.returncode == code, err
    assert "Traceback" not in err
    assert len(lake.present("margins")) == (0 if number else 2)
    assert verify(lake, deep=False) == []
    slow_study.finish(lake)
    assert contents(lake) == contents(alone)


@pytest.mark.slow
def test_a_node_that_does_not_see_the_lake_is_named_before_anything_is_built(ray_cluster, slow_study, lake, until):
    import ray

    if os.geteuid() != 0:
        pytest.skip("a folder is hidden from a process by root only")
    lake.root.mkdir()
    hide = f'mount -t tmpfs none "{lake.root}" && exec ray start --address={ray_cluster.address} --num-cpus=1 --block'
    path = os.pathsep.join((os.path.dirname(sys.executable), os.environ["PATH"]))
    blind = subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", hide],
        env={**os.environ, "PATH": path},
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        ray.init(ray_cluster.address, log_to_driver=False, logging_level="ERROR")
        until(lambda: blind.poll() is not None or sum(node["Alive"] for node in ray.nodes()) == 3)
        ray.shutdown()
        process = slow_study.command(lake, "--engine", "ray")
        _, err = process.communicate()
        assert process.returncode == 1
        assert "1 of 3 node(s) of the Ray cluster cannot build, first: " in err.splitlines()[-1]
        assert f"does not see the lake in {lake.root}" in err
        assert not lake.present("masks")
    finally:
        os.killpg(blind.pid, signal.SIGTERM)
        blind.wait(60)


@pytest.mark.slow
def test_units_have_a_gpu_each_and_a_lost_cluster_is_told_in_one_line(slow_study, lake, contents, alone, until, monkeypatch):
    node = {"num_cpus": 2, "num_gpus": 1, "include_dashboard": False, "object_store_memory": 100_000_000}
    monkeypatch.setenv("RAY_worker_niceness", "0")
    cluster = importlib.import_module("ray.cluster_utils").Cluster(initialize_head=True, head_node_args=node)
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    slow_study.take(1.0)
    process = slow_study.command(lake, "--engine", "ray")
    until(lambda: len(slow_study.began()) == 2 or process.poll() is not None)
    assert lake.present("margins")  # the second began when the first was done, though there are two CPUs
    assert {mark.card for mark in slow_study.began()} == {"0"}
    slow_study.take(1_000)
    address = cluster.address
    cluster.head_node.kill_gcs_server(check_alive=False)
    _, err = process.communicate()
    cluster.shutdown()
    assert process.returncode == 1
    assert f"error: the Ray cluster at {address} does not answer any more: what was built is safe" in err
    assert "Traceback" not in err
    slow_study.finish(lake)
    assert contents(lake) == contents(alone)
