"""Names and schemas: a path names one partition, hostile names name none, and every column says what it means."""

import fnmatch
import string

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lake.errors import UsageError
from lake.partition import NAME, SPLIT_WORDS, Partition, check_name, parse_path
from lake.tables import TABLES

WORDS = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=8)
NAMES = st.lists(WORDS, min_size=1, max_size=4).map("-".join)
HUB_SPLITS = ["train", "training", "validation", "valid", "dev", "val", "test", "testing", "eval", "evaluation"]
HOSTILE = (
    *("", ".", "..", "../up", "a/b", "/abs", "a\\b", "%2e%2e", "a%2fb", "nul\0byte", "with space", " a", "a ", "a.", "a\n"),
    *("Upper", "cifar10-Half", "CON:", "a--b", "-a", "a-", "9lives", "a_b", "a=b", "a*", "[a]", "a'b", 'a"b', "a;b", "$a"),
    *(
        "__HIVE_DEFAULT_PARTITION__",
        "a" * 300,
        "a" * 65,
        "caf\u00e9",
        "cafe\u0301",
        "\u0430bc",
        "\uff41bc",
        "a\u0663",
        "\ud800",
    ),
    *("train", "test", "eval", "my-train", "dev-set", "a-val-b", "test2", "cifar10test", "a2eval3"),
)


@given(st.sampled_from(list(TABLES)), NAMES, NAMES, st.integers(0, 10**9 - 1))
def test_path_and_parse_path_are_inverse(table, value, role, index):
    try:
        partition = Partition(table, value, role, index)
    except UsageError:
        assume(False)
    assert parse_path(partition.path) == partition
    assert partition.path.isascii()
    assert len(partition.path) < 255


@given(st.text(max_size=40) | st.from_regex(r"\A(masks|examples)/(study|dataset)=[a-z-]{1,5}/[a-z]{1,4}-\d{4,11}\.parquet\Z"))
def test_what_parses_is_written_the_same_again(path):
    partition = parse_path(path)
    assert partition is None or partition.path == path


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_hostile_names_are_refused(name):
    for arguments in (("masks", name, "fit", 0), ("masks", "half", name, 0), ("examples", name, "images", 0)):
        with pytest.raises(UsageError, match=r"is not allowed|take for a split"):
            Partition(*arguments)
    assert parse_path(f"masks/study={name}/fit-00000.parquet") is None
    assert parse_path(f"masks/study=half/{name}-00000.parquet") is None


@pytest.mark.parametrize(
    "path",
    [
        "/masks/study=half/fit-00000.parquet",
        "../masks/study=half/fit-00000.parquet",
        "masks/study=half/../fit-00000.parquet",
        "masks/study=half/fit-0000.parquet",
        "masks/study=half/fit-000000.parquet",
        "masks/study=half/fit-1000000000.parquet",
        "masks/study=half/fit-0000\u0660.parquet",
        "masks/study=half/fit-00000.parquet.tmp",
        "masks/study=half/fit-00000.PARQUET",
        "masks/study=half/.fit-00000.parquet",
        "masks/dataset=half/fit-00000.parquet",
        "examples/study=half/fit-00000.parquet",
        "mystery/study=half/fit-00000.parquet",
        "masks/study=half/deeper/fit-00000.parquet",
        "masks\\study=half\\fit-00000.parquet",
    ],
)
def test_other_paths_are_not_partitions(path):
    assert parse_path(path) is None


@pytest.mark.parametrize(("table", "index"), [("nope", 0), ("", 0), ("masks", -1), ("masks", 10**9)])
def test_other_tables_and_indexes_are_refused(table, index):
    with pytest.raises(UsageError):
        Partition(table, "half", "fit", index)


@given(NAMES, NAMES)
def test_no_allowed_name_is_read_as_a_split_by_the_hub(value, role):
    """The patterns are those of `datasets.data_files`, in which digits separate words."""
    assume(_allowed(value) and _allowed(role))
    path = Partition("masks", value, role, 0).path
    folders, file = path.rsplit("/", 1)
    for word in HUB_SPLITS:
        for part in (*folders.split("/"), file):
            assert not fnmatch.fnmatchcase(part, f"{word}[-._ 0-9]*")
            assert not fnmatch.fnmatchcase(part, f"*[-._ 0-9]{word}[-._ 0-9]*")
            assert not fnmatch.fnmatchcase(part, f"*[-._ 0-9]{word}")


def _allowed(name: str) -> bool:
    try:
        return bool(check_name(name, "name"))
    except UsageError:
        return False


def test_words_that_only_contain_a_split_word_are_fine():
    for name in ("latest", "trainer", "restless-validations", "a" * 64, "digits", "cifar10-half", "devout"):
        assert check_name(name, "study") == name


def test_schemas_are_what_readers_support():
    for spec in TABLES.values():
        assert spec.hive_key not in spec.schema.names
        assert spec.schema.names[0] == f"{spec.hive_key}_id"
        assert set(spec.sort) <= set(spec.schema.names)
        assert not any(spec.schema.field(name).nullable for name in spec.sort)
        assert NAME.fullmatch(spec.name)
        assert not SPLIT_WORDS & {spec.name, spec.hive_key}
        for column in spec.columns:
            assert column.meaning
            assert not (column.encoding == "BYTE_STREAM_SPLIT" and "halffloat" in str(column.type))
