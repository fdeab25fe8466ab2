"""Deep checks of supports: what does not follow from the row itself, from its search or from the weights is named."""

import shutil

import pyarrow as pa
import pytest

from builders.rederive_supports import check
from lake import parquet
from lake.partition import Partition
from lake.store import Lake
from lake.tables import TABLES
from lake.verify import verify


@pytest.fixture(scope="module")
def copy(checked, tmp_path_factory):
    """A lake with data supports, to be changed."""
    return Lake(shutil.copytree(checked.root, tmp_path_factory.mktemp("copy") / "lake"))


@pytest.fixture
def resealed(copy):
    """Writes other rows under the name of a partition of supports, and takes them back; (the lake, its name)."""
    partition = max(copy.present("supports"), key=lambda p: max(copy.read(p)["size"].to_pylist()))
    path, rows = copy.root / partition.path, copy.read(partition).to_pylist()
    before, [facts] = path.read_bytes(), copy.facts({partition: copy.present("supports")[partition]}).values()

    def write(change):
        path.unlink()
        parquet.write(pa.Table.from_pylist(change(rows), TABLES["supports"].schema), TABLES["supports"], facts, path)
        return copy, partition

    yield write
    path.write_bytes(before)


def said(lake, partition, n_train=60):
    facts = lake.facts({p: s for table in ("weights", "supports") for p, s in lake.present(table).items()})
    return [problem.what for problem in check(lake, partition, facts, n_train)]


def largest(rows):
    """The removal of the most examples."""
    return max((row for row in rows if row["change"] == "removal"), key=lambda row: row["size"])


def changed(rows, row, **values):
    row.update(values)
    return rows


def test_a_clean_lake_is_clean(checked):
    sizes = [max(checked.read(p)["size"].to_pylist()) for p in checked.present("supports")]
    assert max(sizes) > 4
    assert [said(checked, p) for p in checked.present("supports")] == [[]] * len(sizes)
    assert verify(checked, deep=True) == []


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda rows: changed(rows, r := largest(rows), changed=r["changed"][:-1]), "examples in place"),
        (
            lambda rows: changed(rows, r := largest(rows), changed=r["changed"][1:] + r["changed"][1:2]),
            "names an example twice",
        ),
        (lambda rows: changed(rows, r := largest(rows), changed=[*r["changed"][:-1], 60]), "one that is not there"),
        (lambda rows: changed(rows, r := largest(rows), changed=r["changed"][::-1]), "no beginning of the order"),
        (lambda rows: changed(rows, r := largest(rows), flips=not r["flips"]), "and flips = "),
        (lambda rows: changed(rows, r := largest(rows), margins=[-m for m in r["margins"]]), "has the mean margin"),
        (lambda rows: changed(rows, largest(rows), label=3), "its labels are"),
        (
            lambda rows: changed(rows, r := largest(rows), predicted_margin=r["predicted_margin"] + 0.01),
            "is not that of lasso-",
        ),
        (lambda rows: rows[1:], "examples in place 0"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_does_not_follow_is_named(resealed, change, what):
    [problem] = said(*resealed(change))
    assert what in problem


def test_the_deep_check_of_a_lake_says_so(resealed):
    lake, partition = resealed(lambda rows: changed(rows, r := largest(rows), flips=not r["flips"]))
    assert verify(lake) == []  # the seal holds
    assert [problem.path for problem in verify(lake, deep=True)] == [partition.path]


def test_without_the_weights_predictions_are_not_judged(resealed):
    lake, partition = resealed(lambda rows: changed(rows, largest(rows), predicted_margin=99.0))
    assert isinstance(partition, Partition)
    assert list(check(lake, partition, {}, 60)) == []
    assert len(list(check(lake, partition, dict.fromkeys(lake.present("weights")), 60))) == 1
