"""One parquet file: written the same way by everybody, carrying its facts and a seal over its own bytes.

The footer holds `lake` (the facts, JSON) and `lake.seal`: the SHA-256 of the file's bytes with the seal's 64 digits read as
zeros. A sealed file proves itself without any manifest beside it, at the speed of SHA-256, wherever it was copied. Page
checksums and a page index are written too: pyarrow can check the first, the Hub's viewer pages by the second.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from lake.content import content_hash
from lake.errors import CorruptError, LakeError
from lake.partition import Partition
from lake.schema import Table
from lake.tables import FORMAT

SEAL_KEY = b"lake.seal"
_FACTS_FIELD = b"\x18\x04lake\x18"
"""What stands before the facts in a footer: a key of 4 bytes, and that a value follows (Thrift's compact protocol)."""
_UNSEALED = b"0" * 64
_CHUNK = 1 << 18
_BATCH, _BATCH_OF_LISTS = 65_536, 256
"""Rows that are unpacked at a time: of numbers and words, and of tables that hold lists or bytes."""
ROOM, RATIO = 200_000_000, 200
"""A file may open to ROOM bytes and RATIO times its own size: no builder's rows come near, and a bomb's do not get in."""


@dataclass(frozen=True)
class Facts:
    """What a partition says about itself. Only `fingerprint`, `rows` and `content` are compared; the rest is provenance."""

    table: str
    value: str
    role: str
    index: int
    fingerprint: str
    identity: dict[str, Any]
    """The fields behind the fingerprint, so that a mismatch can be named field by field."""
    rows: int = 0
    content: str = ""
    """Content hash of the rows (lake.content)."""
    n_failed: int = 0
    """Rows whose status is not `ok`."""
    seconds: float = 0.0
    """Wall seconds of one worker that computed the partition."""
    cpu_seconds: float = 0.0
    device: str = ""
    code: str = ""
    """Version of this software."""
    libraries: dict[str, str] = field(default_factory=dict)
    format: int = FORMAT

    def __post_init__(self) -> None:
        Partition(self.table, self.value, self.role, self.index)  # facts of a partition that cannot be are refused

    @property
    def partition(self) -> Partition:
        """The partition these facts claim to describe."""
        return Partition(self.table, self.value, self.role, self.index)

    def to_json(self) -> str:
        """Compact JSON with sorted keys."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str | bytes) -> "Facts":
        """Facts from a footer; LakeError when a newer format wrote them, ValueError when they are no facts."""
        values = json.loads(text, parse_constant=_no_number)
        if not isinstance(values, dict):
            raise ValueError(f"facts are a JSON object, this is a {type(values).__name__}")
        if values.get("format", 0) > FORMAT:
            raise LakeError(
                f"written in format {values['format']} by version {values.get('code')}, "
                f"this one reads up to format {FORMAT}: upgrade first"
            )
        known = {k: v for k, v in values.items() if k in cls.__dataclass_fields__}
        for name, value in known.items():
            if type(value) not in _KINDS[name]:
                raise ValueError(f"{name} is a {type(value).__name__}")
        return cls(**known)


_KINDS = {
    **dict.fromkeys(("table", "value", "role", "fingerprint", "content", "device", "code"), (str,)),
    **dict.fromkeys(("index", "rows", "n_failed", "format"), (int,)),
    **dict.fromkeys(("seconds", "cpu_seconds"), (int, float)),
    **dict.fromkeys(("identity", "libraries"), (dict,)),
}
"""What a footer may hold in each field: a stranger's may hold anything, under a seal that is right."""


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number")


def write(rows: pa.Table, spec: Table, facts: Facts, path: Path) -> Facts:
    """Write `rows` to the new file `path`, sealed; return the facts with row count and content hash filled in.

    An empty table gets a file without row groups: readers of `datasets` fail on a row group of zero rows.
    """
    facts = replace(facts, rows=rows.num_rows, content=content_hash(rows))
    dictionary = [c.name for c in spec.columns if pa.types.is_string(c.type) and c.encoding is None]
    encodings = {c.name: c.encoding for c in spec.columns if c.encoding}
    with (
        path.open("xb") as sink,
        pq.ParquetWriter(
            sink,
            spec.schema,
            compression="zstd",
            compression_level=3,
            use_dictionary=dictionary,  # pyright: ignore[reportArgumentType]
            column_encoding=encodings,
            write_page_index=True,
            write_page_checksum=True,
        ) as writer,
    ):
        writer.add_key_value_metadata({"lake": facts.to_json(), SEAL_KEY.decode(): _UNSEALED.decode()})
        if rows.num_rows:
            writer.write_table(rows, row_group_size=spec.row_group)
    _seal(path)
    return facts


def read_facts(source: Path | BinaryIO) -> Facts:
    """Facts in a file's footer; CorruptError when it is no sealed parquet file of a lake."""
    with _no_facts():
        return Facts.from_json((pq.read_metadata(source).metadata or {})[b"lake"])


def read_sealed(source: BinaryIO) -> Facts | None:
    """Facts of a file, in the one pass over its bytes that proves them; None when they are not the bytes that were sealed.

    Raises as `read_facts` does. pyarrow takes as long for a footer as SHA-256 for 150 kB, so the facts are taken from
    their place before the seal, where our writer puts them; a footer in another order is pyarrow's.
    """
    if (footer := _proven(source)) is None:
        return None
    if (text := _text_of_facts(footer)) is None:
        source.seek(0)
        return read_facts(source)
    with _no_facts():
        return Facts.from_json(text)


@contextmanager
def _no_facts() -> Iterator[None]:
    """Call what goes wrong inside a footer that holds no facts."""
    try:
        yield
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise CorruptError(f"not a partition of a lake ({_first_line(error)})") from error


def read_rows(source: Path | BinaryIO, columns: list[str] | None = None) -> pa.Table:
    """Rows of a file [n_rows, n_columns] with page checksums verified; CorruptError when they cannot be read or are a bomb.

    What the footer says of sizes may be a lie, so bytes are counted while they are unpacked, and words before they are.
    """
    try:
        file = pq.ParquetFile(source, page_checksum_verification=True)
        most = ROOM + RATIO * _size(source)
        schema = file.schema_arrow.remove_metadata()
        schema = schema if columns is None else pa.schema([schema.field(name) for name in columns])
        if file.metadata.num_rows * max(1, len(schema)) > most:
            raise CorruptError(f"claims {file.metadata.num_rows:,} rows, too many for its size")
        words = [f.name for f in schema if pa.types.is_string(f.type)]
        file = pq.ParquetFile(source, page_checksum_verification=True, read_dictionary=words)
        plain = all(pa.types.is_string(kind) or pa.types.is_primitive(kind) for kind in schema.types)
        batches, opened = [], 0
        for batch in file.iter_batches(_BATCH if plain else _BATCH_OF_LISTS, columns=schema.names):
            opened += batch.nbytes + sum(_longest(batch[word].dictionary) * len(batch) for word in words)
            if opened > most:
                raise CorruptError(f"opens to more than {most / 1e6:,.0f} MB, too much for its size")
            batches.append(batch.select(schema.names).cast(schema))
        return pa.Table.from_batches(batches, schema)
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise CorruptError(f"cannot be read ({_first_line(error)})") from error


def _longest(words: pa.StringArray) -> int:
    """Bytes of the longest of some words."""
    import pyarrow.compute as pc  # 40 ms that a look at a lake can spare

    return pc.max(pc.binary_length(words)).as_py() or 0  # pyright: ignore[reportAttributeAccessIssue]


def _size(source: Path | BinaryIO) -> int:
    """Bytes of the file, its position as it was."""
    if isinstance(source, Path):
        return source.stat().st_size
    position = source.tell()
    size = source.seek(0, 2)
    source.seek(position)
    return size


def seal_holds(source: BinaryIO) -> bool:
    """Whether the bytes of `source` are the bytes that were sealed."""
    return _proven(source) is not None


def _proven(source: BinaryIO) -> bytes | None:
    """The footer of a file whose bytes are those that were sealed."""
    start, footer = _footer(source)
    at = _place_of_seal(footer)
    holds = at is not None and _digest(source, start, footer, at) == footer[at : at + len(_UNSEALED)]
    return footer if holds else None


def _seal(path: Path) -> None:
    with path.open("r+b") as file:
        start, footer = _footer(file)
        at = _place_of_seal(footer)
        if at is None:
            raise LakeError(f"{path}: the parquet writer left no room for the seal; report this with the pyarrow version")
        digest = _digest(file, start, footer, at)
        file.seek(start + at)
        file.write(digest)


def _footer(file: BinaryIO) -> tuple[int, bytes]:
    """Where the footer starts, and all bytes from there on; none when the file does not end as parquet does."""
    size = file.seek(0, 2)
    file.seek(max(0, size - 8))
    tail = file.read(8)
    start = size - 8 - int.from_bytes(tail[:4], "little") if tail[4:] == b"PAR1" else size
    if not 0 <= start < size:
        return size, b""
    file.seek(start)
    return start, file.read()


def _place_of_seal(footer: bytes) -> int | None:
    """Where the seal's 64 digits stand: after the key and a header of two bytes."""
    at = footer.rfind(SEAL_KEY) + len(SEAL_KEY) + 2
    return at if footer.count(SEAL_KEY) == 1 and footer[at - 1] == len(_UNSEALED) else None


def _text_of_facts(footer: bytes) -> bytes | None:
    """The facts' JSON, when it ends three bytes before the seal's key: the end of its own entry, and the key's header."""
    end = footer.rfind(SEAL_KEY) - 3
    start = footer.rfind(_FACTS_FIELD, 0, end) + len(_FACTS_FIELD)
    size = width = 0
    for byte in footer[start : start + 5]:  # a length in groups of 7 bits, the lowest first
        size |= (byte & 127) << 7 * width
        width += 1
        if byte < 128:
            break
    return footer[start + width : end] if start + width + size == end else None


def _digest(file: BinaryIO, start: int, footer: bytes, seal: int) -> bytes:
    """SHA-256 (hex) of the bytes before `start` and of the footer, the digits at `seal` read as zeros."""
    digest, buffer, left = hashlib.sha256(), memoryview(bytearray(min(_CHUNK, start))), start
    file.seek(0)
    while left and (n := file.readinto(buffer[:left])):  # pyright: ignore[reportAttributeAccessIssue]
        digest.update(buffer[:n])
        left -= n
    digest.update(footer[:seal] + _UNSEALED + footer[seal + len(_UNSEALED) :])
    return digest.hexdigest().encode()


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:200]
