"""Masks: exact sizes, the second moments that theory gives (Ilyas et al. 2022, section 2), and the same bits for ever."""

import hashlib

import numpy as np
import pyarrow as pa
import pytest

from builders import masks, study
from lake.errors import UsageError
from lake.partition import Partition

N, M = 200, 4_000


@pytest.fixture(scope="module")
def drawn() -> dict[str, np.ndarray]:
    """4,000 masks of 200 examples of each design, float64."""
    designs = {"fixed": 0.5, "bernoulli": 0.3}
    fields = {"name": "mine", "algorithm": {"name": "patchnet"}}
    studies = {d: study.parse({**fields, "design": d, "alpha": a}, "mine.toml") for d, a in designs.items()}
    return {d: masks.draw(s, N, "fit", np.arange(M)).astype(float) for d, s in studies.items()}


@pytest.mark.parametrize(
    ("alpha", "n", "size"), [(0.5, 200, 100), (0.5, 7, 4), (0.1, 33, 3), (0.99, 100, 99), (0.3, 1001, 300)]
)
def test_fixed_masks_hold_exactly_their_share(study_of, alpha, n, size):
    drawn = masks.draw(study_of(alpha=alpha), n, "fit", np.arange(300))
    assert (drawn.sum(1) == size).all()


def test_fixed_masks_have_the_gram_of_sampling_without_replacement(drawn):
    gram = drawn["fixed"].T @ drawn["fixed"] / M
    off = gram[~np.eye(N, dtype=bool)]
    assert off.mean() == pytest.approx(0.2487437, abs=1e-7)  # k (k - 1) / (n (n - 1)), whatever the masks
    assert np.abs(off - 0.2487437).max() < 6 / (2 * np.sqrt(M))
    assert np.abs(gram.diagonal() - 0.5).max() < 6 / (2 * np.sqrt(M))


def test_bernoulli_masks_have_the_gram_of_independent_draws(drawn):
    gram = drawn["bernoulli"].T @ drawn["bernoulli"] / M
    off = gram[~np.eye(N, dtype=bool)]
    assert off.mean() == pytest.approx(0.09, abs=6 * 0.6 * np.sqrt(0.09 * 0.21 * 4 / N / M))
    assert np.abs(off - 0.09).max() < 6 / (2 * np.sqrt(M))
    assert np.abs(gram.diagonal() - 0.3).max() < 6 / (2 * np.sqrt(M))


def test_row_sums_of_bernoulli_masks_vary_as_a_binomial_and_those_of_fixed_ones_not_at_all(drawn):
    assert drawn["bernoulli"].sum(1).var() == pytest.approx(N * 0.3 * 0.7, rel=5 * np.sqrt(2 / M))
    assert drawn["fixed"].sum(1).var() == 0


def test_the_covariance_of_fixed_masks_is_flat_but_for_the_vector_of_ones(drawn):
    values, vectors = np.linalg.eigh(np.cov(drawn["fixed"].T, bias=True))
    assert abs(values[0]) < 1e-12
    assert np.abs(vectors[:, 0]) == pytest.approx(np.full(N, N**-0.5))
    flat = 0.25 * N / (N - 1)
    assert values[1:].mean() == pytest.approx(flat, rel=0.01)
    edges = flat * (1 - np.sqrt(N / M)) ** 2, flat * (1 + np.sqrt(N / M)) ** 2  # Marchenko and Pastur 1967
    assert values[1] > 0.95 * edges[0]
    assert values[-1] < 1.05 * edges[1]


@pytest.mark.row("R17")
@pytest.mark.case(61)
def test_masks_are_pinned():
    """Other bits mean that no margins trained before belong to the masks of their ids any more."""
    tiny = study.load("tiny")
    packed = np.packbits(masks.draw(tiny, 200, "fit", np.arange(192)), axis=1)
    heldout = np.packbits(masks.draw(tiny, 200, "heldout", np.arange(16)), axis=1)
    bernoulli = tiny.model_copy(update={"design": "bernoulli", "alpha": 0.2})
    thresholded = np.packbits(masks.draw(bernoulli, 200, "fit", np.arange(192)), axis=1)
    assert [hashlib.sha256(bits.tobytes()).hexdigest()[:16] for bits in (packed, heldout, thresholded)] == [
        "b258bd92350bd93c",
        "0fcf3ea2a23feacb",
        "e06bd57ea7358dfb",
    ]


def test_a_mask_does_not_depend_on_who_draws_it_with_which_others(study_of):
    whole = masks.draw(study_of(), 60, "fit", np.arange(48))
    assert np.array_equal(masks.draw(study_of(), 60, "fit", np.array([31, 7])), whole[[31, 7]])


@pytest.mark.parametrize("size", [4, 16, 64])
def test_a_mask_does_not_depend_on_the_size_of_partitions(lake, study_of, size):
    chosen = study_of(partition_models=size)
    tables = [rows for unit in masks.plan(chosen) for _, rows in masks.build(lake, chosen, unit)]
    rows = pa.concat_tables(t for t in tables if t["role"][0].as_py() == "fit")
    ids = rows["mask_id"].to_numpy()
    assert np.array_equal(ids, np.arange(-(-48 // size) * size))
    assert np.array_equal(masks.unpack(rows, 60), masks.draw(study_of(), 60, "fit", ids))


@pytest.mark.row("R17", control=True)
def test_studies_of_one_seed_share_their_masks_and_others_do_not(study_of):
    ids = np.arange(20)
    mine = masks.draw(study_of(), 60, "fit", ids)
    shared = study_of(name="other", pool=8, margin="logsumexp", algorithm={"name": "logistic"}, heldout_masks=9)
    assert np.array_equal(masks.draw(shared, 60, "fit", ids), mine)
    assert np.mean(masks.draw(study_of(seed=1), 60, "fit", ids) == mine) == pytest.approx(0.5, abs=0.1)


def test_held_out_masks_are_other_masks(study_of):
    ids = np.arange(50)
    fit, heldout = (masks.draw(study_of(), 60, role, ids) for role in ("fit", "heldout"))
    assert len({row.tobytes() for row in np.concatenate([fit, heldout])}) == 100


def test_a_smaller_share_is_a_subset_of_a_larger(study_of):
    for design in ("fixed", "bernoulli"):
        few, many = (masks.draw(study_of(alpha=a, design=design), 60, "fit", np.arange(30)) for a in (0.25, 0.75))
        assert not (few & ~many).any()


def test_fit_masks_take_several_shares_in_turn_so_that_every_initialisation_meets_all(study_of):
    mixed, ids = study_of(fit_alphas=[0.2, 0.5, 0.8]), np.arange(48)
    sizes = masks.draw(mixed, 60, "fit", ids).sum(1)
    assert np.array_equal(sizes, masks.shares(mixed, "fit", ids) * 60)
    assert np.bincount(sizes, minlength=60)[[12, 30, 48]].tolist() == [16, 16, 16]
    assert all(set(sizes[ids % mixed.pool == init]) == {12, 30, 48} for init in range(mixed.pool))
    assert (masks.draw(mixed, 60, "heldout", ids).sum(1) == 30).all()
    alone = sizes == 30
    assert np.array_equal(masks.draw(mixed, 60, "fit", ids)[alone], masks.draw(study_of(), 60, "fit", ids)[alone])


@pytest.mark.parametrize("n", [8, 60, 61, 1001])
def test_packed_masks_unpack_to_themselves(n):
    drawn = np.random.default_rng(n).random((5, n)) < 0.5
    table = pa.table({"mask": [row.tobytes() for row in np.packbits(drawn, axis=1)]})
    assert np.array_equal(masks.unpack(table, n), drawn)
    assert masks.packed_bits(table).shape == (5, -(-n // 8))


def test_the_lake_holds_what_is_drawn(built, small):
    for role, n in (("fit", 48), ("heldout", 4)):
        rows = built.scan(masks.partitions(small, role))
        assert rows["mask_id"].to_pylist() == list(range(n))
        assert np.array_equal(masks.unpack(rows, 60), masks.draw(small, 60, role, np.arange(n)))
        assert set(rows["alpha"].to_pylist()) == {0.5}
        assert set(rows["design"].to_pylist()) == {"fixed"}


@pytest.mark.parametrize(("alpha", "kept"), [(0.001, 0), (0.008, 0), (0.999, 60)])
def test_a_share_that_leaves_nothing_or_everything_is_refused(study_of, alpha, kept):
    with pytest.raises(UsageError, match=f"alpha {alpha} of 60 training examples keeps {kept}: a subset needs 1 to 59"):
        masks.draw(study_of(alpha=alpha), 60, "fit", np.arange(3))


def test_an_empty_bernoulli_mask_is_refused(study_of):
    with pytest.raises(UsageError, match=r"alpha 0.02 leaves \d+ of 300 bernoulli masks of 60 training examples empty"):
        masks.draw(study_of(alpha=0.02, design="bernoulli"), 60, "fit", np.arange(300))


def test_more_models_add_partitions_and_change_none(study_of):
    few, many = (masks.plan(study_of(models=m)) for m in (48, 49))
    fit = [unit.partitions[0] for unit in many if unit.partitions[0].role == "fit"]
    assert fit == [Partition("masks", "small", "fit", i) for i in range(4)]
    assert set(few) < set(many)
    assert [unit.rows for unit in many] == [16, 16, 16, 16, 4]


def test_held_out_partitions_hold_all_repeats_and_end_where_the_masks_do(study_of):
    chosen = study_of(heldout_masks=10, heldout_repeats=4, partition_models=16)
    ids = [masks.mask_ids(chosen, "heldout", p.index).tolist() for p in masks.partitions(chosen, "heldout")]
    assert ids == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
