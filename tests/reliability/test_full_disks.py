"""R4, further: the disk is full under a pull, and under what a query cannot hold in memory."""

import os

import duckdb
import pytest
from fakehub import FakeHub
from fakehub_repo import Repo
from huggingface_hub import HfApi
from world import content, masks

from lake.catalog import SPILL, connect, lock, naming_damage
from lake.content import content_hash
from lake.errors import LakeError
from lake.hub import Hub
from lake.mirror import Request
from lake.pull import pull
from lake.push import push
from lake.store import Lake

LARGE = "select count(*) from (select distinct md5(range::varchar) from range(1_000_000))"


@pytest.fixture
def mirror():
    """Makes the session of a fake Hub's one repo."""
    with FakeHub() as server:
        server.repos["tester/lake"] = Repo()
        yield lambda: Hub("tester/lake", api=HfApi(endpoint=server.url, token="hf_x"), pause=lambda seconds: None)


@pytest.mark.row("R4")
def test_a_pull_onto_a_full_disk_stops_by_name_and_room_lets_it_go_on(disk, tmp_path, mirror, tally, audited):
    source = Lake(tmp_path / "source")
    for index in range(6):
        source.publish(*masks(index, n_masks=4_000))
    push(source, mirror(), Request(), lambda line: None)
    folder = disk(1)
    (folder / "ballast").write_bytes(bytes(830_000))
    lake = Lake(folder / "lake")
    with pytest.raises(LakeError, match=r"disk full: .*lake.* has \d\.\d MB free.*run the same command again"):
        pull(lake, mirror(), Request(), lambda line: None)
    there = list(lake.present("masks"))
    assert 0 < len(there) < 6
    assert audited(lake) == []
    tally(faults_injected=1, survived=1, named=1, acknowledged=len(there))
    (folder / "ballast").unlink()
    assert len(pull(lake, mirror(), Request(), lambda line: None).moved) == 6 - len(there)  # what arrived is not fetched again
    assert audited(lake) == []
    assert not (lake.files.cache / "stage").exists()


@pytest.fixture
def asked(disk, lake, monkeypatch):
    """A lake's connection with little memory, in a folder with a disk of so many megabytes."""

    def make(megabytes: float) -> duckdb.DuckDBPyConnection:
        monkeypatch.chdir(disk(megabytes))
        lake.publish(*masks(0))
        connection = connect(lake.root)
        connection.execute("set memory_limit = '50MB'; set threads = 1")
        lock(connection, {lake.files.url(p.path) for p in lake.present("masks")})
        return connection

    return make


@pytest.mark.row("R4")
def test_a_query_that_spills_onto_a_full_disk_is_one_line_and_the_lake_is_as_before(asked, lake, tally):
    connection = asked(4)
    with pytest.raises(LakeError, match=r"Memory is full, and .*\.tmp has \d\.\d MB free") as said, naming_damage():
        connection.execute(LARGE)
    assert type(said.value) is LakeError  # no file is called damaged
    assert "\n" not in str(said.value)
    assert connection.execute("select count(*) from masks").fetchone() == (3,)
    connection.close()
    assert not os.path.exists(SPILL)
    assert content_hash(lake.read(masks(0)[0])) == content(0)
    tally(faults_injected=1, survived=1, named=1)


@pytest.mark.row("R4", control=True)
def test_the_same_query_spills_where_there_is_room(asked):
    connection = asked(200)
    assert connection.execute(LARGE).fetchone() == (1_000_000,)
    assert os.listdir(SPILL)
