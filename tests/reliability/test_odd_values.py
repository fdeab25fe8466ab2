"""Sealed files of values that cannot be: every query and the deep check answer, or say in one line what is wrong."""

import shutil
from collections.abc import Iterator
from dataclasses import replace

import pyarrow as pa
import pytest
from world import build, small

from builders import study
from lake import parquet
from lake.errors import LakeError
from lake.partition import Partition
from lake.schema import Table
from lake.store import Lake
from lake.tables import TABLES
from lake.verify import quarantine, verify
from queries.run import ask, shipped

MUST = {"target_id": "0", "study": "tiny"}
"""Values of parameters that a query cannot do without."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Lake:
    """A lake with every table that a study fills."""
    lake = Lake(tmp_path_factory.mktemp("odd") / "lake")
    assert not build(lake, study.load("tiny")).failures
    return lake


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Lake:
    """A lake of masks and models, not yet fitted."""
    lake = Lake(tmp_path_factory.mktemp("models") / "lake")
    build(lake, small())
    for table in ("fits", "weights", "predictions"):
        shutil.rmtree(lake.root / table)
    return lake


def odd(spec: Table, rows: list[dict]) -> Iterator[tuple[str, list[dict]]]:
    """The rows with values that the types allow, and that no builder writes."""

    def columns(kind) -> list[str]:
        return [column.name for column in spec.columns if kind(column.type)]

    lists, floats, numbers = columns(pa.types.is_list), columns(pa.types.is_floating), columns(pa.types.is_int32)
    blobs, texts = columns(pa.types.is_binary), columns(pa.types.is_string)[1:]
    own = [name for name in texts if name != "role"]
    yield "no rows", []
    yield "one row", rows[:1]
    yield "empty lists", [row | {n: row[n] and [] for n in lists} | dict.fromkeys(blobs, b"") for row in rows]
    yield "ragged lists", [row | {n: row[n] and row[n][: i % 3] for n in [*lists, *blobs]} for i, row in enumerate(rows)]
    yield "NULLs", [row | {c.name: None for c in spec.columns if c.nullable} for row in rows]
    yield "large ids", [row | {n: row[n] and 2**31 - 1 for n in numbers} for row in rows]
    yield "large numbers", [row | {n: row[n] and 3e38 for n in floats} for row in rows]
    yield "no texts", [row | {n: row[n] and "" for n in own} for row in rows]


@pytest.mark.slow
@pytest.mark.row("B3")
@pytest.mark.parametrize("table", sorted(TABLES.keys() - {"scores", "planted"}))
def test_values_that_cannot_be_end_no_query_in_a_traceback(whole, tmp_path, table, tally):
    spec, partitions = TABLES[table], whole.present(table)
    assert partitions
    for number, (name, _) in enumerate(odd(spec, [])):
        lake = Lake(shutil.copytree(whole.root, tmp_path / str(number)))
        for partition, facts in whole.facts(partitions).items():
            rows = dict(odd(spec, whole.read(partition).to_pylist()))[name]
            (lake.root / partition.path).unlink()
            parquet.write(
                pa.Table.from_pylist(rows, spec.schema), spec, replace(facts, rows=len(rows)), lake.root / partition.path
            )
        for query in (q for q in shipped().values() if table in q.tables or "macro" in q.tables):
            given = {param.name: MUST[param.name] for param in query.params if param.default is None}
            told = _told(lambda query=query, given=given: ask(query.name, given, lake.root))
            assert "\n" not in told, (name, query.name)
        assert "\n" not in _told(lambda: verify(lake, deep=True))
        tally(bad_tried=1)
        shutil.rmtree(lake.root)


@pytest.mark.row("B3")
@pytest.mark.parametrize(("table", "role"), [("masks", "fit"), ("masks", "heldout"), ("margins", "fit")])
@pytest.mark.parametrize("kind", ["no rows", "one row", "empty lists", "ragged lists"])
def test_a_fit_on_models_that_cannot_be_names_their_file_and_how_to_mend_it(models, tmp_path, table, role, kind, tally):
    lake, partition = Lake(shutil.copytree(models.root, tmp_path / "lake")), Partition(table, "small", role, 0)
    spec, [facts] = TABLES[table], models.facts({partition: models.present(table)[partition]}).values()
    rows = dict(odd(spec, models.read(partition).to_pylist()))[kind]
    (lake.root / partition.path).unlink()
    parquet.write(pa.Table.from_pylist(rows, spec.schema), spec, replace(facts, rows=len(rows)), lake.root / partition.path)
    report = build(lake, small())
    assert report.failures
    assert all(partition.path in line and "`make verify DEEP=1 QUARANTINE=1` sets it aside" in line for line in report.failures)
    quarantine(lake, verify(lake, deep=True))
    assert not build(lake, small()).failures
    assert verify(lake, deep=True) == []
    tally(bad_tried=1, refused=1)


def _told(call) -> str:
    """The error of ours that a call ends with; empty when it answers. Any other error fails the test."""
    try:
        call()
    except LakeError as error:
        return str(error)
    return ""
