"""The GPU bench runs in a small form without a card, says so, and names what fails."""

import importlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import gpu
import gpu_regression
import gpu_training

BENCH = Path(__file__).parent


@pytest.mark.parametrize("section", ["few", "paper"])
def test_regression_is_solved_to_the_bar(section):
    figures = list(getattr(gpu_regression, section)(True, time.monotonic() + 60))
    assert [figure["name"].split(",")[0] for figure in figures] == ["sums", "fit", "all"]
    assert figures[0]["held as"] == {"few": "masks", "paper": "Gram"}[section]
    assert figures[1]["converged"] == 1
    assert figures[1]["nonzero"] > 10


def test_without_time_for_all_targets_their_time_is_extrapolated(monkeypatch):
    monkeypatch.setattr(gpu_regression, "TARGETS_FIRST", 10)
    sums, fit, whole = gpu_regression.paper(True, time.monotonic())
    assert "10 targets" in fit["name"]
    assert whole["by"] == "extrapolation"
    assert whole["value"] == pytest.approx(sums["value"] + 4 * fit["value"])


def test_operations_are_those_of_the_layers():
    module, (data, images) = (
        importlib.import_module(gpu_training.MODULES["small-cnn"][1]),
        gpu_training._data("small-cnn", True),
    )
    options = gpu_training.MODULES["small-cnn"][0](**gpu_training.SMALL["small-cnn"])
    # 32 x 32 x 3 to 4 channels, 16 x 16 x 4 to 8, and the last layer; 32 examples three times, 96 once
    forward = 2 * (1024 * 27 * 4 + 256 * 36 * 8 + 8 * 10)
    assert gpu_training._operations(module, options, data)(options) == forward * (3 * 32 + 64 + 32)
    assert images == "noise"


def test_what_there_is_no_time_for_is_skipped():
    left = list(gpu_training.of("small-cnn")(True, time.monotonic() - 1))
    assert [figure["name"] for figure in left] == list(gpu_training.PLANS)
    assert {figure["skipped"] for figure in left} == {"no time was left for it"}


def test_what_takes_longer_than_there_is_time_is_skipped_and_the_section_ends(monkeypatch):
    monkeypatch.setattr(gpu_training, "PLANS", {"endless": gpu_training.Plan()})
    monkeypatch.setattr(gpu_training, "_figure", lambda *arguments: time.sleep(60))
    monkeypatch.setattr(gpu_training, "_operations", lambda *arguments: None)
    importlib.import_module(gpu_training.MODULES["small-cnn"][1])
    (only,) = gpu_training.of("small-cnn")(True, time.monotonic() + 2)
    assert only["name"] == "endless"
    assert only["skipped"].startswith("it takes more than")


@pytest.mark.slow
@pytest.mark.parametrize("recipe", gpu_training.SMALL)
def test_a_recipe_is_measured_against_the_peak(recipe):
    figures = list(gpu_training.of(recipe)(True, time.monotonic() + 600))
    assert len(figures) == (3 if recipe == "patchnet" else len(gpu_training.PLANS))
    assert [figure for figure in figures if "failed" in figure or not figure["value"] > 0] == []
    assert recipe == "patchnet" or figures[0]["share of peak"] > 0


def test_the_record_names_what_failed(tmp_path, capsys):
    figures = [
        {"section": "a", "name": "x", "value": float("nan")},
        {"section": "b", "name": "y", "failed": "exit code 1: why"},
    ]
    gpu.record(figures, ["b"], "NVIDIA H100 80GB HBM3", tmp_path / "gpu.json")
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert (found["card"], found["failed"]) == ("NVIDIA H100 80GB HBM3", ["b"])
    assert found["figures"][0]["value"] is None
    gpu.record([{"section": "b", "name": "y", "value": 2.0}], [], "NVIDIA H100 80GB HBM3", tmp_path / "gpu.json")
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert found["failed"] == []
    assert [(f["section"], f["value"]) for f in found["figures"]] == [("a", None), ("b", 2.0)]


@pytest.mark.slow
def test_the_others_run_when_a_section_fails(tmp_path):
    command = [sys.executable, str(BENCH / "gpu.py"), "--small", "--output", str(tmp_path / "gpu.json"), "--scale", "6"]
    ended = subprocess.run([*command, "--only", "matrix-peak", "regression-few"], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert {f["section"] for f in json.loads((tmp_path / "gpu.json").read_text())["figures"]} == {
        "matrix-peak",
        "regression-few",
    }
    broken = tmp_path / "gpu_training.py"
    broken.write_text(
        "def peak(small, stop):\n    raise RuntimeError('no matrix')\n\n\ndef of(name):\n    return peak\n\n\naccuracy = peak\n"
    )
    for name in ("gpu.py", "gpu_regression.py"):
        (tmp_path / name).write_text((BENCH / name).read_text())
    command[1] = str(tmp_path / "gpu.py")
    ended = subprocess.run(
        [*command, "--only", "matrix-peak", "regression-few"],
        capture_output=True,
        text=True,
        cwd=BENCH.parents[1],
        env={**os.environ, "PYTHONPATH": str(BENCH.parents[1])},
    )
    assert ended.returncode == 1
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert found["failed"] == ["matrix-peak"]
    assert any("RuntimeError: no matrix" in f.get("failed", "") for f in found["figures"])
    assert any(f["section"] == "regression-few" and f.get("converged") == 1 for f in found["figures"])
