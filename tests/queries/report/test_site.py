"""The folder of a report: whole or as it was, the same twice, and never in the place of anything else."""

import fcntl
import json
import os
import shutil

import pytest

from lake.errors import ConflictError, UsageError
from queries.report import folder
from queries.report.folder import MARK
from queries.report.site import build


@pytest.fixture(autouse=True)
def no_cache(monkeypatch, tmp_path):
    """No engine from an earlier report."""
    monkeypatch.setattr("queries.report.engine.CACHE", tmp_path / "cache")


def contents(root):
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


@pytest.mark.slow
def test_the_same_lake_gives_the_same_pages(site, pictured, tmp_path):
    again = build(pictured.root, tmp_path / "again", "toy", offline=True)
    assert (again.new, again.pages) == (True, 17)
    first, second = contents(site), contents(again.out)
    assert first.keys() == second.keys()
    assert len(first) > 100
    inexact = {path for path in first if path.endswith((".csv", ".parquet"))}  # sums of doubles, as threads finish
    assert [path for path in first.keys() - inexact if first[path] != second[path]] == []


def test_a_second_run_has_nothing_to_do_and_one_for_fewer_pages_has(site, pictured, tmp_path):
    out = shutil.copytree(site, tmp_path / "site")
    first, before = contents(out), (out / "index.html").stat().st_mtime_ns
    assert not build(pictured.root, out, "toy", offline=True).new
    assert (out / "index.html").stat().st_mtime_ns == before
    fewer = build(pictured.root, out, "toy", most=2, offline=True)
    assert (fewer.new, fewer.pages) == (True, 2)
    assert sorted(p.name for p in (out / "examples").iterdir()) == ["test-0.html", "train-0.html"]
    assert "examples/test-1.html" not in (out / "galleries" / "class-1.html").read_text()
    second, kept = contents(out), ("index.html", "search.html", "sql.html", "queries/", "images/", "assets/style.css")
    alike = [path for path in first if path.startswith(kept) and not path.endswith((".csv", ".parquet"))]
    assert len(alike) > 70
    assert [path for path in alike if first[path] != second[path]] == []
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


@pytest.mark.parametrize("kind", ["files", "file", "link", "lake", "inside", "around"])
def test_what_is_no_report_is_refused_and_stays(kind, site, pictured, tmp_path):
    out = tmp_path / "out"
    if kind == "files":
        out.mkdir()
        (out / "thesis.tex").write_text("years of work")
    elif kind == "file":
        out.write_text("years of work")
    elif kind == "link":
        out.symlink_to(site)
    else:
        out = {"lake": pictured.root, "inside": pictured.root / "site", "around": pictured.root.parent}[kind]
    before = contents(out) if out.is_dir() else out.read_bytes() if out.exists() else None
    with pytest.raises(UsageError, match="--out"):
        build(pictured.root, out, "toy", offline=True)
    assert (contents(out) if out.is_dir() else out.read_bytes() if out.exists() else None) == before
    assert out.exists() or kind == "inside"


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "out").mkdir()
    folder.refuse(tmp_path / "out", tmp_path / "lake")
    with folder.replaced(tmp_path / "out", {"study": "toy"}) as made:
        (made / "index.html").write_text("new")
    assert json.loads((tmp_path / "out" / MARK).read_text()) == folder.made_from(tmp_path / "out") == {"study": "toy"}


def test_an_unknown_study_names_those_that_are_there(pictured, tmp_path):
    with pytest.raises(UsageError, match="there are toy"):
        build(pictured.root, tmp_path / "out", "digits", offline=True)
    with pytest.raises(UsageError, match="make build-missing"):
        build(tmp_path / "none", tmp_path / "out", "digits", offline=True)
    assert not (tmp_path / "out").exists()


def test_an_error_on_the_way_leaves_the_old_report(tmp_path):
    with folder.replaced(tmp_path / "out", {"study": "toy"}) as made:
        (made / "index.html").write_text("old")
    before = contents(tmp_path)
    with pytest.raises(ZeroDivisionError), folder.replaced(tmp_path / "out", {"study": "toy"}) as made:
        (made / "index.html").write_text(str(1 / 0))
    assert contents(tmp_path) == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out"]


def test_a_killed_writer_leaves_nothing_that_stays(tmp_path):
    leftover = tmp_path / ".out.making" / "site" / "half.html"
    leftover.parent.mkdir(parents=True)
    leftover.write_text("half")
    with folder.replaced(tmp_path / "out", {"study": "toy"}) as made:
        (made / "index.html").write_text("whole")
    assert sorted(contents(tmp_path)) == ["out/index.html", f"out/{MARK}"]


def test_two_writers_of_one_report_do_not_mix(tmp_path):
    (tmp_path / ".out.making").mkdir()
    held = os.open(tmp_path / ".out.making", os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    with pytest.raises(ConflictError, match="another process"), folder.replaced(tmp_path / "out", {}):
        pass
    os.close(held)
    assert not (tmp_path / "out").exists()


def test_a_system_without_exchange_replaces_by_renames(tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "_exchange", lambda *_: False)
    for text in ("old", "new"):
        with folder.replaced(tmp_path / "out", {}) as made:
            (made / "index.html").write_text(text)
    assert (tmp_path / "out" / "index.html").read_text() == "new"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out"]
