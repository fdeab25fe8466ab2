"""Adopting others' partitions: an honest one passes, and margins that belong to other models do not, however likely they look."""

import numpy as np
import pyarrow as pa
import pytest
from fakehub import FakeHub
from fakehub_repo import Repo
from huggingface_hub import HfApi

from lake import parquet
from lake.check import check
from lake.errors import ConflictError, UsageError
from lake.partition import Partition
from lake.store import Lake
from lake.tables import TABLES

FIT = Partition("margins", "small", "fit", 1)


@pytest.fixture
def toml(study_file) -> str:
    """The small study as a file, which no shipped one is."""
    return str(study_file())


def rotate(lake: Lake, partition: Partition) -> None:
    """Give each model of the partition the margins of the next: seeds, masks and distribution are as they should be."""
    facts = lake.facts({partition: lake.present("margins")[partition]})[partition]
    rows = lake.read(partition)
    turned = np.roll(np.arange(rows.num_rows), 1)
    for name in ("test_margin", "train_margin", "test_accuracy", "train_accuracy"):
        column = rows[name].combine_chunks().take(pa.array(turned))
        rows = rows.set_column(rows.column_names.index(name), TABLES["margins"].schema.field(name), column)
    (lake.root / partition.path).unlink()
    parquet.write(rows, TABLES["margins"], facts, lake.root / partition.path)


def test_an_honest_partition_passes(built_copy, toml):
    paths = [p.path for table in ("masks", "margins") for p in built_copy.present(table)]
    assert len(paths) >= 8
    assert check(built_copy, paths, toml) == []


def test_margins_of_other_models_are_found_by_training_one_again(built_copy, toml):
    rotate(built_copy, FIT)
    [problem] = check(built_copy, [FIT.path], toml)
    assert problem.path == FIT.path
    assert "trained again" in problem.what
    assert check(built_copy, [Partition("margins", "small", "fit", 0).path], toml) == []


def test_a_partition_of_another_study_or_of_an_unknown_one_is_told(built_copy, study_file):
    with pytest.raises(ConflictError, match="alpha"):
        check(built_copy, [FIT.path], str(study_file(alpha=0.25)))
    with pytest.raises(UsageError, match="small"):
        check(built_copy, [FIT.path])
    with pytest.raises(UsageError, match="no partition"):
        check(built_copy, ["margins/study=small/fit-00077.parquet"])


def test_a_checked_pull_sets_aside_what_fails(built_copy, toml, tmp_path, monkeypatch, command):
    rotate(built_copy, FIT)
    with FakeHub() as server:
        server.repos["stranger/lake"] = Repo()
        monkeypatch.setattr("lake.hub.HfApi", lambda: HfApi(endpoint=server.url, token="hf_secretsecret"))
        assert command("lake", "push", "stranger/lake", "--lake", str(built_copy.root)).code == 0
        target = Lake(tmp_path / "target")
        ended = command("lake", "pull", "stranger/lake", "--lake", str(target.root), "--check", "--study", toml)
    assert ended.code == 4
    assert f"{FIT.path}: set aside as .quarantine/" in ended.out
    assert built_copy.present("margins").keys() - target.present("margins").keys() == {FIT}
    assert built_copy.present("weights").keys() == target.present("weights").keys()
