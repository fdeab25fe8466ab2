"""The loop: whatever order, number of workers or sudden end, a lake ends with the same content, and nothing is done twice."""

import errno
import importlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

import builders
from builders import datamodels, datasets, engines, loop, margins
from builders.engines import local
from builders.plan import take_inventory
from lake.errors import ConflictError, CorruptError, IncompleteError, LakeError
from lake.partition import Partition
from lake.store import Lake

ADDED = {"examples": 1, "neighbours": 1, "masks": 4, "margins": 4, "weights": 2, "predictions": 4, "fits": 4}

OWN = """
    import os
    import signal
    import time
    from pathlib import Path

    import numpy as np
    from builders import counter
    from builders.training.interface import Logits

    def prepare(data):
        n_train, n_classes = len(data.train_labels), data.n_classes
        effects = np.random.default_rng(0).normal(size=(n_train, n_train + len(data.test_labels), n_classes))

        def train(group):
            if Path("slow").exists():
                time.sleep(0.4)
            if Path("meet").exists():
                Path(f"here-{os.getpid()}").touch()
                while len(list(Path().glob("here-*"))) < 2:
                    time.sleep(0.01)
            if Path("die").exists() and group.role == "fit" and 20 in group.order_ids:
                Path("die").unlink()
                os.kill(os.getpid(), signal.SIGKILL)
            noise = counter.uniform(counter.words(group.seed, group.role, group.order_ids))
            logits = np.tensordot(group.masks.astype(float), effects, 1) + noise[:, None, None] * effects[0]
            logits = logits.astype(np.float32)
            return Logits(logits[:, :n_train], logits[:, n_train:])
        return train
"""


def files(lake: Lake) -> dict[str, tuple[int, int]]:
    return {path: tuple(stat) for path, stat in lake.files.list().items() if path.endswith(".parquet")}


def left_in_staging(lake: Lake) -> list[Path]:
    return list((lake.root / ".staging").glob("*"))


def start(study: Path, lake: Lake, workers: int = 1, prefix: tuple[str, ...] = ()) -> subprocess.Popen:
    """The command in a process group of its own."""
    environment = {**os.environ, "PYTHONPATH": str(Path(builders.__file__).parents[1])}
    options = ("--study", study, "--lake", lake.root, "--workers", str(workers))
    line = [*prefix, sys.executable, "-m", "builders", "build-missing", *options]
    pipe = subprocess.PIPE
    return subprocess.Popen(
        line, cwd=study.parent, env=environment, stdout=pipe, stderr=pipe, text=True, start_new_session=True
    )


def wait_for(lake: Lake, n_margins: int, process: subprocess.Popen) -> None:
    """Until so many partitions of margins are there; patience is counted in looks, which a machine that stalls does not spend."""
    for _ in range(6_000):
        if len(lake.present("margins")) >= n_margins or process.poll() is not None:
            return
        time.sleep(0.01)
    process.kill()
    raise AssertionError(f"{len(lake.present('margins'))} partitions of margins after a minute: {process.communicate()}")


@pytest.mark.case(1)
def test_a_build_adds_everything_once_and_a_second_nothing(built_copy, small, build_missing, monkeypatch):
    def never(*arguments: object) -> None:
        raise AssertionError("built again")

    before = files(built_copy)
    for module in (margins, datamodels):
        monkeypatch.setattr(module, "build", never)
    report = build_missing(built_copy, small)
    assert (report.added, report.models, report.failures, report.left) == ({}, 0, [], 0)
    assert files(built_copy) == before
    assert len(before) == sum(ADDED.values())


def test_a_report_counts_what_was_done(lake, small, build_missing):
    report = build_missing(lake, small)
    assert report.added == ADDED
    assert report.models == 64
    assert report.failures == []
    assert report.left == 0
    loop.check(report)


def test_half_and_then_the_rest_is_all_at_once(built, lake, study_of, small, build_missing, contents):
    build_missing(lake, study_of(models=16, curve=[]))
    half = contents(lake)
    report = build_missing(lake, small)
    assert report.added["margins"] == 2
    assert report.models == 32
    extra = {path for path in half if path not in contents(built)}
    assert {Partition("fits", "small", "lasso", 16).path, Partition("weights", "small", "lasso", 16).path} <= extra
    assert {path: content for path, content in contents(lake).items() if path not in extra} == contents(built)


@pytest.mark.parametrize("order", [[(1, 2), (2, 2)], [(3, 3), (1, 3), (2, 3)]], ids=["halves", "thirds"])
def test_shards_in_any_order_are_the_whole(built, lake, small, build_missing, contents, order):
    for shard in order[:-1]:
        report = build_missing(lake, small, shard=shard)
        built_here = {p.index % shard[1] for p in lake.present("margins")}
        assert shard[0] - 1 in built_here
        assert report.left > 0
        with pytest.raises(IncompleteError):
            loop.check(report)
    assert "fits" not in report.added
    assert build_missing(lake, small, shard=order[-1]).left == 0
    assert contents(lake) == contents(built)


def test_two_workers_build_what_one_does(built, lake, small, build_missing, contents, by_workers):
    report = build_missing(lake, small, workers=2)
    assert not report.failures
    assert contents(lake) == contents(built)


def test_a_unit_is_built_on_one_thread_so_that_its_last_bits_are_its_own(
    built_copy, small, build_missing, contents, monkeypatch
):
    seen, original = set(), datamodels.build
    before = contents(built_copy)

    def watched(*arguments: object) -> object:
        seen.update(library["num_threads"] for library in threadpool_info())
        return original(*arguments)

    monkeypatch.setattr(datamodels, "build", watched)
    for table in ("fits", "weights", "predictions"):
        shutil.rmtree(built_copy.root / table)
    with threadpool_limits(2):
        build_missing(built_copy, small)
    assert seen == {1}
    assert contents(built_copy) == before


@pytest.mark.parametrize(
    "path",
    [
        "examples/dataset=digits-60-20/images-00000",
        *(f"masks/study=small/{name}" for name in ("fit-00001", "heldout-00000")),
        *(f"margins/study=small/{name}" for name in ("fit-00000", "heldout-00000")),
        *(f"{table}/study=small/lasso-00048" for table in ("fits", "weights", "predictions")),
        "fits/study=small/difference-00032",
    ],
)
def test_a_partition_that_is_deleted_comes_back_as_it_was(built_copy, small, build_missing, contents, path):
    before = contents(built_copy)
    (built_copy.root / f"{path}.parquet").unlink()
    assert build_missing(built_copy, small).added == {path.split("/")[0]: 1}
    assert contents(built_copy) == before


def test_a_lake_without_its_caches_is_the_same_lake(built_copy, small, build_missing, contents):
    before = contents(built_copy)
    shutil.rmtree(built_copy.root / ".lake")
    (built_copy.root / "lake.duckdb").unlink()
    (built_copy.root / Partition("weights", "small", "lasso", 48).path).unlink()
    assert build_missing(built_copy, small).added == {"weights": 1}
    assert contents(built_copy) == before
    assert (built_copy.root / "lake.duckdb").exists()


def test_a_budget_of_nothing_builds_nothing_and_the_next_build_everything(lake, small, built, build_missing, contents):
    report = build_missing(lake, small, seconds=0)
    assert report.added == {}
    assert report.left == 12  # images, their neighbours, 4 of masks, 4 of margins, 2 sizes of datamodels
    assert files(lake) == {}
    with pytest.raises(IncompleteError, match="12 piece\\(s\\) of work remain: run the same command again"):
        loop.check(report)
    build_missing(lake, small)
    assert contents(lake) == contents(built)


def test_another_study_under_the_name_is_refused_with_the_fields_that_differ(built_copy, study_of, build_missing):
    before = files(built_copy)
    other = study_of(seed=1, algorithm={"name": "patchnet", "widths": [4], "epochs": 3, "batch": 10})
    with pytest.raises(ConflictError) as error:
        build_missing(built_copy, other)
    line = str(error.value)
    assert "was built by another study of this name" in line
    assert "Different (lake -> now): algorithm.epochs: 2 -> 3; seed: 0 -> 1. " in line
    assert "give your study another name" in line
    assert error.value.exit_code == 3
    assert files(built_copy) == before


@pytest.mark.row("B15")
def test_another_dataset_under_the_name_is_refused(own, lake, study_of, build_missing):
    text = """
        import numpy as np
        from builders.training.interface import Data

        def load():
            rng = np.random.default_rng(0)
            images = rng.integers(0, 256, (80, 8, 8, 1)).astype(np.uint8)
            images[5, 3, 3, 0] = PIXEL
            return Data(images[:60], np.arange(60) % 3, images[60:], np.arange(20) % 3, ("a", "b", "c"))
    """
    name = own(text.replace("PIXEL", "10"))
    chosen = study_of(dataset={"source": f"{name}:load"}, models=16, curve=[], estimators=["difference"])
    build_missing(lake, chosen)
    before = files(lake)
    Path(f"{name}.py").write_text(Path(f"{name}.py").read_text().replace("= 10", "= 11"))
    shutil.rmtree("__pycache__", ignore_errors=True)
    importlib.reload(sys.modules[name])
    datasets.load.cache_clear()
    with pytest.raises(
        ConflictError, match=r"examples/.* was built by another dataset of this name.*: dataset.digest: '\w+' -> '\w+'"
    ):
        build_missing(lake, chosen)
    assert files(lake) == before


@pytest.mark.row("B1")
@pytest.mark.case(4, 56)
def test_a_partition_cut_short_is_named_and_comes_back_after_quarantine(built_copy, small, command, study_file, contents):
    before = contents(built_copy)
    path = Partition("margins", "small", "fit", 1).path
    whole = (built_copy.root / path).read_bytes()
    (built_copy.root / path).write_bytes(whole[: len(whole) * 6 // 10])
    options = ("--study", study_file(), "--lake", built_copy.root, "--workers", 1)
    refused = command("builders", "build-missing", *options)
    assert refused.code == 4
    assert refused.err.startswith(f"error: {path}: ")
    assert "make verify QUARANTINE=1" in refused.err
    assert command("lake", "verify", "--lake", built_copy.root, "--quarantine").code == 4
    assert (built_copy.root / path).exists() is False
    assert command("builders", "build-missing", *options).code == 0
    assert contents(built_copy) == before
    assert command("lake", "verify", "--lake", built_copy.root, "--deep").code == 0


def test_damage_in_another_study_does_not_stop_this_one(built_copy, study_of, build_missing):
    path = built_copy.root / Partition("margins", "small", "fit", 0).path
    path.write_bytes(path.read_bytes()[:1000])
    report = build_missing(built_copy, study_of(name="second"))
    assert not report.failures
    assert report.added == {table: n for table, n in ADDED.items() if table not in ("examples", "neighbours")}


@pytest.mark.row("R5")
def test_a_worker_that_is_killed_is_named_and_the_next_build_fills_the_gap(
    own, tmp_path, study_file, study_of, command, contents, build_missing
):
    algorithm = {"name": f"{own(OWN)}:prepare"}
    clean, lake = Lake(tmp_path / "clean"), Lake(tmp_path / "lake")
    build_missing(clean, study_of(algorithm=algorithm))
    Path("die").touch()
    options = ("--study", study_file(algorithm=algorithm), "--lake", lake.root)
    ended = command("builders", "build-missing", *options, "--workers", 2)
    assert ended.code == 1
    assert "error: 1 piece(s) of work failed, the others are safe; first: " in ended.err
    assert "margins/study=small/fit-00001.parquet: its worker died (SIGKILL" in ended.err
    assert {p.name for p in lake.present("margins")} == {"fit-00000", "fit-00002", "heldout-00000"}
    assert command("builders", "build-missing", *options, "--workers", 1).code == 0
    assert contents(lake) == contents(clean)


@pytest.mark.row("R8")
def test_two_processes_at_once_end_with_one_lake(own, tmp_path, study_file, study_of, contents, build_missing):
    """Both wait for each other before the first model, so that they race for every partition from there on."""
    algorithm = {"name": f"{own(OWN)}:prepare"}
    clean, lake = Lake(tmp_path / "clean"), Lake(tmp_path / "lake")
    build_missing(clean, study_of(algorithm=algorithm))
    Path("meet").touch()
    both = [start(study_file(algorithm=algorithm), lake) for _ in range(2)]
    said = ["".join(process.communicate(timeout=100)) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert len(list(tmp_path.glob("here-*"))) == 2
    assert contents(lake) == contents(clean)
    assert not left_in_staging(lake)
    trained = [int(n) for text in said for n in re.findall(r"([0-9]+) models trained", text)]
    assert sum(trained) == 64  # models that are in the lake by the one or the other, none by both


@pytest.mark.row("R6")
def test_a_stop_at_any_moment_loses_nothing(own, tmp_path, study_file, study_of, contents, build_missing):
    fields = {"algorithm": {"name": f"{own(OWN)}:prepare"}, "models": 96, "estimators": ["difference"], "curve": []}
    clean, lake = Lake(tmp_path / "clean"), Lake(tmp_path / "lake")
    build_missing(clean, study_of(**fields))
    Path("slow").touch()
    for n_margins, workers, late, number in ((1, 1, 0.0, signal.SIGTERM), (3, 2, 0.1, signal.SIGINT)):
        process = start(study_file(**fields), lake, workers)
        wait_for(lake, n_margins, process)
        time.sleep(late)
        (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)  # a terminal tells the whole group
        _, err = process.communicate(timeout=60)
        assert process.returncode == 128 + number, err
        assert "stopped: every published partition is safe; the same command goes on from here" in err
        assert "Traceback" not in err
        assert n_margins <= len(lake.present("margins")) < 7
    Path("slow").unlink()
    build_missing(lake, study_of(**fields))
    assert contents(lake) == contents(clean)
    assert not left_in_staging(lake)


def test_what_may_use_a_gpu_is_told_to_the_engine(own, lake, study_of, small, build_missing, monkeypatch):
    told = {}

    class Recording(local.Pool):
        def run(self, units, window, here=False, gpu=False):
            told.update({unit.builder: gpu for unit in units})
            return super().run(units, window, here, gpu)

    monkeypatch.setattr(engines, "start", lambda name, lake, work, workers: Recording(work, workers))
    build_missing(lake, small)
    assert told == {"examples": False, "neighbours": False, "masks": False, "margins": False, "datamodels": True}
    build_missing(lake, study_of(name="other", algorithm={"name": f"{own(OWN)}:prepare"}))
    assert told["margins"]  # an algorithm that we do not know may use one


def test_a_build_under_nohup_survives_the_end_of_its_terminal(own, study_file, lake):
    process = start(study_file(algorithm={"name": f"{own(OWN)}:prepare"}), lake, prefix=("nohup",))
    wait_for(lake, 1, process)
    process.send_signal(signal.SIGHUP)
    assert process.wait(100) == 0
    assert len(lake.present("margins")) == 4


@pytest.mark.parametrize(
    ("number", "wanted"),
    [(errno.EROFS, "cannot write to .* choose a folder you may write to"), (errno.ENOSPC, "disk full: .* Free some space")],
)
def test_a_folder_that_takes_no_files_is_one_line(lake, command, study_file, monkeypatch, number, wanted):
    def refuses(*arguments: object, **options: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("lake.parquet.write", refuses)
    ended = command("builders", "build-missing", "--study", study_file(), "--lake", lake.root, "--workers", 1)
    assert ended.code == 1
    last = ended.err.splitlines()[-1]
    assert last.startswith("error: ")
    assert re.search(wanted, last)
    assert files(lake) == {}
    assert not left_in_staging(lake)


def test_a_whole_lake_that_cannot_be_written_to_has_nothing_to_do(built_copy, command, study_file, monkeypatch):
    def refuses(*arguments: object, **options: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    shutil.rmtree(built_copy.root / ".lake")
    monkeypatch.setattr(Path, "mkdir", refuses)
    monkeypatch.setattr(os, "link", refuses)
    ended = command("builders", "build-missing", "--study", study_file(), "--lake", built_copy.root, "--workers", 1)
    assert ended.code == 0
    assert "nothing to do" in ended.out


def test_what_a_partition_says_of_itself(built, small):
    inventory = take_inventory(built, small)
    for partition, facts in inventory.facts.items():
        assert facts.partition == partition
        assert facts.seconds >= 0
        assert facts.device.startswith("cpu ")
        assert set(facts.libraries) >= {"numpy", "numba", "pyarrow", "scikit-learn"}
        assert facts.n_failed == 0
        if partition.table not in ("examples", "neighbours"):
            assert facts.identity == small.identity(datasets.digest(small.dataset))


def test_failures_come_before_what_is_left():
    with pytest.raises(LakeError, match="2 piece\\(s\\) of work failed, the others are safe; first: one"):
        loop.check(loop.Report(failures=["one", "two"], left=3))
    loop.check(loop.Report())


def test_damage_is_no_usage_mistake(built_copy, small, build_missing):
    path = built_copy.root / Partition("masks", "small", "fit", 0).path
    path.write_bytes(b"")
    with pytest.raises(CorruptError, match=r"^masks/study=small/fit-00000.parquet: "):
        build_missing(built_copy, small)
