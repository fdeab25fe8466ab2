"""The page after a build."""

import io

import pytest
from rich.console import Console

from lake import connect
from lake.errors import UsageError
from queries.summary import study_name, summarize

OUTPUTS = [[1, 3], [2, 4], [5, 7], [6, 8]]
MARGINS = [
    {
        "role": "heldout",
        "model_id": 2 * m + r,
        "mask_id": m,
        "repeat": r,
        "test_margin": [y],
        "test_accuracy": 0.5,
        "train_accuracy": 1.0,
    }
    for m, repeats in enumerate(OUTPUTS)
    for r, y in enumerate(repeats)
]
MASKS = [{"role": "heldout", "mask_id": m, "mask": "10"} for m in range(4)]


def page(lake, study="toy"):
    """The summary as text."""
    console = Console(file=io.StringIO(), width=80)
    summarize(connect(lake.root, locked=True), study, console)
    return console.file.getvalue()


def test_summary_shows_accuracy_and_lds_beside_the_ceilings(lake_of):
    fits = [{"target_id": 0}, {"target_id": 0, "fit": "ridge-00004", "estimator": "ridge"}]
    predictions = [
        {"mask_id": m, "fit": row["fit"], "predicted_margin": [m]}
        for row in ({"fit": "lasso-00004"}, {"fit": "ridge-00004"})
        for m in range(4)
    ]
    failed = {"model_id": 0, "mask_id": 0, "status": "failed"}
    text = page(lake_of(masks=MASKS, margins=[*MARGINS, failed], fits=fits, predictions=predictions))
    assert "8 models held out: accuracy test 50.0% (sd 0.0), train 100.0% (sd 0.0)" in text
    assert "1 models to fit on: accuracy test -, train - (1 failed)" in text
    rows = [line.split() for line in text.splitlines() if line.startswith(("lasso", "ridge"))]
    assert [row[:2] for row in rows] == [["lasso-00004", "1.000"], ["ridge-00004", "1.000"]]
    assert [row[5:] for row in rows] == [["0.907", "0.878", "0.837"]] * 2
    assert 'make query Q=proponents PARAMS="study=toy target_id=0"' in text


def test_summary_before_the_fits_and_before_anything(lake_of):
    assert "no datamodel has predictions yet: make build-missing" in page(lake_of(masks=MASKS, margins=MARGINS))
    assert "nothing there yet: make build-missing" in page(lake_of())
    assert "no study 'toys' in this lake; there are toy" in page(lake_of(margins=MARGINS), "toys")


def test_study_may_be_given_by_its_file(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('name = "mine"\n')
    assert (study_name(str(path)), study_name("digits")) == ("mine", "digits")
    path.write_text("alpha = 0.5\n")
    with pytest.raises(UsageError, match="KeyError: 'name'"):
        study_name(str(path))
