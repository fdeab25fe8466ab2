"""The plan: purely from the study, in an order in which each unit finds what it needs, and priced by what was measured."""

from dataclasses import replace

import pytest

from builders import plan, prior
from builders.plan import BUILDERS, take_inventory
from lake.errors import ConflictError
from lake.partition import Partition


def test_every_need_is_built_by_a_builder_before(study_of):
    chosen, built = study_of(models=200, heldout_masks=9, removals={"targets": 3}), set()
    for builder in BUILDERS:
        units = builder.plan(chosen)
        for unit in units:
            assert built >= set(unit.needs)
            assert {p.table for p in unit.partitions} <= set(builder.BUILDS)
            assert unit.builder == builder.NAME
            assert unit.rows > 0
        built |= {p for unit in units for p in unit.partitions}
    assert len(built) == len({p.path for p in built})


def test_a_plan_looks_at_nothing_but_the_study(study_of, monkeypatch):
    monkeypatch.setattr("builders.datasets.load", None)
    chosen = study_of(removals={"targets": 3})
    first, second = ([builder.plan(chosen) for builder in BUILDERS] for _ in range(2))
    assert first == second


def test_a_plan_of_more_models_holds_that_of_fewer(study_of):
    few, many = ({p for b in BUILDERS[:4] for u in b.plan(study_of(models=m)) for p in u.partitions} for m in (33, 480))
    assert few < many


def test_an_inventory_tells_present_from_missing(built, lake, small, study_of, build_missing):
    whole = take_inventory(built, small)
    assert [whole.missing(b.NAME) for b in BUILDERS] == [[]] * len(BUILDERS)
    more = take_inventory(built, study_of(models=64))
    assert [u.partitions[0] for u in more.missing("margins")] == [Partition("margins", "small", "fit", 3)]
    none = take_inventory(lake, small)
    assert none.files == {}
    assert sum(len(none.missing(b.NAME)) for b in BUILDERS) == 12


def test_a_unit_is_missing_while_one_of_its_partitions_is(built_copy, small):
    (built_copy.root / Partition("predictions", "small", "lasso", 48).path).unlink()
    (unit,) = take_inventory(built_copy, small).missing("datamodels")
    assert Partition("fits", "small", "lasso", 48) in unit.partitions


def test_seconds_come_from_what_was_measured_and_from_a_prior_before(built, lake, small, study_of):
    more, none = take_inventory(built, study_of(models=96)), take_inventory(lake, small)
    spent = sum(facts.seconds for p, facts in more.facts.items() if p.table == "margins")
    assert more.seconds_a_row("margins", small) == pytest.approx(spent / 64)
    assert more.predicted_seconds("margins", small) == pytest.approx(48 * spent / 64)
    assert none.seconds_a_row("margins", small) == prior.model(small.algorithm, 30)
    assert none.seconds_a_row("margins", study_of(algorithm={"name": "my:own"})) == 1.0


def test_the_number_of_models_and_the_estimators_are_no_conflict(built, study_of):
    for changes in (
        {"models": 480},
        {"estimators": ["ridge"]},
        {"curve": [7]},
        {"removals": {"targets": 3, "methods": ["pixels"]}},
    ):
        assert take_inventory(built, study_of(**changes)).facts


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"alpha": 0.25}, "alpha: 0.5 -> 0.25"),
        ({"margin": "logsumexp", "pool": 8}, "margin: 'max' -> 'logsumexp'; pool: 4 -> 8"),
        ({"algorithm": {"name": "logistic"}}, "algorithm.C: "),
    ],
)
def test_a_conflict_names_every_field_that_differs(built, study_of, changes, line):
    with pytest.raises(ConflictError, match="was built by another study of this name") as error:
        take_inventory(built, study_of(**changes))
    assert line in str(error.value)


def test_partitions_of_other_rules_are_a_conflict(built, small, monkeypatch):
    facts = take_inventory(built, small).facts
    other = {p: replace(f, fingerprint="0" * 16) for p, f in facts.items()}
    with pytest.raises(ConflictError, match=r"Different .*: the rules of another version"):
        plan.check_identity(small, other)
    monkeypatch.setattr("builders.study.RULES", 2)
    with pytest.raises(ConflictError, match=r"Different .*: rules: 1 -> 2"):
        plan.check_identity(small, facts)
