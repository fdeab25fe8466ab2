"""A lake on object storage and a mirror read in place: the same promises as on a disk, over a real server on this machine."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from lake.catalog import connect, write_catalog
from lake.errors import ConflictError, LakeError, UsageError
from lake.mirror import Request
from lake.partition import Partition
from lake.pull import pull
from lake.push import push
from lake.store import Lake
from lake.tables import TABLES
from lake.verify import quarantine, verify

ROOT = Path(__file__).parents[2]
FIT = Partition("masks", "half", "fit", 0)


@pytest.fixture
def remote(bucket):
    """A lake in the bucket, empty."""
    return Lake(f"{bucket}/lake")


def copy(source: Lake, target: Lake, table: str = "") -> Lake:
    """Put every partition of a lake, or of one of its tables, into another, byte for byte."""
    for path in source.files.list(table) if table else source.files.list():
        with source.files.as_local(path) as file:
            assert target.files.claim(file, path)
    return target


def test_publish_reads_back_and_refuses_other_rows(remote, rows_of, facts_of):
    assert remote.present("masks") == {}
    assert not remote.files.there()
    published = remote.publish(FIT, rows_of(FIT), facts_of(FIT))
    assert published.new
    assert remote.read(FIT) == rows_of(FIT)
    assert remote.facts(remote.present("masks"))[FIT] == published.facts
    assert not remote.publish(FIT, rows_of(FIT), facts_of(FIT, code="0.2.0")).new
    with pytest.raises(ConflictError):
        remote.publish(FIT, rows_of(FIT, 21), facts_of(FIT))
    assert remote.read(FIT) == rows_of(FIT)
    assert verify(remote, deep=True) == []
    assert list((remote.files.cache / ".staging").iterdir()) == []


def test_one_of_many_writers_wins(bucket, remote, tmp_path):
    wins = []

    def claim(i):
        (tmp_path / f"{i}").write_bytes(b"%d" % i)
        wins.append((Lake(remote.root).files.claim(tmp_path / f"{i}", FIT.path), i))

    threads = [threading.Thread(target=claim, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    [winner] = [i for won, i in wins if won]
    with remote.files.open(FIT.path) as source:
        assert source.read() == b"%d" % winner


def test_an_object_carries_its_hash_and_one_without_is_read(remote, sample, bucket):
    copy(sample, remote)
    for path in sample.files.list():
        assert remote.files.sha256(path) == sample.files.sha256(path)
    plain = f"{remote.root}/{FIT.path}"
    remote.files.system.pipe_file(plain, sample.root.joinpath(FIT.path).read_bytes())
    assert remote.files.system.metadata(plain) == {}
    assert remote.files.sha256(FIT.path) == sample.files.sha256(FIT.path)


def test_another_writers_object_is_seen_at_once_and_a_new_version_is_read_anew(remote, rows_of, facts_of):
    other = Lake(remote.root)
    assert other.present("masks") == {}
    remote.publish(FIT, rows_of(FIT), facts_of(FIT))
    first = other.present("masks")
    assert list(first) == [FIT]
    assert other.facts(first)[FIT].code == "0.1.0"
    remote.quarantine(FIT)
    assert other.present("masks") == {}
    remote.publish(FIT, rows_of(FIT), facts_of(FIT, code="0.1.1"))
    assert other.facts(other.present("masks"))[FIT].code == "0.1.1"


def test_damage_is_found_and_set_aside(remote, sample):
    copy(sample, remote)
    raw = bytearray(sample.root.joinpath(FIT.path).read_bytes())
    raw[40] ^= 1
    remote.files.system.pipe_file(f"{remote.root}/{FIT.path}", bytes(raw))
    problems = verify(remote)
    assert [p.path for p in problems] == [FIT.path]
    kept = quarantine(remote, problems)[FIT.path]
    assert remote.files.system.cat_file(f"{remote.root}/{kept}") == bytes(raw)
    assert verify(remote) == []


def test_the_same_views_as_on_a_disk(remote, sample):
    copy(sample, remote)
    there, here, locked = connect(remote.root), connect(sample.root), connect(remote.root, locked=True)
    for name in [*TABLES, "target_margins", "studies"]:
        query = f"select count(*) from {name}"
        assert there.sql(query).fetchall() == here.sql(query).fetchall()
    counts = [connection.sql("select count(*) from margins").fetchall() for connection in (locked, here)]
    assert counts[0] == counts[1] != [(0,)]
    with pytest.raises(UsageError, match="not on this machine"):
        write_catalog(remote.root)


def test_mirror_of_a_remote_lake(remote, sample, server, hub_of, bucket):
    copy(sample, remote, "masks")
    outcome = push(remote, hub_of(), Request(), print)
    assert len(outcome.moved) == len(sample.files.list("masks")) >= 4
    target = Lake(f"{bucket}/pulled")
    assert len(pull(target, hub_of(), Request(), print).moved) == len(outcome.moved)
    assert verify(target, deep=True) == []
    assert push(target, hub_of(), Request(), print).moved == []


def test_a_store_that_refuses_says_so(bucket, monkeypatch, rows_of, facts_of):
    with pytest.raises(LakeError, match="credentials"):
        Lake("s3://no-such-bucket-at-all/lake").publish(FIT, rows_of(FIT), facts_of(FIT))
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(LakeError, match="credentials"):
        Lake(f"{bucket}/lake").publish(FIT, rows_of(FIT), facts_of(FIT))
    with pytest.raises(UsageError, match="install"):
        Lake("nosuch://bucket/lake")


# ---- reading only what is needed


@pytest.fixture
def wide(lake, facts_of):
    """A lake with margins of 1,600 models on 1,000 targets each: 6 MB in 25 row groups."""
    import numpy as np
    import pyarrow as pa

    n, rng, partition = 1600, np.random.default_rng(0), Partition("margins", "half", "fit", 0)
    halves = pa.array(list(rng.normal(0, 4, (n, 1000)).astype(np.float16)), pa.list_(pa.float16()))
    spec = TABLES["margins"].schema
    values = {"study_id": ["half"] * n, "role": ["fit"] * n, "status": ["ok"] * n, "repeat": [0] * n}
    values |= {name: list(range(n)) for name in ("model_id", "mask_id", "init_id")}
    values |= {"test_accuracy": [0.5] * n, "train_accuracy": [0.5] * n, "test_margin": halves, "train_margin": halves}
    lake.publish(partition, pa.table([pa.array(values[f.name]).cast(f.type) for f in spec], schema=spec), facts_of(partition))
    return lake


QUESTIONS = {
    "select count(*), sum(init_id) from margins": 0.1,
    "select sum(len(test_margin)) from margins where model_id between 100 and 160": 0.25,
}


@pytest.mark.parametrize(("question", "share"), QUESTIONS.items())
def test_a_mirror_read_in_place_fetches_only_what_is_asked(wide, server, hub_of, monkeypatch, question, share):
    server.page = 1000
    push(wide, hub_of(), Request(), print)
    monkeypatch.setattr("lake.hub.HfApi.__init__", _with_endpoint(server.url))
    connection = connect("hf://datasets/tester/lake@main")
    sent, size = server.bytes_sent, wide.present("margins").popitem()[1].size
    assert connection.sql(question).fetchall() == connect(wide.root).sql(question).fetchall()
    assert 0 < server.bytes_sent - sent < share * size


def _with_endpoint(url):
    from huggingface_hub import HfApi

    real = HfApi.__init__
    return lambda self, endpoint=None, token=None, **options: real(self, endpoint or url, token or "hf_secretsecret", **options)


@pytest.mark.parametrize(("question", "share"), QUESTIONS.items())
def test_a_remote_lake_fetches_only_what_is_asked(wide, remote, monkeypatch, question, share):
    import s3fs

    copy(wide, remote)
    fetched, real = [], s3fs.S3FileSystem._cat_file

    async def counted(*arguments, **options):
        data = await real(*arguments, **options)
        fetched.append(len(data))
        return data

    monkeypatch.setattr(s3fs.S3FileSystem, "_cat_file", counted)
    connection, size = connect(remote.root), wide.present("margins").popitem()[1].size
    fetched.clear()
    assert connection.sql(question).fetchall() == connect(wide.root).sql(question).fetchall()
    assert 0 < sum(fetched) < share * size


# ---- the whole study


@pytest.mark.slow
def test_two_builders_at_once_fill_a_bucket(bucket):
    address = f"{bucket}/lake"
    command = [sys.executable, "-m", "builders", "build-missing", "--study", "tiny", "--lake", address, "--workers", "1"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    both = [subprocess.Popen(command, env=environment, cwd=ROOT, stderr=subprocess.PIPE) for _ in range(2)]
    assert [(p.wait(timeout=240), p.stderr.read()[-500:] if p.returncode else b"") for p in both] == [(0, b"")] * 2
    lake = Lake(address)
    assert verify(lake) == []
    again = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert "nothing to do" in again.stdout + again.stderr
    connection = connect(address)
    [(models,)] = connection.sql("select count(*) from margins where role in ('fit', 'heldout')").fetchall()
    assert models == 192 + 64
    [(lds,)] = connection.sql("select count(*) from fits where split = 'test'").fetchall()
    assert lds >= 100
