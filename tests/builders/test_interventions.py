"""Interventions: either end of a component is taken away, and models are coupled to those trained on everything."""

import shutil

import numpy as np
import pytest

from builders import datasets, interventions, masks, orders, rederive, removals, structure
from builders.margins import margin
from builders.retrain import retrain
from builders.training.interface import Group
from lake.errors import LakeError
from lake.partition import Partition
from lake.store import Lake


@pytest.fixture(scope="module")
def role(structured_study):
    return interventions.role(structured_study)


@pytest.fixture(scope="module")
def rows(structured, role):
    return structured.read(Partition("interventions", "small", role, 0)).to_pylist()


def test_the_ends_are_the_examples_with_the_largest_and_smallest_loadings(rows, structured, structured_study):
    components = structured.read(Partition("components", "small", structure.role(structured_study), 0)).to_pylist()
    loadings = {row["component"]: np.array(row["train_loading"]) for row in components if row["train_loading"]}
    ends = [row for row in rows if row["side"] != "random"]
    assert [(row["component"], row["side"]) for row in ends] == [(0, "high"), (0, "low"), (1, "high"), (1, "low")]
    for row in ends:
        toward = loadings[row["component"]] * (1 if row["side"] == "high" else -1)
        rest = np.delete(toward, row["removed"])
        assert len(set(row["removed"])) == row["k"] == 7
        assert toward[row["removed"]].min() >= rest.max()


def test_random_sets_are_those_of_removals(rows, structured_study):
    random = [row for row in rows if row["side"] == "random"]
    assert [row["removal_id"] for row in rows] == list(range(1, 13))
    assert [row["component"] for row in random] == [None] * 8
    assert [row["removed"] for row in random] == [removals.random_set(structured_study, 7, i, 60).tolist() for i in range(8)]


def test_masks_are_everything_but_the_sets(rows, structured, role):
    found = structured.read(Partition("masks", "small", role, 0))
    drawn = masks.unpack(found, 60)
    assert found["mask_id"].to_pylist() == list(range(13))
    assert [np.flatnonzero(~mask).tolist() for mask in drawn] == [[], *(sorted(row["removed"]) for row in rows)]


def test_a_margin_is_that_of_a_model_trained_by_hand(rows, structured, structured_study, role):
    data, one = datasets.load(structured_study.dataset), np.array([1])
    found = structured.read(Partition("margins", "small", role, 0)).to_pylist()
    assert [(row["mask_id"], row["repeat"]) for row in found] == [(m, r) for m in range(13) for r in range(2)]
    row = next(r for r in found if r["mask_id"] == 10 and r["repeat"] == 1)
    mask = np.ones((1, 60), bool)
    mask[0, rows[9]["removed"]] = False
    group = Group(structured_study.seed, "removal", mask, orders.base_init(structured_study) + one, one)
    logits = structured_study.algorithm.prepare(data)(group).test
    assert np.array_equal(row["test_margin"], margin(logits, data.test_labels, "max")[0].astype(np.float16))


def test_the_whole_models_are_those_of_removals(structured, checked, role, checked_study):
    other = next(iter(removals.roles(checked_study)))
    bases = [
        [row["test_margin"] for row in lake.read(Partition("margins", "small", name, 0)).to_pylist() if row["mask_id"] == 0]
        for lake, name in ((structured, role), (checked, other))
    ]
    assert bases[0] == bases[1]


def test_deep_checks_know_the_sets(structured, role, tmp_path, study_file, structured_study):
    lake = Lake(shutil.copytree(structured.root, tmp_path / "lake"))
    facts = lake.facts({p: s for t in ("masks", "margins", "interventions") for p, s in lake.present(t, "small").items()})
    assert list(rederive.check(lake, facts)) == []
    path = study_file(structure=structured_study.structure.model_dump())
    assert list(retrain(lake, Partition("margins", "small", role, 0), str(path))) == []
    moved = Partition("interventions", "small", role, 0)
    table = lake.read(moved)
    (lake.root / moved.path).unlink()
    shifted = table.set_column(6, table.schema.field("removed"), table["removed"].take(list(range(11, -1, -1))))
    lake.publish(moved, shifted, facts[moved])
    (problem,) = rederive.check(lake, facts)
    assert "masks are not those of" in problem.what


def test_an_end_larger_than_the_training_set_is_refused(study_of, structured_study, built_copy, build_missing):
    asked = structured_study.structure.model_dump()
    report = build_missing(built_copy, study_of(structure={**asked, "size": 60}))
    assert [
        "asks for 60 examples of either end of 2 components; there are 60 training" in line for line in report.failures
    ] == [True]
    assert report.added == {"components": 1, "clusters": 1}


@pytest.mark.parametrize("components", [1, 0])
def test_only_components_that_are_kept_have_ends(study_of, components):
    with pytest.raises(LakeError, match=rf"structure.interventions 2 is above structure.components {components}"):
        study_of(structure={"components": components, "interventions": 2})


def test_lost_margins_come_back_the_same(structured, structured_study, role, tmp_path, build_missing, contents):
    lake = Lake(shutil.copytree(structured.root, tmp_path / "lake"))
    (lake.root / Partition("margins", "small", role, 0).path).unlink()
    assert build_missing(lake, structured_study).added == {"margins": 1}
    assert contents(lake) == contents(structured)
