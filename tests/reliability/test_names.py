"""B1-B8, B14 and cases of names, types and places: refused by name before anything is opened, or works."""

import hashlib
import random

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from world import audit, content, frozen, masks, small, stored

from lake.catalog import connect
from lake.errors import LakeError, UsageError
from lake.partition import Partition, parse_path
from lake.store import Lake
from lake.verify import verify

BAD_NAMES = [
    *("..", ".", "", "/etc/passwd", "a/../../b", "a\\..\\b", "%2e%2e", "a%2Fb", "nul\0l", "CON", "con.", "a.", "a ", " a", "A"),
    *(
        "caf\u00e9",
        "cafe\u0301",
        "\uff41",
        "__HIVE_DEFAULT_PARTITION__",
        "a=b",
        "=",
        "x" * 300,
        "a\nb",
        "-a",
        "a-",
        "a--b",
        "7",
    ),
    *("007", "0x10", "1e5", "lr=0.1/wd%2F5 \u00e9", "test", "my-train", "val2", "a:b", "~", "$HOME", "`id`", "a;b", "a'b"),
]


@pytest.mark.row("B7")
@pytest.mark.case(11, 13, 14)
@pytest.mark.parametrize("name", BAD_NAMES, ids=lambda name: ascii(name)[:30])
def test_a_name_that_leads_elsewhere_is_refused_everywhere(tmp_path, tally, name):
    tried = [
        lambda: Partition("masks", name, "fit", 0),
        lambda: Partition("masks", "half", name, 0),
        lambda: Partition(name, "half", "fit", 0),
        lambda: small(name=name),
        lambda: Lake(tmp_path / "lake").present("masks", name),
    ]
    tried = tried[:1] + tried[2:] if name == "con." else tried
    with frozen(tmp_path):
        for work in tried:
            with pytest.raises(UsageError):
                work()
            tally(bad_tried=1, refused=1)
    assert parse_path(f"masks/study={name}/fit-00000.parquet") is None


@pytest.mark.row("B7", control=True)
def test_a_plain_name_is_taken(lake):
    assert Partition("masks", "con-7", "fit", 0).path == "masks/study=con-7/fit-00000.parquet"
    assert lake.present("masks", "con-7") == {}


@pytest.mark.case(3)
def test_a_publish_changes_the_named_partition_and_no_other(lake):
    for index in range(7):
        lake.publish(*masks(index))
    with frozen(lake.root / "masks") as before:
        lake.publish(*masks(3))
    assert len(before) >= 7
    lake.publish(*masks(7))
    assert stored(lake) == {masks(i)[0].path: content(i) for i in range(8)}


@pytest.mark.row("B3", control=True)
@pytest.mark.case(15)
def test_a_file_with_another_column_is_named_where_readers_drop_it_or_fail(lake, tally):
    """The control: DuckDB leaves the column out without a word."""
    for index in (0, 1):
        lake.publish(*masks(index))
    path = lake.root / masks(1)[0].path
    footer = pq.read_metadata(path).metadata
    more = pq.ParquetFile(path).read().append_column("more", pa.array([1, 2, 3]))
    path.unlink()
    pq.write_table(more.replace_schema_metadata({k: v for k, v in footer.items() if k.startswith(b"lake")}), path)
    assert len(duckdb.sql(f"from read_parquet('{lake.root}/masks/*/*.parquet')").columns) == 7  # one is the hive key
    assert [p.path for p in audit(lake)] == [masks(1)[0].path]
    with pytest.raises(LakeError, match=rf"{masks(1)[0].path}: .*more"):
        lake.read(masks(1)[0])
    tally(bad_tried=1, refused=1)


@pytest.mark.case(16)
@pytest.mark.parametrize("read", ["duckdb", "polars", "pyarrow"])
def test_a_first_file_of_nulls_has_the_declared_types(lake, rows_of, facts_of, read):
    import polars as pl

    first, second = Partition("margins", "half", "fit", 0), Partition("margins", "half", "fit", 1)
    rows = rows_of(first)
    none = rows.take([1, 1, 1]).set_column(2, rows.schema.field("model_id"), rows["model_id"])
    lake.publish(first, none, facts_of(first))
    lake.publish(second, rows_of(second), facts_of(second))
    folder = lake.root / "margins"
    count = {
        "duckdb": lambda: duckdb.sql(f"select count(test_margin) from read_parquet('{folder}/*/*.parquet')").fetchall()[0][0],
        "polars": lambda: pl.read_parquet(f"{folder}/*/*.parquet")["test_margin"].count(),
        "pyarrow": lambda: 6 - pq.read_table(folder, partitioning=None)["test_margin"].null_count,
    }[read]()
    assert count == 2


@pytest.mark.row("B1", control=True)
def test_one_cut_file_fails_every_query_until_it_is_set_aside(lake):
    for index in (0, 1):
        lake.publish(*masks(index))
    path = lake.root / masks(0)[0].path
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(LakeError, match="make verify"):
        connect(lake.root).execute("select count(*) from masks").fetchone()
    lake.quarantine(masks(0)[0])
    assert connect(lake.root).execute("select count(*) from masks").fetchone() == (3,)


@pytest.mark.slow
@pytest.mark.row("B1", "B2")
def test_every_length_and_very_many_flips_are_found(sample_copy, tally):
    rng = np.random.default_rng(5)
    for path in sorted(sample_copy.files.list()):
        file = sample_copy.root / path
        whole = file.read_bytes()
        flips = [
            rng.integers(len(whole)) if n % 2 else len(whole) - 1 - rng.integers(min(4_096, len(whole))) for n in range(500)
        ]
        damaged = [whole[:length] for length in range(0, len(whole), 1 if "masks" in path else 13)]
        damaged += [whole[:at] + bytes([whole[at] ^ 1 << rng.integers(8)]) + whole[at + 1 :] for at in flips]
        alone = Lake(sample_copy.root.with_name("alone"))
        for data in damaged:
            (alone.root / path).parent.mkdir(parents=True, exist_ok=True)
            (alone.root / path).write_bytes(data)
            assert [p.path for p in verify(alone)] == [path]
        (alone.root / path).unlink()
        tally(bad_tried=len(damaged), refused=len(damaged), bytes_hashed=len(damaged) * len(whole))


def texts(true: bytes, n_random: int) -> list[bytes]:
    """What a cache may hold after an accident or an attack."""
    rng = random.Random(0)
    odd = [
        b"",
        b"{}",
        b"null",
        b"[1]",
        b"\xff\xfe" * 50,
        b"{" * 5_000,
        b"[" * 200_000,
        b'{"a":' * 5_000,
        true[: len(true) // 2],
        true + true,
    ]
    odd += [true.replace(b"footers", b"feeters"), true.replace(b'"rows"', b'"rowz"'), b" " * 1_000_000]
    for _ in range(n_random):
        at, data = rng.randrange(len(true)), bytearray(true)
        data[at : at + rng.randrange(1, 20)] = rng.randbytes(rng.randrange(0, 20))
        odd.append(bytes(data))
    return odd


def resealed(text: bytes) -> bytes:
    """The text with a checksum of its own, as somebody would write it who knows how."""
    body = text.partition(b"\n")[2] or text
    return hashlib.sha256(body).hexdigest().encode() + b"\n" + body


def _every_cache(lake: Lake, n_random: int, tally) -> int:
    """How many texts were tried."""
    for index in (0, 1):
        lake.publish(*masks(index))
    expected = {p.path: f.content for p, f in lake.facts(lake.present("masks")).items()}
    file = lake.root / ".lake" / "footers"
    for text in texts(file.read_bytes(), n_random):
        for stored_text in (text, resealed(text)):
            file.write_bytes(stored_text)
            found = {p.path: f.content for p, f in Lake(lake.root).facts(lake.present("masks")).items()}
            if stored_text == text:
                assert found == expected
            assert verify(lake) == []
            tally(bad_tried=1, refused=found == expected)
    return 2 * len(texts(b"footers" * 9, n_random))


@pytest.mark.row("B5")
def test_a_cache_of_anything_is_made_anew(lake, tally):
    assert _every_cache(lake, 60, tally) > 120


@pytest.mark.slow
@pytest.mark.row("B5")
def test_a_cache_of_two_thousand_mutations_is_made_anew(lake, tally):
    assert _every_cache(lake, 2_000, tally) > 4_000


@pytest.mark.row("B5")
@pytest.mark.parametrize("size", [2**40, pytest.param(100_000_000, marks=pytest.mark.slow)])
def test_a_cache_of_any_size_is_made_anew(lake, tally, size):
    """Of a terabyte, which takes no room on the disk as nothing was written to it, and of 100 MB."""
    lake.publish(*masks(0))
    expected = lake.facts(lake.present("masks"))
    file = lake.root / ".lake" / "footers"
    for text in (b"", b"[" * 1_000, resealed(b'{"a": [')):
        file.write_bytes(text)
        with file.open("r+b") as grown:
            grown.truncate(size)
        assert Lake(lake.root).facts(lake.present("masks")) == expected
        assert file.stat().st_size < 10_000
        tally(bad_tried=1, refused=1)


@pytest.mark.row("B5", control=True)
def test_a_lie_with_a_right_checksum_is_believed_for_speed_and_by_nobody_who_checks(lake):
    lake.publish(*masks(0))
    lake.facts(lake.present("masks"))
    file = lake.root / ".lake" / "footers"
    file.write_bytes(resealed(file.read_bytes().replace(content(0).encode(), b"f" * 64)))
    [facts] = Lake(lake.root).facts(lake.present("masks")).values()
    assert facts.content == "f" * 64
    assert audit(lake) == []
    assert not lake.publish(*masks(0)).new


@pytest.mark.row("B8", control=True)
def test_readers_follow_a_link_and_count_twice(lake):
    lake.publish(*masks(0))
    (lake.root / "masks" / "study=again").symlink_to(lake.root / "masks" / "study=half")
    assert len(pq.read_table(lake.root / "masks", partitioning=None)) == 6
    with pytest.raises(LakeError, match="is a link"):
        connect(lake.root)


@pytest.mark.row("B6")
def test_strangers_are_named_and_queries_are_as_before(lake, tally):
    lake.publish(*masks(0))
    folder = (lake.root / masks(0)[0].path).parent
    planted = {".DS_Store": b"\0", "fit-00001.parquet.tmp": b"PAR1", "page.html": b"<html>", "empty.parquet": b""}
    planted |= {
        "pointer.parquet": b"version https://git-lfs.github.com/spec/v1\n",
        "fit-1.parquet": b"x",
        "Fit-00000.parquet": b"x",
    }
    for name, data in planted.items():
        (folder / name).write_bytes(data)
    (folder / "part.parquet").mkdir()
    (folder / "part.parquet" / "data").write_bytes(b"x")
    named = {p.path.rpartition("study=half/")[2] for p in verify(lake)}
    assert named == {*planted, "part.parquet/data"}
    assert connect(lake.root).execute("select count(*) from masks").fetchone() == (3,)
    tally(bad_tried=len(named), refused=len(named))


@pytest.mark.row("B14")
@pytest.mark.parametrize(
    "changes",
    [
        *({"alpha": value} for value in (0.0, 1.0, -1.0, float("nan"), float("inf"), "0.5")),
        *({"models": value} for value in (0, -5, 10**12, 1.5, True)),
        *({"seed": value} for value in (-1, 2**64, 1.0)),
        {"dataset": {"source": "digits", "n_train": 1}},
        {"dataset": {"source": "digits", "n_test": 0}},
        {"estimators": ["lasso", "ols"]},
        {"partition_models": 0},
    ],
    ids=str,
)
def test_a_study_out_of_range_is_refused(tally, changes):
    with pytest.raises(UsageError, match=next(iter(changes))):
        small(**changes)
    tally(bad_tried=1, refused=1)


@pytest.mark.row("B14", control=True)
@pytest.mark.parametrize("changes", [{"alpha": 0.01}, {"alpha": 0.99}, {"models": 1}, {"seed": 2**63 - 1}], ids=str)
def test_a_study_at_the_edge_is_taken(changes):
    assert small(**changes).fingerprint("0" * 64)


@pytest.mark.row("B14")
@pytest.mark.parametrize("shard", ["0/2", "3/2", "1/0", "-1/2", "a/b", "1e1/2"])
def test_a_command_line_out_of_range_is_refused(tmp_path, tally, shard):
    from builders.__main__ import shard_of

    with pytest.raises(UsageError, match="shard"):
        shard_of(shard)
    tally(bad_tried=1, refused=1)


@pytest.mark.case(69)
def test_equal_images_across_the_splits_are_found_by_their_hash(lake, rows_of, facts_of):
    """Exact copies; what is only near is a matter of weights."""
    partition = Partition("examples", "pixels", "images", 0)
    rows = rows_of(partition).to_pylist()
    rows[1]["image_sha256"] = rows[0]["image_sha256"]
    lake.publish(partition, pa.Table.from_pylist(rows, rows_of(partition).schema), facts_of(partition))
    pairs = """select test.example_id, train.example_id from examples as test join examples as train
        using (dataset_id, image_sha256) where test.split = 'test' and train.split = 'train'"""
    assert connect(lake.root).execute(pairs).fetchall() == [(0, 0)]
