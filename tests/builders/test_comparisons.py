"""Studies compared: a planted direction that one alone leans on is found, and none where two differ by noise."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_array

from builders import comparisons, embeddings, loop
from builders.study import load
from lake.errors import LakeError, UsageError
from lake.partition import Partition

PLANTED = """
    import numpy as np
    from builders.training.interface import Logits

    def prepare(data, own=0.0):
        rng = np.random.default_rng(7)
        weights = (rng.choice([-1, 1], (20, 4)) * rng.uniform(0.5, 1.5, (20, 4))) @ np.kron(np.eye(4), np.ones((1, 10)))      # shared: examples 0 to 39 in tens
        weights = np.pad(weights, ((0, 0), (0, 20)))
        weights[:, 50:] += own * np.where(np.arange(20) % 2, 1, -1)[:, None]           # only with `own`: 50 to 59

        def train(group):
            noise = [np.random.default_rng([group.seed, model]).normal(size=(20, 10)) for model in group.order_ids]
            logits = np.zeros((group.n_models, 20, 10), np.float32)
            logits[:, np.arange(20), data.test_labels] = 50 + group.masks @ weights.T + 0.3 * np.stack(noise)[:, :, 0]
            return Logits(np.zeros((group.n_models, 60, 10), np.float32), logits)

        return train
"""
"""Margins of 20 test targets that are linear in the mask, and noise of a model's own."""

STUDY = {"models": 256, "partition_models": 64, "curve": [], "estimators": ["lasso"]}
ASKED = {"components": 3, "clusters": 2, "subpopulations": 2}


@pytest.fixture
def pair(own: Callable[[str], str], study_file: Callable[..., Path]) -> Callable[..., Path]:
    """Writes two planted studies: `small` with a direction of its own as strong as `strength`, to be compared with `plain`."""
    name = own(PLANTED)

    def write(strength: float, **more: object) -> Path:
        algorithm = {"name": f"{name}:prepare"}
        study_file(name="plain", algorithm=algorithm, seed=1, **STUDY)
        asked = {**ASKED, "compare": ["plain.toml"]}
        return study_file(algorithm={**algorithm, "own": strength}, structure=asked, **{**STUDY, **more})

    return write


def rows_of(lake, path):
    study = load(path)
    role = comparisons.role(study, load("plain.toml"))
    found: dict[str, list[dict]] = {}
    for row in lake.read(Partition("components", "small", role, 0)).to_pylist():
        found.setdefault(row["embedding"], []).append(row)
    return found


def gaps(rows):
    return [row["own_explained"] - row["other_explained"] for row in rows]


def test_a_direction_that_one_study_alone_leans_on_is_found(pair, lake, build_missing):
    path = pair(1.0)
    for each in ("plain.toml", path):
        assert not build_missing(lake, load(str(each))).failures
    found = rows_of(lake, str(path))
    first, *others = found["residual"]
    assert set(np.argsort(-np.abs(first["train_loading"]))[:10].tolist()) == set(range(50, 60))
    assert np.sign(first["test_score"]).tolist() == [-1, 1] * 10
    assert first["own_explained"] > 0.15 > 5 * first["other_explained"]
    (gap,), noise = gaps([first]), max(gaps(found["null"] + found["reverse-null"]))
    assert gap > 3 * noise
    assert max(gaps(others + found["reverse"])) < gap / 2  # shares of what both lean on differ a little, since all sum to 1
    assert [row["train_loading"] for row in found["null"] + found["reverse-null"]] == [None] * 6
    assert {(row["other_study"], row["other_fit"], row["fit"]) for row in found["null"]} == {("plain", *["lasso-00256"] * 2)}
    assert build_missing(lake, load(str(path))).added == {}


def test_studies_that_differ_by_noise_alone_are_no_further_apart_than_halves_of_one(pair, lake, build_missing):
    path = pair(0.0)
    for each in ("plain.toml", path):
        assert not build_missing(lake, load(str(each))).failures
    found = rows_of(lake, str(path))
    assert 0 < max(gaps(found["residual"] + found["reverse"])) < max(gaps(found["null"] + found["reverse-null"])) / 2


def test_a_study_that_is_not_there_is_named_with_its_command_and_the_rest_is_built(pair, lake, build_missing):
    path = pair(1.0)
    report = build_missing(lake, load(str(path)))
    assert report.added["weights"] == report.added["clusters"] == 1
    with pytest.raises(LakeError, match=rf"make build-missing STUDY=plain.toml LAKE={lake.root}"):
        loop.check(report)
    assert not build_missing(lake, load("plain.toml")).failures
    assert build_missing(lake, load(str(path))).added == {"components": 1}


def test_another_study_of_that_name_is_told(pair, lake, build_missing, study_file):
    path = pair(1.0)
    study_file(name="plain", seed=2, **STUDY)
    assert not build_missing(lake, load("plain.toml")).failures
    path = pair(1.0)
    (failure,) = build_missing(lake, load(str(path))).failures
    assert "is not of the study plain.toml" in failure


@pytest.mark.parametrize("changed", [{"dataset": {"source": "digits", "n_train": 50, "n_test": 20}}, {"name": "plain"}])
def test_what_cannot_be_compared_is_refused(pair, study_of, changed):
    pair(1.0)
    with pytest.raises(UsageError, match="name another study of the same dataset"):
        comparisons.plan(study_of(structure={**ASKED, "compare": ("plain.toml",)}, **changed))


def test_a_comparison_says_how_many_components_to_keep(study_of):
    with pytest.raises(UsageError, match=r"needs structure\.components"):
        comparisons.plan(study_of(structure={"compare": ("digits",)}))
    assert comparisons.plan(study_of()) == []


def test_the_role_changes_with_the_fits_and_with_what_is_asked(study_of):
    other = study_of(name="other", models=64)
    pairs = [({"components": 3}, other), ({"components": 4}, other), ({"components": 3}, study_of(name="other"))]
    assert len({comparisons.role(study_of(structure=asked), each) for asked, each in pairs}) == 3


def test_what_is_left_is_orthogonal_to_what_was_projected_out():
    rng = np.random.default_rng(0)
    rows, others = (embeddings.unit(csr_array(rng.normal(size=(12, 9)))) for _ in range(2))
    left = embeddings.residual(rows, others).toarray()
    assert np.allclose((left * others.toarray()).sum(1), 0)
    assert np.allclose((left**2).sum(1), 1 - (rows * others).sum(1) ** 2)


def test_the_second_half_is_fitted_on_its_models_alone(built, small):
    first, second = comparisons.halves(built, small)
    assert first.shape == second.shape == (20, 60)
    assert np.abs((first - second).toarray()).max() > 0.01
    again, _ = comparisons.halves(built, small.model_copy(update={"models": 24}))
    assert np.abs((first - again).toarray()).max() > 0
