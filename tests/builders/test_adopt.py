"""Others' studies: what comes in goes out byte for byte, unfinished rows never count, and nothing is executed."""

import pickle
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from builders import adopt, adopt_source, layouts
from builders.adopt_source import Source
from builders.export import NAMES, export
from lake.catalog import connect
from lake.errors import ConflictError, UsageError
from lake.store import Lake
from lake.verify import verify

ROOT = Path(__file__).parents[2]


@pytest.fixture
def source(tmp_path, monkeypatch):
    """Writes 70 models on half of 30 examples, with margins on 9; a partition takes 20."""
    monkeypatch.setattr(adopt_source, "MODELS", 20)
    rng = np.random.default_rng(0)
    masks = np.stack([rng.permutation(30) < 15 for _ in range(70)])
    margins = rng.normal(0, 4, (70, 9)).astype(np.float16)

    def write(masks=masks, margins=margins, completed=None, train_margins=None, **options: object) -> Source:
        arrays = {"masks": masks, "margins": margins, "completed": completed, "train_margins": train_margins}
        paths = {name: tmp_path / f"{name}.npy" for name, values in arrays.items() if values is not None}
        for name, path in paths.items():
            np.save(path, arrays[name])
        return Source(**paths, **options)

    return write


@pytest.mark.parametrize("layout", NAMES)
def test_what_comes_in_goes_out_byte_for_byte(lake, source, tmp_path, layout):
    rng, names = np.random.default_rng(3), NAMES[layout]
    ours = source(train_margins=rng.normal(0, 4, (70, 30)).astype(np.float16), completed=np.ones(70, bool), heldout=10)
    files = {"masks": ours.masks, "test": ours.margins, "train": ours.train_margins, "completed": ours.completed}
    (tmp_path / "theirs").mkdir()
    for what, name in names.items():
        files[what].rename(tmp_path / "theirs" / f"{name.format(50)}.npy")
    found = layouts.find(tmp_path / "theirs")
    assert len(adopt.adopt(lake, "others", Source(**found._asdict(), heldout=10))) == 2 * (3 + 1)
    assert verify(lake, deep=True) == []
    assert export(lake, "others", ("fit", "heldout"), tmp_path / "out", layout) == 70
    theirs = {path.name: path.read_bytes() for path in (tmp_path / "theirs").iterdir()}
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == theirs
    assert len(theirs) == len(names)
    assert export(lake, "others", ("heldout",), tmp_path / "heldout") == 10
    assert np.array_equal(np.load(tmp_path / "heldout" / "masks.npy"), np.load(found.masks)[60:])


def test_a_second_time_adds_nothing_and_other_files_conflict(lake, source):
    adopt.adopt(lake, "others", source())
    assert adopt.adopt(lake, "others", source()) == []
    with pytest.raises(ConflictError):
        adopt.adopt(lake, "others", source(margins=np.zeros((70, 9), np.float16)))


def test_the_study_says_what_it_is(lake, source):
    adopt.adopt(lake, "others", source(dataset="cifar10"))
    found = connect(lake.root).sql("select study_id, dataset_id, alpha, design, margin, n_fingerprints from studies").fetchall()
    assert found == [("others", "cifar10", 0.5, "fixed", "logsumexp", 1)]
    bernoulli = np.random.default_rng(1).random((70, 30)) < 0.5
    adopt.adopt(lake, "uneven", source(masks=bernoulli.astype(np.uint8)))
    assert connect(lake.root).sql("select design from studies where study_id = 'uneven'").fetchall() == [("bernoulli",)]


def test_unfinished_and_infinite_rows_have_a_status_and_no_numbers(lake, source, tmp_path):
    completed = np.ones(70, bool)
    completed[[3, 25]] = False
    margins = np.random.default_rng(0).normal(0, 4, (70, 9))
    margins[[3, 25]] = 0
    margins[7, 2], margins[8, 1], margins[9, 0] = np.inf, np.nan, 70_000
    adopt.adopt(lake, "others", source(margins=margins, completed=completed))
    query = "select model_id, status, test_margin is null from margins where status <> 'ok' order by model_id"
    assert connect(lake.root).sql(query).fetchall() == [
        (3, "failed", True), (7, "diverged", True), (8, "diverged", True), (9, "diverged", True), (25, "failed", True)
    ]  # fmt: skip
    export(lake, "others", ("fit",), tmp_path / "out")
    assert np.flatnonzero(~np.load(tmp_path / "out" / "_completed.npy")).tolist() == [3, 7, 8, 9, 25]
    assert not np.load(tmp_path / "out" / "margins.npy")[[3, 7, 8, 9, 25]].any()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"margins": np.zeros((9, 70))}, "transposed"),
        ({"margins": np.zeros((69, 9))}, "one row a model"),
        ({"margins": np.zeros((70, 9), int)}, "floating-point"),
        ({"masks": np.full((70, 30), 2)}, "other than 0 and 1"),
        ({"masks": np.zeros(70)}, "2 axes"),
        ({"completed": np.ones(3, bool)}, "70 models and .* 3: need one row"),
        ({"heldout": 70}, "leave some"),
        ({"train_margins": np.zeros((70, 29))}, "29 targets for 30"),
    ],
)
def test_files_that_do_not_fit_are_refused(lake, source, changes, message):
    with pytest.raises(UsageError, match=message):
        adopt.adopt(lake, "others", source(**changes))
    assert lake.files.list() == {}


@pytest.mark.row("B9")
def test_a_pickle_is_refused_and_not_executed(lake, source, tmp_path):
    class Canary:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "canary",))

    ours = source()
    for data in (pickle.dumps(Canary()), b"", b"\x93NUMPY"):
        ours.masks.write_bytes(data)
        with pytest.raises(UsageError, match="cannot be read"):
            adopt.adopt(lake, "others", ours)
    np.save(ours.masks, np.array([[Canary()]], object), allow_pickle=True)
    with pytest.raises(UsageError, match="cannot be read"):
        adopt.adopt(lake, "others", ours)
    assert not (tmp_path / "canary").exists()


@pytest.mark.slow
def test_five_gigabytes_are_read_in_less_than_one(tmp_path):
    script = """
        import resource, sys
        from pathlib import Path
        import numpy as np
        from builders import adopt, adopt_source
        from lake.store import Lake
        folder = Path(sys.argv[1])
        masks = np.lib.format.open_memmap(folder / "masks.npy", "w+", bool, (50_000, 100_000))  # sparse: no disk is used
        margins = np.lib.format.open_memmap(folder / "margins.npy", "w+", np.float16, (50_000, 10))
        del masks, margins
        resource.setrlimit(resource.RLIMIT_DATA, (10**9, 10**9))
        source = adopt_source.Source(folder / "masks.npy", folder / "margins.npy")
        print(len(adopt.adopt(Lake(folder / "lake"), "large", source)))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(tmp_path)],
        **{
            "capture_output": True,
            "text": True,
            "cwd": ROOT,
            "timeout": 500,
            "env": {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        },
    )
    assert done.stdout.strip() == "200", done.stderr[-1000:]
    assert len(Lake(tmp_path / "lake").present("masks")) == 100
