"""Adopting others' partitions: an honest one passes, and margins that belong to other models do not, however likely they look."""

import numpy as np
import pyarrow as pa
import pytest
from fakehub import FakeHub
from fakehub_repo import Repo
from huggingface_hub import HfApi

from builders.adopt import adopt
from builders.adopt_source import Source
from builders.retrain import retrain
from lake import parquet
from lake.check import check
from lake.errors import ConflictError, UsageError
from lake.partition import Partition
from lake.store import Lake
from lake.tables import TABLES
from lake.verify import verify

FIT = Partition("margins", "small", "fit", 1)


@pytest.fixture
def toml(study_file) -> str:
    """The small study as a file, which no shipped one is."""
    return str(study_file())


def rewrite(lake: Lake, partition: Partition, columns: dict[str, pa.Array]) -> None:
    """Put a sealed file with other columns in the place of the partition."""
    facts, rows = lake.facts({partition: lake.present("margins")[partition]})[partition], lake.read(partition)
    for name, column in columns.items():
        rows = rows.set_column(rows.column_names.index(name), TABLES["margins"].schema.field(name), column)
    (lake.root / partition.path).unlink()
    parquet.write(rows, TABLES["margins"], facts, lake.root / partition.path)


def rotate(lake: Lake, partition: Partition) -> None:
    """Give each model of the partition the margins of the next: seeds, masks and distribution are as they should be."""
    rows = lake.read(partition)
    turned = pa.array(np.roll(np.arange(rows.num_rows), 1))
    names = ("test_margin", "train_margin", "test_accuracy", "train_accuracy")
    rewrite(lake, partition, {name: rows[name].combine_chunks().take(turned) for name in names})


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


def test_models_of_a_single_target_are_no_further_apart_for_it(lake, study_of, study_file, build_missing):
    dataset = {"source": "digits", "n_train": 60, "n_test": 1}
    build_missing(lake, study_of(dataset=dataset, models=16))
    assert check(lake, [Partition("margins", "small", "fit", 0).path], str(study_file(dataset=dataset, models=16))) == []


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


def test_counterfactual_models_are_trained_again_too(lake, study_of, study_file, build_missing):
    plan = {"targets": 2, "sizes": [3], "methods": ["datamodel"], "repeats": 2}
    assert not build_missing(lake, study_of(removals={**plan, "sizes": (3,), "methods": ("datamodel",)})).left
    partition = min(p for p in lake.present("margins") if p.role.startswith("removal-"))
    assert check(lake, [partition.path], str(study_file(removals=plan))) == []
    margins = lake.read(partition)["test_margin"].combine_chunks()
    halves = pa.array(-margins.flatten().to_numpy(zero_copy_only=False))
    rewrite(lake, partition, {"test_margin": pa.ListArray.from_arrays(margins.offsets, halves, type=margins.type)})
    [problem] = list(retrain(lake, partition, str(study_file(removals=plan))))
    assert "other margins" in problem.what
    with pytest.raises(UsageError, match=r"\[removals\]"):
        list(retrain(lake, partition, str(study_file())))


def test_an_adopted_study_is_not_vouched_for(lake, tmp_path):
    masks = np.stack([np.random.default_rng(i).permutation(30) < 15 for i in range(12)])
    np.save(tmp_path / "mask.npy", masks)
    np.save(tmp_path / "val_margins.npy", np.random.default_rng(0).normal(0, 4, (12, 5)))
    paths = [p.path for p in adopt(lake, "theirs", Source(tmp_path / "mask.npy", tmp_path / "val_margins.npy"))]
    [problem] = check(lake, paths)
    assert "cannot be trained again" in problem.what
    assert verify(lake, deep=True) == []
