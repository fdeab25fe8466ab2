"""Verify: every planted damage is named with its file and what to do, and a clean lake is clean."""

import os
import shutil
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lake import parquet, verify
from lake.errors import CorruptError, UsageError
from lake.partition import Partition
from lake.store import Lake
from lake.tables import TABLES
from lake.verify import SET_ASIDE, Problem

FIT, HELDOUT = Partition("masks", "half", "fit", 0), Partition("masks", "half", "heldout", 0)
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 2174\n"


@pytest.fixture(autouse=True)
def no_deeper_checks(monkeypatch):
    """Deeper checks are those of an installed package; here only what the lake itself knows is asked."""
    monkeypatch.setattr(verify, "entry_points", lambda group: [])


def problems(lake: Lake, deep: bool = False) -> dict[str, tuple[str, str]]:
    """What is wrong and what to do, by path."""
    found = verify.verify(lake, deep)
    assert len({p.path for p in found}) == len(found)
    return {p.path: (p.what, p.advice) for p in found}


def overwrite(lake: Lake, partition: Partition, content: bytes) -> None:
    (lake.root / partition.path).write_bytes(content)


def test_a_clean_lake_has_no_problem(sample):
    heard = []
    assert verify.verify(sample, deep=True, tell=lambda path, size: heard.append((path, size))) == []
    assert heard == [(path, stat.size) for path, stat in sample.files.list().items()]
    assert len(heard) >= 21


@pytest.mark.parametrize("deep", [False, True])
def test_flipped_bits_and_cut_files_are_named(sample_copy, deep):
    whole = (sample_copy.root / FIT.path).read_bytes()
    for place in (0, 5, len(whole) // 2, len(whole) - 9, len(whole) - 1):
        overwrite(sample_copy, FIT, whole[:place] + bytes([whole[place] ^ 8]) + whole[place + 1 :])
        (found,) = problems(sample_copy, deep).items()
        assert found[0] == FIT.path
        assert found[1][1] == SET_ASIDE
    overwrite(sample_copy, FIT, whole[: len(whole) * 6 // 10])
    what = "its bytes are not those that were published (damaged or cut short)"
    assert problems(sample_copy, deep) == {FIT.path: (what, SET_ASIDE)}


@pytest.mark.parametrize(
    ("content", "what", "advice"),
    [
        (b"", "is empty", SET_ASIDE),
        (b"<!DOCTYPE html><html>Too many requests</html>", "is not a parquet file", SET_ASIDE),
        (LFS, "is a Git LFS pointer, not the file", "Fetch the file itself with `git lfs pull`, or set the pointer aside"),
        (b"PAR1", "its bytes are not those that were published (damaged or cut short)", SET_ASIDE),
    ],
    ids=["empty", "html", "lfs", "magic"],
)
def test_other_things_under_a_name_are_called_what_they_are(sample_copy, content, what, advice):
    overwrite(sample_copy, FIT, content)
    assert problems(sample_copy) == {FIT.path: (what, advice)}


def test_swapped_names_are_both_named(sample_copy):
    one, other = sample_copy.root / FIT.path, sample_copy.root / HELDOUT.path
    one.rename(other.with_suffix(".moved"))
    other.rename(one)
    other.with_suffix(".moved").rename(other)
    assert problems(sample_copy) == {
        FIT.path: (f"holds {HELDOUT.path}, so it was copied or renamed", SET_ASIDE),
        HELDOUT.path: (f"holds {FIT.path}, so it was copied or renamed", SET_ASIDE),
    }


@pytest.mark.parametrize("copy", [replace(FIT, index=1), replace(FIT, value="other", index=1), replace(FIT, role="fits")])
@pytest.mark.row("B3")
def test_a_copied_partition_is_named(sample_copy, copy):
    shutil.copy(sample_copy.root / FIT.path, sample_copy.root / copy.path)
    assert problems(sample_copy) == {copy.path: (f"holds {FIT.path}, so it was copied or renamed", SET_ASIDE)}


FOREIGN = {
    "masks/study=half/fit-00000.parquet.tmp": b"half a file",
    "masks/study=half/.DS_Store": b"\0\0\0\1Bud1",
    "masks/study=half/README.md": b"notes",
    "masks/notes.parquet": LFS,
    "masks/study=HALF/fit-00000.parquet": b"PAR1",
    "margins/study=half/part.parquet/data": b"x",
    "weights/dataset=half/fit-00000.parquet": b"",
    "fits/study=half/caf\u00e9.parquet": b"<html>",
}


@pytest.mark.row("B6")
@pytest.mark.case(2, 47)
def test_foreign_files_in_a_table_folder_are_named_and_left(sample_copy):
    for path, content in FOREIGN.items():
        (sample_copy.root / path).parent.mkdir(parents=True, exist_ok=True)
        (sample_copy.root / path).write_bytes(content)
    found = problems(sample_copy)
    assert found.keys() == FOREIGN.keys()
    assert all(what.startswith("unknown name in a table's folder") for what, _ in found.values())
    assert all("move it out of the lake" in advice for _, advice in found.values())
    assert "LFS" in found["masks/notes.parquet"][0]
    assert verify.quarantine(sample_copy, verify.verify(sample_copy)) == {}


def test_a_foreign_parquet_file_is_not_called_damaged(sample_copy):
    pq.write_table(pa.table({"a": [1]}), sample_copy.root / "masks/study=half/extra.parquet")
    ((what, _),) = problems(sample_copy).values()
    assert what == "unknown name in a table's folder (no partition has such a name)"


def test_a_foreign_parquet_file_under_our_name_is_damage(sample_copy):
    (sample_copy.root / FIT.path).unlink()
    pq.write_table(pa.table({"a": [1]}), sample_copy.root / FIT.path)
    assert problems(sample_copy)[FIT.path][1] == SET_ASIDE


def test_files_beside_the_tables_are_nobody_s_business(sample_copy):
    for name in ("lake.duckdb", "README.md", "notes/masks.parquet", ".staging/x", ".quarantine/y"):
        (sample_copy.root / name).parent.mkdir(exist_ok=True)
        (sample_copy.root / name).write_text("mine")
    assert problems(sample_copy) == {}


def test_a_name_of_any_bytes_can_be_printed(sample_copy):
    os.close(os.open(os.fsencode(sample_copy.root / "masks") + b"/\xff\n.parquet", os.O_CREAT))
    (problem,) = verify.verify(sample_copy)
    assert str(problem).encode().startswith(b"masks/\\udcff")


def test_two_fingerprints_under_one_study_are_named(sample_copy, rows_of, facts_of):
    stranger = replace(FIT, index=7)
    sample_copy.publish(stranger, rows_of(stranger), facts_of(stranger, fingerprint="0123456789abcdef"))
    ((path, (what, advice)),) = problems(sample_copy).items()
    assert path == stranger.path
    assert what.startswith("fingerprint 0123456789abcdef differs from ")
    assert advice.startswith("Two studies share a name")
    assert verify.quarantine(sample_copy, verify.verify(sample_copy)) == {}


def test_a_newer_file_is_whole_and_stays(sample_copy, rows_of, facts_of):
    newer = replace(FIT, index=7)
    sample_copy.publish(newer, rows_of(newer), facts_of(newer, format=99, code="9.9"))
    what, advice = problems(sample_copy)[newer.path]
    assert "format 99 by version 9.9" in what
    assert advice == "The file is whole: leave it where it is"
    assert verify.quarantine(sample_copy, verify.verify(sample_copy)) == {}


SEALED_BUT_WRONG = {
    "doubled rows": (lambda rows: pa.concat_tables([rows, rows]), "not in strictly rising order"),
    "other order": (lambda rows: rows.take([2, 1, 0]), "not in strictly rising order"),
    "another owner": (lambda rows: rows.set_column(0, rows.schema.field(0), pa.array(["other"] * 3)), "expected 'half' only"),
    "another type": (lambda rows: rows.set_column(2, "mask_id", rows["mask_id"].cast(pa.int64())), "its columns are"),
}


@pytest.mark.parametrize("wrong", SEALED_BUT_WRONG)
def test_rows_that_break_the_contract_are_found_by_the_deep_check(sample_copy, rows_of, facts_of, wrong):
    change, what = SEALED_BUT_WRONG[wrong]
    forged = change(rows_of(FIT))
    (sample_copy.root / FIT.path).unlink()
    _write_sealed(sample_copy, forged, facts_of(FIT))
    assert problems(sample_copy) == {}
    ((path, (found, advice)),) = problems(sample_copy, deep=True).items()
    assert (path, advice) == (FIT.path, SET_ASIDE)
    assert what in found


def test_rows_that_the_footer_does_not_describe_are_found_by_the_deep_check(sample_copy, rows_of, facts_of, monkeypatch):
    (sample_copy.root / FIT.path).unlink()
    monkeypatch.setattr(parquet, "content_hash", lambda rows: "0" * 64)
    _write_sealed(sample_copy, rows_of(FIT), facts_of(FIT))
    monkeypatch.undo()
    monkeypatch.setattr(verify, "entry_points", lambda group: [])
    assert problems(sample_copy) == {}
    assert problems(sample_copy, deep=True) == {FIT.path: ("its rows are not those that its footer describes", SET_ASIDE)}


def _write_sealed(lake: Lake, rows: pa.Table, facts: parquet.Facts) -> None:
    """Put rows under their name as a careless program could: sealed, but never validated."""
    spec = replace(TABLES[facts.table])
    object.__setattr__(spec, "schema", rows.schema)
    parquet.write(rows, spec, facts, lake.root / facts.partition.path)


def test_quarantine_moves_the_damaged_and_keeps_their_bytes(sample_copy):
    whole = (sample_copy.root / FIT.path).read_bytes()
    overwrite(sample_copy, FIT, whole[:700])
    overwrite(sample_copy, HELDOUT, LFS)
    (sample_copy.root / "masks/notes.txt").write_text("foreign")
    kept = verify.quarantine(sample_copy, verify.verify(sample_copy))
    assert kept.keys() == {FIT.path}
    assert (sample_copy.root / kept[FIT.path]).read_bytes() == whole[:700]
    assert problems(sample_copy).keys() == {HELDOUT.path, "masks/notes.txt"}
    assert FIT not in sample_copy.present("masks")


def test_a_quarantined_partition_can_be_published_again(sample_copy, rows_of, facts_of):
    overwrite(sample_copy, FIT, b"")
    verify.quarantine(sample_copy, verify.verify(sample_copy))
    assert sample_copy.publish(FIT, rows_of(FIT), facts_of(FIT)).new
    assert problems(sample_copy, deep=True) == {}


def test_a_lake_that_is_not_there_is_not_called_clean(lake):
    with pytest.raises(UsageError, match=r"there is no lake in .*make build-missing"):
        verify.verify(lake)


def test_a_link_ends_the_check_with_its_name(sample_copy):
    (sample_copy.root / "masks/study=half/link").symlink_to("fit-00000.parquet")
    with pytest.raises(CorruptError, match="masks/study=half/link is a link"):
        verify.verify(sample_copy)


def test_deeper_checks_get_the_sound_partitions_of_one_study_at_a_time(sample_copy, monkeypatch):
    seen = []

    class Point:
        def load(self):
            return check

    def check(lake, facts):
        seen.append({p.value for p in facts})
        assert all(f.partition == p for p, f in facts.items())
        yield Problem(min(facts).path, "is odd", SET_ASIDE)

    monkeypatch.setattr(verify, "entry_points", lambda group: [Point()] if group == "datamodels_lake.checks" else [])
    overwrite(sample_copy, FIT, b"")
    found = verify.verify(sample_copy, deep=True)
    assert seen == [{"half"}, {"other"}, {"pixels"}]
    assert [p.what for p in found] == ["is empty", "is odd", "is odd", "is odd"]
    seen.clear()
    assert len(verify.verify(sample_copy)) == 1
    assert seen == []
