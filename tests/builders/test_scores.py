"""Imported scores: the right sign gets in and the wrong one does not, and a tool that says what a fit says is judged like it."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from builders import scores
from builders.scores import Source, import_scores
from lake.catalog import connect
from lake.errors import ConflictError, UsageError
from lake.verify import verify

N_TARGETS, N_TRAIN = 20, 60


def weights_of(lake, fit="difference-00048", split="test", n_targets=N_TARGETS):
    """Weights of a fit of the small study [n_targets, n_train]."""
    rows = connect(lake.root).sql(f"select * from weights where fit = '{fit}' and split = '{split}'").fetchnumpy()
    found = np.zeros((n_targets, N_TRAIN), np.float32)
    found[rows["target_id"], rows["train_id"]] = rows["weight"]
    return found


def as_parquet(path, **matrices):
    """The matrices by split, in the form that comes in; zeros are left out."""
    parts = []
    for split, found in matrices.items():
        target, train = np.nonzero(found)
        ids = {"target_id": target, "train_id": train, "score": found[target, train]}
        parts.append(pa.table({"split": [split] * len(target), **ids}))
    pq.write_table(pa.concat_tables(parts), path)
    return path


def test_the_scores_of_a_fit_are_judged_like_the_fit(built_copy, tmp_path):
    test, train = weights_of(built_copy), weights_of(built_copy, split="train", n_targets=N_TRAIN)
    path = as_parquet(tmp_path / "theirs.parquet", test=7 * test, train=7 * train)
    done = import_scores(built_copy, "small", Source(path, "theirs", 3))
    assert [p.path for p in done.added] == [
        "scores/study=small/theirs-00000.parquet",
        "predictions/study=small/theirs-00003.parquet",
        "fits/study=small/theirs-00003.parquet",
    ]
    assert done.correlation > done.bound
    shell = connect(built_copy.root)
    ours, theirs = (
        shell.sql(f"from fit_lds('small', null, '{fit}', 20) order by split").fetchnumpy()
        for fit in ("difference-00048", "theirs-00003")
    )
    assert ours["lds_repeats"] == pytest.approx(theirs["lds_repeats"], abs=1e-12)
    assert theirs["n_models"].tolist() == [3, 3]
    assert shell.execute("select count(*), min(score) from scores").fetchone() == (
        np.count_nonzero(test) + np.count_nonzero(train),
        pytest.approx(7 * min(test.min(), train.min())),
    )
    assert verify(built_copy, deep=True) == []


def test_predictions_are_in_logits_by_one_slope(built_copy, tmp_path):
    import_scores(
        built_copy, "small", Source(as_parquet(tmp_path / "a.parquet", test=weights_of(built_copy) / 50), "theirs", 1)
    )
    shell = connect(built_copy.root)
    mean = shell.sql("select mean_margin from fits where estimator = 'theirs' order by target_id").fetchnumpy()["mean_margin"]
    predicted, actual = (
        np.array(shell.execute(f"select {sql}").fetchnumpy()["x"].tolist())
        for sql in (
            "predicted_margin as x from predictions where fit = 'theirs-00001'",
            "test_margin as x from margins where role = 'heldout'",
        )
    )
    assert 0.2 < predicted.std(0).mean() / actual.std(0).mean() < 5
    assert np.corrcoef(predicted.mean(0), mean)[0, 1] > 0.9


def test_a_sign_that_lowers_the_margin_is_refused_until_it_is_told(built_copy, tmp_path):
    before = built_copy.files.list()
    path = as_parquet(tmp_path / "turned.parquet", test=-weights_of(built_copy))
    with pytest.raises(UsageError, match=r"point the wrong way.*--sign -1"):
        import_scores(built_copy, "small", Source(path, "turned", 1))
    assert built_copy.files.list() == before
    assert import_scores(built_copy, "small", Source(path, "turned", 1, sign=-1)).correlation > 0
    both = (
        "select corr(weight, score) from scores join weights using (split, target_id, train_id) where fit = 'difference-00048'"
    )
    assert connect(built_copy.root).execute(both).fetchone()[0] == pytest.approx(1)


def test_scores_that_say_nothing_get_in_with_a_warning_and_keep_their_order(built_copy, tmp_path, command):
    noise = np.random.default_rng(0).normal(size=(N_TARGETS, N_TRAIN)).astype(np.float32)
    np.save(tmp_path / "noise.npy", noise)
    ended = command(
        "builders",
        "import-scores",
        "small",
        tmp_path / "noise.npy",
        "--method",
        "noise",
        "--trainings",
        0,
        "--lake",
        built_copy.root,
    )
    assert ended.code == 0
    assert "warning: the sign of noise cannot be told" in ended.err
    assert "3 partition(s) of noise added" in ended.out
    (masks,) = (built_copy.read(p)["mask"].to_pylist() for p in built_copy.present("masks") if p.role == "heldout")
    drawn = np.unpackbits(np.stack([np.frombuffer(mask, np.uint8) for mask in masks]), axis=1, count=N_TRAIN)
    (predicted,) = (
        built_copy.read(p)["predicted_margin"].to_pylist() for p in built_copy.present("predictions") if p.role == "noise"
    )
    pairs = zip(np.array(predicted).T, (drawn @ noise.T).T, strict=True)
    assert min(np.corrcoef(x, y)[0, 1] for x, y in pairs) > 0.999


def test_a_second_import_adds_nothing_and_other_scores_of_one_name_conflict(built_copy, tmp_path):
    path = as_parquet(tmp_path / "a.parquet", test=weights_of(built_copy))
    assert len(import_scores(built_copy, "small", Source(path, "theirs", 1)).added) == 3
    assert import_scores(built_copy, "small", Source(path, "theirs", 1)).added == []
    other = as_parquet(tmp_path / "b.parquet", test=weights_of(built_copy, "lasso-00048"))
    with pytest.raises(ConflictError, match="theirs-00000"):
        import_scores(built_copy, "small", Source(other, "theirs", 1))


def test_imported_scores_never_speak_for_a_study_unless_asked(built_copy, tmp_path):
    path = as_parquet(tmp_path / "a.parquet", test=weights_of(built_copy))
    import_scores(built_copy, "small", Source(path, "theirs", 1_000_000))
    shell = connect(built_copy.root)
    assert shell.execute("select estimator from leading_fits('small', 'test', null)").fetchone()[0] in ("lasso", "difference")
    assert shell.execute("select estimator from leading_fits('small', 'test', 'theirs-*')").fetchone()[0] == "theirs"


MATRIX = np.eye(N_TARGETS, N_TRAIN, dtype=np.float32)
ROWS = {"split": ["test"], "target_id": [0], "train_id": [0], "score": [1.0]}


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.npy", MATRIX.T, "looks transposed"),
        ("a.npy", np.full_like(MATRIX, np.nan), "finite"),
        ("a.npy", np.array([{}]), "cannot be read"),
        ("a.csv", b"split,target_id", "cannot be read"),
        ("a.parquet", {k: v for k, v in ROWS.items() if k != "score"}, "no column score"),
        ("a.parquet", ROWS | {"split": ["val"]}, "split is"),
        ("a.parquet", ROWS | {"train_id": [N_TRAIN]}, "train_id is int64 from 60 to 60"),
        ("a.parquet", ROWS | {"target_id": [0.5]}, "target_id is float64"),
        ("a.parquet", {k: v * 2 for k, v in ROWS.items()}, "come twice"),
        ("a.parquet", {k: v[:0] for k, v in ROWS.items()}, "never"),
    ],
)
def test_a_file_that_does_not_fit_says_what_is_needed(built, tmp_path, name, content, said):
    path = tmp_path / name
    if isinstance(content, np.ndarray):
        np.save(path, content)
    elif isinstance(content, dict):
        pq.write_table(pa.table(content), path)
    else:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=said):
        import_scores(built, "small", Source(path, "theirs", 1))


def test_names_and_studies_that_cannot_be_are_refused(built, lake, tmp_path):
    np.save(tmp_path / "a.npy", MATRIX)
    with pytest.raises(UsageError, match="estimator of ours"):
        import_scores(built, "small", Source(tmp_path / "a.npy", "lasso", 1))
    with pytest.raises(UsageError, match="no fit margins of study 'small'"):
        import_scores(lake, "small", Source(tmp_path / "a.npy", "theirs", 1))


def test_only_so_many_models_judge(built, monkeypatch):
    monkeypatch.setattr(scores, "JUDGES", 20)
    assert scores._judge(built, "small", "test", weights_of(built)).n_models == 32
