"""Margins: both definitions by hand, the keys of randomness, and models that fail without harm to the others."""

from collections import Counter
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest

from builders import datasets, margins, masks
from builders.training.interface import Group, Logits
from lake.errors import LakeError
from lake.partition import Partition

MODELS = 16


def linear(group: Group) -> Logits:
    """Logits that are a fixed linear function of the mask: cheap, and each model's own."""
    effects = np.random.default_rng(0).normal(size=(group.masks.shape[1], 80, 10))
    logits = np.tensordot(group.masks.astype(float), effects, 1).astype(np.float32)
    return Logits(logits[:, :60], logits[:, 60:])


@pytest.fixture
def trained(built, small, monkeypatch) -> Callable[..., pa.Table]:
    """Rows of the first 16 models, with any trainer in place of the study's."""
    unit = next(u for u in margins.plan(small) if u.partitions[0].role == "fit")

    def train(trainer: Callable[[Group], Logits]) -> pa.Table:
        monkeypatch.setattr(margins, "_trainer", lambda study: (datasets.load(study.dataset), trainer))
        ((partition, rows),) = margins.build(built, small, unit)
        assert partition == Partition("margins", "small", "fit", 0)
        return rows

    return train


def spoiled(kind: str, bad: int, calls: Counter) -> Callable[[Group], Logits]:
    """The linear trainer, which spoils model `bad` in one way and counts how often each model is trained."""

    def train(group: Group) -> Logits:
        calls.update(group.order_ids.tolist())
        logits = linear(group)
        if bad not in group.order_ids:
            return logits
        row = group.order_ids.tolist().index(bad)
        if kind == "raises":
            raise RuntimeError("no more memory")
        if kind == "raises once" and calls[bad] == 1:
            raise RuntimeError("no more memory")
        if kind == "wrong shape":
            return Logits(logits.train[:, :-1], logits.test)
        if kind == "no numbers":
            return Logits(np.full(logits.train.shape, "one"), logits.test)
        if kind == "no logits":
            return logits.train
        if kind in VALUES:
            split, value = VALUES[kind]
            getattr(logits, split)[row, 3, 4] = value
        return logits

    return train


VALUES = {
    "nan": ("test", np.nan),
    "inf": ("train", np.inf),
    "-inf": ("test", -np.inf),
    "70000": ("test", 7e4),
    "-40000": ("train", -4e4),
}


@pytest.mark.parametrize(("kind", "expected"), [("max", 1.5), ("logsumexp", 1.298587)])
def test_margins_by_hand(kind, expected):
    logits = np.array([[[2, -1, 0.5]]], np.float32)
    assert margins.margin(logits, np.array([0]), kind) == pytest.approx(expected, abs=1e-6)
    assert margins.margin(logits, np.array([1]), "max").item() == -3.0
    assert margins.margin(logits, np.array([2]), "max").item() == -1.5


@pytest.fixture
def logits() -> np.ndarray:
    return np.random.default_rng(1).normal(0, 5, (6, 40, 10)).astype(np.float32)


LABELS = np.random.default_rng(2).integers(0, 10, 40)


def test_the_two_margins_differ_by_at_most_the_log_of_the_other_classes(logits):
    gap = margins.margin(logits, LABELS, "max") - margins.margin(logits, LABELS, "logsumexp")
    assert gap.min() >= 0
    assert gap.max() <= np.log(9)
    equal = np.zeros((1, 40, 10), np.float32)
    assert margins.margin(equal, LABELS, "logsumexp") == pytest.approx(np.full((1, 40), -np.log(9)), abs=1e-6)


@pytest.mark.parametrize("kind", ["max", "logsumexp"])
def test_a_shift_of_all_logits_leaves_a_margin_alone(logits, kind):
    assert margins.margin(logits + 32, LABELS, kind) == pytest.approx(margins.margin(logits, LABELS, kind), abs=2e-5)


def test_max_margins_scale_with_logits_and_their_sign_is_correctness(logits):
    found = margins.margin(logits, LABELS, "max")
    assert np.array_equal(margins.margin(2 * logits, LABELS, "max"), 2 * found)
    assert np.array_equal(found > 0, logits.argmax(2) == LABELS)


def test_margins_leave_the_logits_alone(logits):
    before = logits.copy()
    margins.margin(logits, LABELS, "logsumexp")
    assert np.array_equal(logits, before)


def test_large_logits_have_finite_margins():
    logits = np.array([[[3e4, -3e4, 3e4]]], np.float32)
    assert margins.margin(logits, np.array([1]), "logsumexp").item() == pytest.approx(-6e4, rel=1e-4)
    assert margins.margin(logits, np.array([0]), "logsumexp").item() == 0


def test_stored_margins_are_the_trainers_to_half_precision(built, small):
    data = datasets.load(small.dataset)
    drawn = masks.draw(small, 60, "fit", np.arange(16))
    found = small.algorithm.prepare(data)(Group(0, "fit", drawn, np.arange(16) % 4, np.arange(16)))
    rows = built.read(Partition("margins", "small", "fit", 0))
    for split, labels in (("test", data.test_labels), ("train", data.train_labels)):
        exact = margins.margin(getattr(found, split), labels, "max")
        stored = np.array(rows[f"{split}_margin"].to_pylist(), np.float32)
        assert np.array_equal(stored, exact.astype(np.float16))
        assert (np.abs(stored - exact) <= 2.0**-11 * np.abs(exact) + 2.0**-25).all()


def test_accuracies_are_the_shares_of_positive_margins(built, small):
    for role in ("fit", "heldout"):
        rows = built.scan([Partition("margins", "small", role, 0)])
        drawn = masks.draw(small, 60, role, rows["mask_id"].to_numpy())
        test, train = (np.array(rows[f"{split}_margin"].to_pylist()) > 0 for split in ("test", "train"))
        assert rows["test_accuracy"].to_numpy() == pytest.approx(test.mean(1), abs=1e-6)
        assert rows["train_accuracy"].to_numpy() == pytest.approx((train & drawn).sum(1) / drawn.sum(1), abs=1e-6)


def test_models_of_a_held_out_mask_stand_in_a_row_and_start_outside_the_pool(study_of):
    chosen = study_of(pool=4, heldout_repeats=4)
    mask_ids, init_ids, repeats = margins.keys(chosen, "heldout", np.arange(10))
    assert mask_ids.tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 2, 2]
    assert repeats.tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 0, 1]
    assert init_ids.tolist() == list(range(4, 14))


def test_fit_models_have_a_mask_each_and_share_the_pool(study_of):
    mask_ids, init_ids, repeats = margins.keys(study_of(pool=4), "fit", np.arange(30, 36))
    assert mask_ids.tolist() == list(range(30, 36))
    assert init_ids.tolist() == [2, 3, 0, 1, 2, 3]
    assert not repeats.any()


def test_model_ids_run_through_the_partitions(small):
    ids = [margins.model_ids(small, u.partitions[0].role, u.partitions[0].index).tolist() for u in margins.plan(small)]
    assert ids == [list(range(16)), list(range(16, 32)), list(range(32, 48)), list(range(16))]


@pytest.mark.parametrize("size", [1, 5, 16])
@pytest.mark.row("R17")
@pytest.mark.case(62)
def test_the_size_of_a_group_changes_no_bit(built, small, monkeypatch, size):
    monkeypatch.setattr(margins, "GROUP", size)
    for unit in margins.plan(small)[2:]:
        ((partition, rows),) = margins.build(built, small, unit)
        assert rows.equals(built.read(partition))


@pytest.mark.parametrize("kind", ["raises", "wrong shape", "no numbers", *VALUES])
@pytest.mark.parametrize("bad", [0, 5, MODELS - 1])
@pytest.mark.row("R16")
@pytest.mark.case(65)
def test_a_spoiled_model_gets_a_status_and_the_others_keep_every_bit(trained, kind, bad):
    clean, calls = trained(linear), Counter()
    rows = trained(spoiled(kind, bad, calls))
    status = ["ok"] * MODELS
    status[bad] = "diverged" if kind in VALUES else "failed"
    assert rows["status"].to_pylist() == status
    lost = rows.slice(bad, 1).to_pylist()[0]
    results = ("test_accuracy", "train_accuracy", "test_margin", "train_margin")
    assert {name: lost[name] for name in results} == dict.fromkeys(results)
    others = [k for k in range(MODELS) if k != bad]
    assert rows.take(others).equals(clean.take(others))
    assert calls[bad] == 1 + margins.RETRIES
    assert max(calls[k] for k in others) <= 2


def test_a_model_that_diverges_is_trained_again_alone_and_no_other_is(trained):
    calls = Counter()
    trained(spoiled("nan", 5, calls))
    assert calls == Counter(dict.fromkeys(range(MODELS), 1) | {5: 1 + margins.RETRIES})


@pytest.mark.row("R16", control=True)
def test_a_failure_that_passes_leaves_no_trace(trained):
    clean, calls = trained(linear), Counter()
    assert trained(spoiled("raises once", 5, calls)).equals(clean)
    assert calls[5] == 2


def test_logits_just_inside_half_precision_are_kept(trained):
    def large(group: Group) -> Logits:
        logits = linear(group)
        logits.test[:, :, 0], logits.test[:, :, 1] = 32_700, -32_700
        return logits

    rows = trained(large)
    assert set(rows["status"].to_pylist()) == {"ok"}
    assert np.isfinite(np.array(rows["test_margin"].to_pylist())).all()


def test_a_partition_of_models_that_all_diverge_is_a_result(trained):
    rows = trained(lambda group: Logits(*(np.full_like(a, np.nan) for a in vars(linear(group)).values())))
    assert set(rows["status"].to_pylist()) == {"diverged"}
    assert rows["test_margin"].null_count == MODELS


@pytest.mark.parametrize(("kind", "reason"), [("raises", "RuntimeError: no more memory"), ("no logits", "AttributeError")])
def test_a_partition_of_models_that_all_fail_is_an_error(trained, kind, reason):
    def train(group: Group) -> Logits:
        return spoiled(kind, int(group.order_ids[0]), Counter())(group)

    with pytest.raises(LakeError, match=f"^every model failed, first with: {reason}"):
        trained(train)


def test_an_interrupt_is_no_failure_of_a_model(trained):
    def train(group: Group) -> Logits:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(train)


def test_a_partition_that_fails_is_not_published_and_the_rest_is(own, lake, study_of, build_missing):
    name = own("""
        import numpy as np
        from builders.training.interface import Logits

        def prepare(data, bad):
            def train(group):
                if (group.order_ids // 16 == bad).any() and group.role == "fit":
                    raise RuntimeError("this one never works")
                return Logits(*(np.zeros((group.n_models, n, 10), np.float32) for n in (60, 20)))
            return train
    """)
    report = build_missing(lake, study_of(algorithm={"name": f"{name}:prepare", "bad": 1}))
    assert [p.name for p in lake.present("margins")] == ["fit-00000", "fit-00002", "heldout-00000"]
    assert len(report.failures) == 1
    assert "margins/study=small/fit-00001.parquet: every model failed" in report.failures[0]
    assert report.left == 2  # both sizes of datamodels wait for it
    assert not lake.present("fits")
