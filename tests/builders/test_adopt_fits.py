"""Weights of others: the models tell whether they are raw or standardised, and either way they enter the lake raw."""

import pickle
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch

from builders import adopt, adopt_fits, adopt_source
from builders.adopt_source import Source
from lake.catalog import connect
from lake.errors import UsageError
from lake.store import Lake
from lake.verify import verify
from queries.run import ask

ROOT = Path(__file__).parents[2]
N, N_TRAIN, N_TEST = 400, 40, 7
STRENGTH = 2.0


@pytest.fixture
def planted(tmp_path, monkeypatch):
    """400 models, the last 100 held out, whose margins are linear in the mask and noise; a third of the weights is 0.

    Writes masks, margins of both splits and the true weights in one of the two forms, as the released files have them.
    """
    monkeypatch.setattr(adopt_source, "MODELS", 60)
    monkeypatch.setattr(adopt_fits, "BLOCK", 4 * N_TRAIN)
    rng = np.random.default_rng(0)

    def write(written: str, alpha: float = 0.5, noise: float = 1.0, **options: object) -> Source:
        masks = np.stack([rng.permutation(N_TRAIN) < alpha * N_TRAIN for _ in range(N)])
        paths = {"masks": tmp_path / "masks.npy"}
        np.save(paths["masks"], masks)
        share = masks[:300].mean(0)
        spread = np.sqrt(share * (1 - share))
        for split, n_targets in (("test", N_TEST), ("train", N_TRAIN)):
            theta = rng.normal(0.1, STRENGTH, (N_TRAIN, n_targets)) * (rng.random((N_TRAIN, n_targets)) < 2 / 3)
            margins = masks @ theta - 3 + noise * rng.normal(size=(N, n_targets))
            raw = {"weight": theta, "bias": np.full(n_targets, -3.0)}
            scaled = {"weight": theta * spread[:, None], "bias": -3 + share @ theta}
            found = (raw if written == "raw" else scaled) | {"lam": np.full(n_targets, 0.1)}
            torch.save({k: torch.tensor(v, dtype=torch.float32) for k, v in found.items()}, tmp_path / f"{split}.pt")
            name = "margins" if split == "test" else "train_margins"
            paths[name], paths[f"{split}_weights"] = tmp_path / f"{name}.npy", tmp_path / f"{split}.pt"
            np.save(paths[name], margins.astype(np.float16))
            write.theta[split] = theta
        return Source(**paths, heldout=100, **options)

    write.theta = {}
    return write


@pytest.mark.parametrize(("form", "alpha"), [("raw", 0.5), ("standardised", 0.5), ("raw", 0.75), ("standardised", 0.1)])
def test_the_models_tell_the_form_and_weights_enter_raw(lake, planted, form, alpha):
    source = planted(form, alpha)
    adopt.adopt(lake, "others", source)
    assert verify(lake, deep=True) == []
    con = connect(lake.root)
    for split in ("test", "train"):
        rows = con.sql(f"select train_id, target_id, weight from weights where split = '{split}'").fetchnumpy()
        got = np.zeros(planted.theta[split].shape)
        got[rows["train_id"], rows["target_id"]] = rows["weight"]
        assert np.allclose(got, planted.theta[split], rtol=1e-5)
    assert con.sql("select distinct fit, n_models, round(bias, 3) from fits").fetchall() == [("lasso-00300", 300, -3.0)]
    lam = {"raw": None, "standardised": pytest.approx(0.1 * np.sqrt(alpha * (1 - alpha)), rel=0.02)}[form]
    assert con.sql("select distinct lam from fits where split = 'test'").fetchall()[0][0] == lam
    told = con.sql("select distinct identity->'adopted'->'weights'->'test'->>'form' from partitions").fetchall()
    assert told == [(form,)]
    mean = con.sql("select avg(mean_margin) from fits where split = 'test'").fetchall()[0][0]
    assert mean == pytest.approx(np.load(source.margins)[:300].astype(float).mean(), abs=1e-3)


def test_an_adopted_study_is_judged_by_every_query(lake, planted):
    adopt.adopt(lake, "others", planted("standardised", noise=3.0))
    [test, train] = ask("lds", {}, lake.root).to_pylist()[::1]
    assert (test["n_masks"], test["n_targets"], train["n_targets"]) == (100, N_TEST, N_TRAIN)
    assert test["lds_repeats"] > 0.8
    assert ask("orphan_weights", {}, lake.root).num_rows == ask("predictions_from_weights", {}, lake.root).num_rows == 0
    assert ask("proponents", {"target_id": "3"}, lake.root).to_pylist()[0]["train_id"] == planted.theta["test"][:, 3].argmax()


def test_weights_that_do_not_go_with_the_margins_need_a_word(lake, planted):
    source = planted("raw", noise=300.0)
    with pytest.raises(UsageError, match=r"raw weights have 1.*2\.0.*--form"):
        adopt.adopt(lake, "others", source)
    assert lake.files.list() == {}
    adopt.adopt(lake, "others", planted("raw", noise=300.0, form="raw"))
    assert connect(lake.root).sql("select count(*) from fits").fetchall() == [(N_TEST + N_TRAIN,)]
    with pytest.raises(UsageError, match="choose raw or standardised"):
        adopt.adopt(lake, "others", planted("raw", form="cooked"))


def test_slope_and_bias_must_agree(planted):
    source = planted("raw")
    found = torch.load(source.test_weights)
    torch.save(
        {**found, "bias": found["bias"] + torch.tensor(np.load(source.masks).mean(0)).float() @ found["weight"]},
        source.test_weights,
    )
    with pytest.raises(UsageError, match=r"off by \d\d.* if they are raw"):
        adopt_fits.forms(source, adopt_source.look_over(source))


class Canary:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def test_no_pickle_runs(planted, tmp_path):
    source = planted("raw")
    torch.save({"weight": torch.zeros(N_TRAIN, N_TEST), "bias": Canary(tmp_path / "canary")}, source.test_weights)
    for damage in (lambda: None, lambda: source.test_weights.write_bytes(pickle.dumps(Canary(tmp_path / "canary")))):
        damage()
        with pytest.raises(UsageError, match="tensors alone"):
            adopt_fits.read(source.test_weights, N_TRAIN, N_TEST)
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ({"weight": torch.zeros(N_TEST, N_TRAIN), "bias": torch.zeros(N_TEST)}, "transposed"),
        ({"weight": torch.zeros(N_TRAIN, N_TEST)}, "`weight` and `bias`"),
        (torch.zeros(3), "`weight` and `bias`"),
        ({"weight": torch.zeros(N_TRAIN, N_TEST), "bias": torch.zeros(3)}, r"needed: \[n_train"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(tmp_path, found, message):
    torch.save(found, tmp_path / "x.pt")
    with pytest.raises(UsageError, match=message):
        adopt_fits.read(tmp_path / "x.pt", N_TRAIN, N_TEST)


@pytest.mark.slow
def test_five_gigabytes_of_weights_are_read_in_less_than_one(tmp_path):
    script = """
        import sys, threading, time
        from pathlib import Path
        import numpy as np
        import torch
        from builders import adopt, adopt_source
        from lake.store import Lake
        folder, n_train, n_test = Path(sys.argv[1]), 50_000, 25_000
        rng = np.random.default_rng(0)
        masks = rng.random((60, n_train)) < 0.5
        np.save(folder / "masks.npy", masks)
        sparse = torch.UntypedStorage.from_file(str(folder / "weights"), True, 4 * n_train * n_test)
        weight = torch.tensor([], dtype=torch.float32).set_(sparse, 0, (n_train, n_test))
        weight[::500] = torch.randn(100, n_test)
        margins = masks[:, ::500].astype(np.float32) @ weight[::500].numpy()
        np.save(folder / "margins.npy", margins.astype(np.float16))
        torch.save({"weight": weight, "bias": torch.zeros(n_test)}, folder / "test.pt")
        del weight, sparse, margins
        most, done = [0], threading.Event()

        def watch():
            while not done.wait(0.05):
                lines = Path("/proc/self/status").read_text().splitlines()
                most[0] = max(most[0], *(int(line.split()[1]) for line in lines if line.startswith("RssAnon")))

        watcher = threading.Thread(target=watch)
        watcher.start()
        source = adopt_source.Source(folder / "masks.npy", folder / "margins.npy", test_weights=folder / "test.pt", heldout=20)
        adopt.adopt(Lake(folder / "lake"), "large", source)
        done.set()
        watcher.join()
        print((folder / "test.pt").stat().st_size >= 5e9, most[0])
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(tmp_path)],
        **{
            "capture_output": True,
            "text": True,
            "cwd": ROOT,
            "timeout": 1500,
            "env": {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        },
    )
    assert done.stdout.startswith("True"), done.stderr[-1000:]
    assert int(done.stdout.split()[1]) < 1_000_000  # kilobytes of this process's own, beside pages of files
    assert connect(Lake(tmp_path / "lake").root).sql("select count(*) from weights").fetchall() == [(100 * 25_000,)]
