"""Deep checks of counterfactuals: what does not follow from the table removals, or from the weights, is named."""

import shutil
from dataclasses import replace

import pyarrow as pa
import pytest
from world import build, small

from lake import parquet
from lake.partition import Partition
from lake.store import Lake
from lake.tables import TABLES
from lake.verify import verify

COUNTERFACTUAL = {"targets": 3, "sizes": [2, 5], "methods": ["datamodel", "pixels"], "repeats": 2}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A lake of the small study with counterfactuals."""
    lake = Lake(tmp_path_factory.mktemp("counterfactual") / "lake")
    report = build(lake, small(removals=COUNTERFACTUAL, curve=[]))
    assert not report.failures
    return lake


@pytest.fixture(scope="module")
def role(whole):
    """The role of the counterfactuals."""
    [partition] = whole.present("removals")
    return partition.role


@pytest.fixture
def reseal(whole, tmp_path, role):
    """Writes other rows under the name of a partition of that table; what the deep check then says, by table."""
    lake = Lake(shutil.copytree(whole.root, tmp_path / "copy"))

    def write(table, change):
        partition = Partition(table, "small", role, 0)
        [facts] = lake.facts({partition: lake.present(table)[partition]}).values()
        rows = pa.Table.from_pylist(change(lake.read(partition).to_pylist()), TABLES[table].schema)
        (lake.root / partition.path).unlink()
        parquet.write(rows, TABLES[table], replace(facts), lake.root / partition.path)
        assert verify(lake) == []
        return {problem.path.split("/")[0]: problem.what for problem in verify(lake, deep=True)}

    return write


def swapped(rows, name, i, j):
    rows[i][name], rows[j][name] = rows[j][name], rows[i][name]
    return rows


def test_a_clean_lake_is_clean(whole, role):
    assert Partition("masks", "small", role, 0) in whole.present("masks")
    assert verify(whole, deep=True) == []


@pytest.mark.parametrize(
    ("table", "change", "what"),
    [
        ("masks", lambda rows: swapped(rows, "mask", 1, 2), "2 masks are not those of removals/study=small/"),
        ("masks", lambda rows: [r | {"mask_id": r["mask_id"] + 900} for r in rows], "masks are of no removal in"),
        ("masks", lambda rows: [rows[0], *rows[2:]], "mask ids are not those of one partition"),
        ("margins", lambda rows: [r | {"init_id": r["init_id"] + 1} for r in rows], "init_id is not what the repeats give"),
        ("margins", lambda rows: swapped(rows, "mask_id", 1, 2), "repeat does not count the models of a mask"),
        ("margins", lambda rows: rows[:-2], "its models are not those of the masks in"),
        ("margins", lambda rows: rows[:3] + rows[4:], "model ids are not those of one partition"),
        ("removals", lambda rows: [rows[0] | {"k": 3}, *rows[1:]], "does not remove k = 3 different examples"),
        ("removals", lambda rows: [r | {"removed": [60 + i for i in range(r["k"])]} for r in rows], "beyond the 60 there are"),
        (
            "removals",
            lambda rows: [r | {"predicted_change": r["predicted_change"] + 0.01} for r in rows],
            "predictions are not those of lasso-00048",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_does_not_follow_is_named(reseal, table, change, what):
    found = reseal(table, change)
    assert what in found[table]
