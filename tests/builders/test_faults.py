"""Planted faults and keep-lists: known faults at known places, everything else as it was, and a table that says which."""

import csv

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from builders import datasets, faults, study
from builders.study import Dataset, Planted
from lake.catalog import connect
from lake.errors import ConflictError, UsageError

PLANTED = Planted(labels=6, copies=3, near_copies=2, leaks=4, seed=1)
CLEAN = Dataset(source="digits", n_train=60, n_test=20)
FAULTY = CLEAN.model_copy(update={"planted": PLANTED})


def test_faults_are_where_the_list_says_and_nothing_else_changed():
    clean, faulty, found = datasets.load(CLEAN), datasets.load(FAULTY), datasets.faults_of(FAULTY)
    kinds = [fault.kind for fault in found]
    assert {kind: kinds.count(kind) for kind in kinds} == {"label": 6, "copy": 3, "near-copy": 2, "leak": 4}
    assert [fault.train_id for fault in found] == sorted(fault.train_id for fault in found)
    assert len(faulty.train_labels) == 60 + 3 + 2 + 4
    assert np.array_equal(faulty.train_images[:60], clean.train_images)
    assert np.flatnonzero(faulty.train_labels[:60] != clean.train_labels).tolist() == [f.train_id for f in found[:6]]
    assert np.array_equal(faulty.test_images, clean.test_images)
    assert all(fault.true_label == clean.train_labels[fault.train_id] for fault in found[:6])


def test_copies_are_equal_and_near_copies_nearly():
    faulty = datasets.load(FAULTY)
    for fault in datasets.faults_of(FAULTY)[6:]:
        of = getattr(faulty, f"{fault.source_split}_images")[fault.source_id].astype(int)
        apart = np.abs(faulty.train_images[fault.train_id].astype(int) - of).max()
        assert apart == 0 if fault.kind == "copy" else 0 < apart <= faults.NOISE
        assert faulty.train_labels[fault.train_id] == fault.true_label
        assert fault.source_split == ("test" if fault.kind == "leak" else "train")
    assert {f.source_id for f in datasets.faults_of(FAULTY)[6:11]}.isdisjoint(
        f.train_id for f in datasets.faults_of(FAULTY)[:6]
    )


def test_faults_follow_from_the_seed():
    other = FAULTY.model_copy(update={"planted": PLANTED.model_copy(update={"seed": 2})})
    assert datasets.digest(FAULTY) == datasets.digest_of(datasets.load(FAULTY)) != datasets.digest(other)
    assert FAULTY.name != other.name
    assert FAULTY.name.startswith("digits-60-20-planted-")


def test_every_other_class_is_as_likely():
    ids = np.arange(9_000)
    labels = faults._other_class(0, ids, ids % 10, 10)
    assert (labels != ids % 10).all()
    counts = np.bincount((labels - ids) % 10)[1:]
    assert np.abs(counts - 1_000).max() < 5 * np.sqrt(1_000)


def test_more_faults_than_examples_are_refused():
    with pytest.raises(UsageError, match="70 of 60 training"):
        datasets.load(CLEAN.model_copy(update={"planted": Planted(labels=70)}))
    with pytest.raises(UsageError, match="21 of 20 test"):
        datasets.load(CLEAN.model_copy(update={"planted": Planted(leaks=21)}))


def write_list(path, ids):
    """A keep-list as the query writes it."""
    if path.suffix == ".parquet":
        pq.write_table(pa.table({"train_id": ids, "n_dropped": [1] * len(ids)}), path)
        return path
    with path.open("w", newline="") as lines:
        csv.writer(lines, quoting=csv.QUOTE_ALL).writerows([["train_id", "n_dropped"], *([i, 1] for i in ids)])
    return path


@pytest.mark.parametrize("name", ["clean.csv", "clean.parquet"])
def test_a_keep_list_leaves_the_others_out_and_moves_the_faults(tmp_path, name):
    found = datasets.faults_of(FAULTY)
    gone = {found[0].train_id, found[-1].train_id}
    ids = [i for i in range(69) if i not in gone]
    kept = FAULTY.model_copy(update={"keep": str(write_list(tmp_path / name, ids[::-1]))})
    faulty, cleaned = datasets.load(FAULTY), datasets.load(kept)
    assert kept.name == f"{FAULTY.name}-keep-clean"
    assert np.array_equal(cleaned.train_images, faulty.train_images[ids])
    assert np.array_equal(cleaned.train_labels, faulty.train_labels[ids])
    left = datasets.faults_of(kept)
    assert [f._replace(train_id=ids[f.train_id]) for f in left] == found[1:-1]


@pytest.mark.parametrize(
    ("ids", "said"),
    [
        ([0, 0], "all different"),
        ([69], "below 69"),
        ([-1], "below 69"),
        ([], "one or more"),
        (["x"], "no list"),
        (None, "no list"),
    ],
)
def test_a_list_that_does_not_fit_is_refused(tmp_path, ids, said):
    path = tmp_path / "clean.csv"
    if ids is not None:
        write_list(path, ids)
    with pytest.raises(UsageError, match=said):
        datasets.load(FAULTY.model_copy(update={"keep": str(path)}))


def test_a_lake_says_which_faults_there_are(lake, study_of, build_missing, tmp_path):
    fields = {"source": "digits", "n_train": 60, "n_test": 20}
    chosen = study_of(dataset={**fields, "planted": PLANTED.model_dump()})
    build_missing(lake, chosen)
    shell = connect(lake.root)
    assert shell.execute("select count(*), count(distinct kind) from planted").fetchone() == (15, 4)
    wrong = "select true_label <> label from planted join examples using (dataset_id, split, example_id) where kind = 'label'"
    assert shell.execute(wrong).fetchall() == [(True,)] * 6
    assert build_missing(lake, chosen).added == {}
    assert shell.execute("select dataset_id from studies").fetchall() == [(chosen.dataset.name,)]


def test_a_keep_list_that_changed_under_its_name_is_another_dataset(lake, study_of, build_missing, tmp_path):
    path = write_list(tmp_path / "clean.csv", range(50))
    chosen = study_of(dataset={"source": "digits", "n_train": 60, "n_test": 20, "keep": str(path)})
    build_missing(lake, chosen)
    write_list(path, range(40))
    datasets.load.cache_clear()
    with pytest.raises(ConflictError, match="another dataset"):
        build_missing(lake, chosen)


def test_options_that_cannot_be_name_the_field():
    for dataset, said in (({"keep": "list.txt"}, "dataset.keep"), ({"planted": {"label": 3}}, "did you mean labels")):
        with pytest.raises(UsageError, match=said):
            study.parse({"name": "x", "algorithm": {"name": "patchnet"}, "dataset": dataset}, "x.toml")
