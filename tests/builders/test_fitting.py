"""Fits in blocks of targets: what one block gives, whatever the blocks; never more totals at a time than memory is for."""

import weakref
from dataclasses import fields

import numpy as np
import pytest

from builders import datamodels, fitting, totals
from builders.regression import Fit
from builders.study import ESTIMATORS

N_TRAIN, N_TARGETS = 60, 80
SPLITS = ("test", "train")
LARGE, LITTLE = 10**12, 1


@pytest.fixture
def fits_by(estimated, monkeypatch):
    """All fits of the targets by estimator, in blocks of so many targets, on a machine with so many bytes of memory."""

    def fit(study, block: int, memory: int = LARGE) -> dict[str, Fit]:
        monkeypatch.setattr(fitting, "CELLS", block * N_TRAIN)
        monkeypatch.setattr(fitting.machine, "memory", lambda: memory)
        found = list(fitting.in_blocks(estimated, study, study.models, SPLITS))
        assert [(b.targets.start, b.targets.stop) for b in found] == [
            (a, min(a + block, N_TARGETS)) for a in range(0, N_TARGETS, block)
        ]
        assert {b.n_models for b in found} == {160}
        return {name: _joined([b.fits[name] for b in found]) for name in study.estimators}

    return fit


def _joined(parts: list[Fit]) -> Fit:
    return Fit(**{field.name: np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Fit)})


@pytest.mark.parametrize("block", [7, 20, 33, 79])
def test_blocks_of_any_size_give_what_one_gives(fits_by, every_estimator, block):
    whole, parts = fits_by(every_estimator, N_TARGETS), fits_by(every_estimator, block)
    assert whole.keys() == set(ESTIMATORS)
    for name, expected in whole.items():
        for field in fields(Fit):
            ours, theirs = getattr(parts[name], field.name), getattr(expected, field.name)
            np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4, err_msg=f"{name} {field.name}", equal_nan=True)
        assert parts[name].converged.all()


def test_shared_prices_come_from_all_targets_and_not_from_those_of_the_block(fits_by, every_estimator, monkeypatch):
    asked = every_estimator.model_copy(update={"estimators": ("shared",)})
    whole, parts = (fits_by(asked, block)["shared"] for block in (N_TARGETS, 5))
    assert whole.n_nonzero.sum() > 100
    np.testing.assert_allclose(parts.lam, whole.lam, rtol=1e-3)
    monkeypatch.setattr(fitting._Paths, "known", lambda self, targets: {})
    alone = fits_by(asked, 5)["shared"]
    assert (np.abs(alone.lam / whole.lam - 1) > 1e-2).sum() > 5


def test_how_much_memory_there_is_changes_no_bit(fits_by, every_estimator):
    once, often = fits_by(every_estimator, 13), fits_by(every_estimator, 13, LITTLE)
    for name, fit in once.items():
        for field in fields(Fit):
            assert getattr(fit, field.name).tobytes() == getattr(often[name], field.name).tobytes()


def test_totals_of_a_pass_are_no_larger_than_memory_is_for(fits_by, every_estimator, monkeypatch):
    made, alive, original = [], [], totals.of_models

    def watched(*args, **options):
        assert not any(part() for part in alive)  # those of the pass before are gone
        pair = original(*args, **options)
        made.append(pair[0].n_targets)
        alive[:] = [weakref.ref(part) for part in pair] + [weakref.ref(part.pairs) for part in pair]
        return pair

    monkeypatch.setattr(totals, "of_models", watched)
    lasso = every_estimator.model_copy(update={"estimators": ("lasso",)})
    for study, passes in ((lasso, 1), (every_estimator, 2)):
        made.clear()
        fits_by(study, 30, LITTLE)
        assert made == [30, 30, 20] * passes
        made.clear()
        fits_by(study, 30, 2 * fitting.MEMORY_SHARE * fitting.CELL_BYTES * 30 * N_TRAIN)
        assert made == [60, 20] * passes
        made.clear()
        fits_by(study, 30)
        assert made == [N_TARGETS]  # which both passes share


def test_tables_of_a_study_in_blocks_are_those_of_one(estimated, every_estimator, monkeypatch):
    (unit,) = datamodels.plan(every_estimator)
    whole = dict(datamodels.build(estimated, every_estimator, unit))
    monkeypatch.setattr(fitting, "CELLS", 9 * N_TRAIN)
    parts = dict(datamodels.build(estimated, every_estimator, unit))
    assert list(parts) == list(whole) == list(unit.partitions)
    for partition, expected in whole.items():
        found = parts[partition]
        assert found.schema == expected.schema
        for name in set(found.column_names) - {"weight", "predicted_margin"} - _numbers(expected):
            assert found[name].to_pylist() == expected[name].to_pylist(), (partition.path, name)
        for name in {"weight", "bias", "lam"} & set(found.column_names):
            np.testing.assert_allclose(*(_dense(table[name]) for table in (found, expected)), rtol=1e-2, atol=1e-3)
        if "predicted_margin" in found.column_names:
            ours, theirs = (table["predicted_margin"].to_pylist() for table in (found, expected))
            assert [len(row) for row in ours] == [20] * 4 + [60] * 4
            assert all(np.allclose(a, b, atol=1e-2) for a, b in zip(ours, theirs, strict=True))


def _numbers(table) -> set[str]:
    """Columns that rounding may change."""
    return {field.name for field in table.schema if str(field.type) in ("float", "double")}


def _dense(column) -> np.ndarray:
    return np.array(column.to_pylist(), float)
