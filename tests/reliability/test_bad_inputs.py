"""Bad files and texts, beyond what each module tests for itself, are refused by name, and run nothing."""

import os
import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from world import audit, build, frozen, masks, small, stored

from lake.catalog import connect
from lake.errors import CorruptError, LakeError
from lake.fingerprint import fingerprint
from lake.parquet import Facts
from lake.partition import Partition
from lake.store import Lake
from lake.tables import TABLES
from lake.verify import quarantine, verify
from queries.run import run, shipped

FIRST = masks(0)[0]


def models(n_models: int, n_examples: int) -> tuple[Partition, pa.Table]:
    """A partition of models with random margins on as many test as training examples."""
    rng, ids = np.random.default_rng(0), pa.array(np.arange(n_models), pa.int32())
    halves = [rng.normal(0, 4, n_examples).astype(np.float16).tolist() for _ in range(n_models)]
    values = {"study_id": "half", "role": "fit", "status": "ok", "repeat": 0, "test_accuracy": 0.5, "train_accuracy": 0.5}
    columns = {**{n: [v] * n_models for n, v in values.items()}, **dict.fromkeys(("model_id", "mask_id", "init_id"), ids)}
    columns |= dict.fromkeys(("test_margin", "train_margin"), halves)
    schema = TABLES["margins"].schema
    return Partition("margins", "half", "fit", 0), pa.table([pa.array(columns[f.name], f.type) for f in schema], schema=schema)


@pytest.fixture
def two(lake):
    """A lake of two partitions."""
    for index in (0, 1):
        lake.publish(*masks(index))
    return lake


@pytest.mark.row("B1")
def test_every_length_of_a_cut_file_is_named_set_aside_and_the_rest_answers(two, tally):
    whole = (two.root / FIRST.path).read_bytes()
    lengths = range(0, len(whole), 97)
    for length in lengths:
        (two.root / FIRST.path).write_bytes(whole[:length])
        problems = verify(two)
        assert [p.path for p in problems] == [FIRST.path]
        quarantine(two, problems)
        assert connect(two.root).execute("select count(*) from masks").fetchone() == (3,)
        tally(bad_tried=1, refused=1)
    assert len(lengths) >= 20


def flips(path: Path) -> Iterator[None]:
    """500 times, one bit of a file is another, half of them in the first and last 4 kB."""
    whole, rng = path.read_bytes(), np.random.default_rng(3)
    for number in range(500):
        end = rng.integers(min(4096, len(whole)))
        at = rng.integers(len(whole)) if number % 2 else end if number % 4 else len(whole) - 1 - end
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << rng.integers(8)]) + whole[at + 1 :])
        yield


@pytest.mark.row("B2")
def test_every_flipped_bit_is_found_and_readers_alone_miss_many(lake, tally):
    """A reader that asks for no seal and no checksum gives other rows, and no error."""
    partition, rows = models(32, 300)
    lake.publish(partition, rows, Facts("margins", "half", "fit", 0, fingerprint("half"), {"name": "half"}))
    path, missed = lake.root / partition.path, 0
    expected = pq.read_table(path, partitioning=None)
    for _ in flips(path):
        assert [p.path for p in verify(lake)] == [partition.path]
        try:
            missed += not pq.read_table(path, partitioning=None).equals(expected)
        except (pa.ArrowException, OSError, ValueError):
            continue
    tally(bad_tried=500, refused=500)
    assert missed > 100  # the control


class _Canary:
    def __reduce__(self):
        return os.mkdir, (f"{os.environ['CANARY']}",)


@pytest.fixture
def canary(tmp_path, monkeypatch):
    """Bytes of a pickle that makes a folder when it is loaded, and that folder."""
    folder = tmp_path / "canary"
    monkeypatch.setenv("CANARY", str(folder))
    return pickle.dumps(_Canary()), folder


@pytest.mark.row("B9")
@pytest.mark.case(57)
def test_no_pickle_is_run_wherever_it_lies(tmp_path, canary, tally):
    data, folder = canary
    lake = Lake(tmp_path / "lake")
    build(lake, small())
    before = stored(lake)
    hidden = [path for path in (lake.root / ".lake").rglob("*") if path.is_file()]
    assert any(path.suffix == ".npz" for path in hidden)
    for path in hidden:
        path.write_bytes(data)
    bad = lake.root / "weights/study=small/lasso-00048.parquet"
    bad.write_bytes(data)
    problems = audit(lake)
    assert [p.path for p in problems] == [str(bad.relative_to(lake.root))]
    quarantine(lake, problems)
    build(lake, small())
    assert stored(lake) == before
    assert not folder.exists()
    tally(bad_tried=len(hidden) + 1, refused=len(hidden) + 1)
    pickle.loads(data)  # the control
    assert folder.exists()


@pytest.mark.row("B9")
@pytest.mark.case(58)
def test_an_arrow_extension_with_a_pickle_is_not_run(two, canary, tally):
    data, folder = canary
    metadata = {b"ARROW:extension:name": b"arrow.py_extension_type", b"ARROW:extension:metadata": data}
    fields = [f.with_metadata(metadata) for f in TABLES["masks"].schema]
    path = two.root / FIRST.path
    path.unlink()
    facts = masks(0)[2].to_json()
    pq.write_table(masks(0)[1].cast(pa.schema(fields)).replace_schema_metadata({"lake": facts, "lake.seal": "0" * 64}), path)
    assert audit(two)
    assert connect(two.root).execute("select count(*) from masks").fetchone() == (6,)
    assert not folder.exists()
    tally(bad_tried=1, refused=1)


@pytest.mark.parametrize("name", [".staging", ".quarantine"])
@pytest.mark.row("B8")
def test_a_hidden_folder_that_is_a_link_leads_nowhere(two, tmp_path, name, tally):
    outside = tmp_path / "outside"
    outside.mkdir()
    for file in ("mine.lock", "mine.txt", "mine"):
        (outside / file).write_text("precious")
    for path in (two.root / name).glob("*"):
        path.unlink()
    if (two.root / name).exists():
        (two.root / name).rmdir()
    (two.root / name).symlink_to(outside)
    with frozen(outside):
        for work in {
            ".staging": [two.files.sweep, lambda: two.publish(*masks(2))],
            ".quarantine": [lambda: two.quarantine(FIRST)],
        }[name]:
            with pytest.raises(CorruptError, match="is a link"):
                work()
            tally(bad_tried=1, refused=1)
    assert verify(two) == []


def test_a_pipe_in_staging_does_not_hang_the_sweep(two):
    os.mkfifo(two.root / ".staging" / "x.lock")
    two.files.sweep()
    assert two.publish(*masks(2)).new


STRINGS = [
    *("'", "''", "';", "'; drop view masks; --", '"', '";', "`", "--", "/*", "*/", "?", "$1", "$study", "{}", "{0}", "%s", "%"),
    *("\\", "\\'", "\n", "\r\n", "\t", "\0", "\x1b[2J", "null", "true", "0", "-1", "1e400", "nan", "read_text('/etc/passwd')"),
    *(
        "' union select 1 --",
        "x' or '1'='1",
        "$$",
        "$$; select 1; $$",
        "\u202e",
        "\ufeff",
        "\U0001f600",
        "e\u0301",
        "__import__",
    ),
]


def _ask(lake: Lake, texts: list[str], tally) -> int:
    """How many texts were asked with; nothing but the answer came of any."""
    asked = 0
    connection = connect(lake.root, locked=True)
    expected = connection.execute("select count(*), (select count(*) from fits) from masks").fetchall()
    with frozen(lake.root):
        for query in shipped().values():
            for param in query.params:
                for text in texts:
                    given = {p.name: "0" for p in query.params if p.default is None} | {param.name: text}
                    try:
                        run(connection, query, given)
                    except LakeError:
                        tally(refused=1)
                    tally(bad_tried=1)
                    asked += 1
    assert connection.execute("select count(*), (select count(*) from fits) from masks").fetchall() == expected
    return asked


@pytest.mark.row("B10")
def test_sql_in_a_parameter_is_a_value(sample, tally):
    assert _ask(sample, STRINGS[3:4], tally) > 100


@pytest.mark.slow
@pytest.mark.row("B10")
def test_every_string_in_every_parameter_is_a_value(sample, tally):
    rng = np.random.default_rng(0)
    made = ["".join(rng.choice(STRINGS, 4)) for _ in range(160)]
    assert _ask(sample, [*STRINGS, *made, "'" * 1_000_000], tally) > 5_000
