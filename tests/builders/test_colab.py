"""The notebook: its cells, run in a real kernel against the Hub's stand-in, build a study, push it, and show what it found."""

import os
import re
import sys
from pathlib import Path

import pytest
from fakehub import FakeHub

from builders import study
from lake.store import Lake
from lake.verify import verify

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "builders" / "colab.ipynb"
TOKEN = "hf_ofthenotebook"


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """The notebook after all of its cells ran on the study `tiny`, its folder, and the Hub."""
    folder = tmp_path_factory.mktemp("session")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    form = next(cell for cell in notebook.cells if "1. What to build" in cell.source)
    form.source = re.sub('repo = ".*?"', 'repo = "tester/shared"', form.source)
    form.source = re.sub('study = ".*?"', 'study = "tiny"', form.source)
    path = os.pathsep.join((os.path.dirname(sys.executable), os.environ["PATH"]))
    cores = os.sched_getaffinity(0)
    with FakeHub(tokens={TOKEN: True}) as hub, pytest.MonkeyPatch.context() as patch:
        for name, value in {"HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN, "PYTHONPATH": str(ROOT), "PATH": path}.items():
            patch.setenv(name, value)
        os.sched_setaffinity(0, {min(cores)})  # a session of one core: it starts no process a turn
        try:
            nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(folder)}}).execute()
        finally:
            os.sched_setaffinity(0, cores)
        yield notebook, folder, hub


def test_a_notebook_asks_a_lake(sample, monkeypatch):
    """In a real kernel, which draws progress bars and tables in its own way."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    asked = f"from lake import connect\nconnect({str(sample.root)!r}).sql('select role, count(*) as n from masks group by role order by role')"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(asked)])
    nbclient.NotebookClient(notebook, timeout=60).execute()
    [output] = notebook.cells[0].outputs
    assert "heldout" in output["data"]["text/plain"]


def outputs(notebook, title: str) -> list[dict]:
    return next(cell for cell in notebook.cells if title in cell.source).outputs


@pytest.mark.slow
def test_what_a_session_builds_is_pushed(session):
    _, folder, hub = session
    lake = Lake(folder / "lake")
    assert verify(lake) == []
    pushed = {path for path in hub.repos["tester/shared"].tree if path.endswith(".parquet")}
    assert pushed == set(lake.files.list()) - {"lake.duckdb"}
    assert "weights/study=tiny/lasso-00192.parquet" in pushed


@pytest.mark.slow
def test_the_last_cells_show_a_table_and_a_picture(session):
    notebook, *_ = session
    (table,) = [o.data["text/html"] for o in outputs(notebook, "4. Ask") if o.output_type == "execute_result"]
    assert "lasso-00192" in table
    assert "lds_repeats" in table
    (picture,) = [o.data["image/png"] for o in outputs(notebook, "5. See") if o.output_type == "display_data"]
    assert len(picture) > 5_000


@pytest.mark.slow
def test_no_cell_shows_the_token(session):
    notebook, folder, _ = session
    assert TOKEN not in nbformat.writes(notebook)
    assert [p for p in folder.rglob("*") if p.is_file() and TOKEN.encode() in p.read_bytes()] == []


def test_the_notebook_is_kept_without_outputs_and_offers_shipped_studies():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert [cell.source for cell in notebook.cells if cell.get("outputs")] == []
    form = next(cell.source for cell in notebook.cells if "1. What to build" in cell.source)
    offered = re.findall(r'"([a-z0-9-]+)"', form.split("study =")[1].split("# @param")[1].splitlines()[0])
    assert set(offered) <= set(study.shipped())
