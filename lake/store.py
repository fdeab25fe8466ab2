"""The lake: what is present, what a partition says of itself, and the one way in.

A partition is done when a valid file stands under its final name, and nothing else says so: no status database, no lock. It
is acknowledged when `publish` returns; from then on it is never overwritten, appended to or deleted by us. The footer cache
in `.lake/` only saves reading; it carries its own checksum, is keyed by size and modification time, and may be deleted at
any time.
"""

import hashlib
import json
import math
import os
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from lake import parquet
from lake.content import content_hash
from lake.errors import ConflictError, CorruptError, LakeError, UsageError
from lake.files import LocalFiles, Stat
from lake.parquet import Facts
from lake.partition import Partition, check_name, parse_path
from lake.remote_files import RemoteFiles
from lake.schema import Column, Table
from lake.tables import TABLES

LARGEST_CACHE = 2**29
"""Bytes of a footer cache that is read: that of 100,000 partitions takes 60 MB."""


@dataclass(frozen=True)
class Published:
    """Outcome of a publish: the facts in the file, and whether this call put it there."""

    facts: Facts
    new: bool


class Lake:
    """Partitions in a folder, or at an address such as s3://bucket/lake.

    Reading never changes it; `publish` adds one whole partition or nothing.
    """

    def __init__(self, root: str | Path) -> None:
        self.files = RemoteFiles(str(root)) if "://" in str(root) else LocalFiles(Path(root))
        self.root = self.files.root

    def present(self, table: str, value: str | None = None) -> dict[Partition, Stat]:
        """Partitions of a table (of one study or dataset) that stand under their final names, with size and time."""
        if table not in TABLES:
            raise UsageError(f"no table {table!r}; there are {', '.join(TABLES)}")
        key = TABLES[table].hive_key
        prefix = table if value is None else f"{table}/{key}={check_name(value, key)}"
        listed = ((parse_path(path), stat) for path, stat in self.files.list(prefix).items())
        return {partition: stat for partition, stat in listed if partition is not None}

    def facts(self, present: dict[Partition, Stat]) -> dict[Partition, Facts]:
        """Facts of the given partitions, from the footer cache or the footers; CorruptError names the first bad file."""
        cached, found = self._cache(), {}
        for partition, stat in present.items():
            known = cached.get(partition.path)
            found[partition] = known[1] if known and known[0] == stat else self._read_facts(partition)
        fresh = {p.path: (present[p], facts) for p, facts in found.items()}
        if any(cached.get(path) != entry for path, entry in fresh.items()):
            self._save_cache({**cached, **fresh})
        return found

    def read(self, partition: Partition, columns: list[str] | None = None) -> pa.Table:
        """Rows of one partition [n_rows, n_columns], columns in the order asked for; CorruptError names a damaged file."""
        schema = TABLES[partition.table].schema
        wanted = schema if columns is None else pa.schema([schema.field(name) for name in columns])
        with _naming(partition), self.files.open(partition.path) as source:
            rows = parquet.read_rows(source, columns)
            if rows.schema != wanted:
                raise CorruptError(f"its columns are {rows.schema.names}, not those of the table")
            return rows

    def scan(self, partitions: Iterable[Partition], columns: list[str] | None = None) -> pa.Table:
        """Rows of several partitions of one table, in the given order."""
        return pa.concat_tables([self.read(p, columns) for p in partitions])

    def publish(self, partition: Partition, rows: pa.Table, facts: Facts) -> Published:
        """Validate, write, read back, and make visible: the only way into a lake.

        Raises LakeError for rows that break the table's contract, and ConflictError when the name holds other rows; equal
        rows under the name already are a success, so that two workers who race are both right.
        """
        validate(partition, rows)
        if facts.partition != partition:
            raise UsageError(f"{partition.path}: the facts are those of {facts.partition.path}")
        with self.files.staging(rows.nbytes) as staged:
            facts = parquet.write(rows, TABLES[partition.table], facts, staged)
            if content_hash(parquet.read_rows(staged)) != facts.content:
                raise LakeError(
                    f"{partition.path}: the staged file does not read back as written; the disk or memory is failing"
                )
            if self.files.claim(staged, partition.path):
                return Published(facts, new=True)
        return Published(self._agree(partition, facts), new=False)

    def quarantine(self, partition: Partition) -> str:
        """Move a damaged partition aside, so that it counts as missing; return where its bytes are kept."""
        return self.files.set_aside(partition.path)

    def _agree(self, partition: Partition, facts: Facts) -> Facts:
        """Facts of the file that has the name; what it says counts only while its bytes are those that were sealed."""
        with _naming(partition), self.files.open(partition.path) as source:
            if not parquet.seal_holds(source):
                raise CorruptError("its bytes are not those that were published")
        theirs = self._read_facts(partition)
        if theirs.content != facts.content:
            raise ConflictError(
                f"{partition.path} is there with other rows: content {theirs.content[:12]} by {theirs.code}, ours "
                f"{facts.content[:12]} by {facts.code}. Both are kept: nothing was written. Look with `make verify DEEP=1`"
            )
        if theirs.fingerprint != facts.fingerprint:
            raise ConflictError(
                f"{partition.path} is there with the same rows but for fingerprint {theirs.fingerprint}, ours is "
                f"{facts.fingerprint}: another study of this name. Nothing was written: rename yours, or use LAKE=..."
            )
        return theirs

    def _read_facts(self, partition: Partition) -> Facts:
        with _naming(partition), self.files.open(partition.path) as source:
            facts = parquet.read_facts(source)
        if facts.partition != partition:
            raise CorruptError(
                f"{partition.path} holds {facts.partition.path}: it was copied or renamed. Run `make verify QUARANTINE=1`"
            )
        return facts

    def _cache(self) -> dict[str, tuple[Stat, Facts]]:
        try:
            if not (kept := self.files.cache / "footers").is_file() or kept.stat().st_size > LARGEST_CACHE:
                return {}  # a pipe would keep us waiting
            digest, _, text = kept.read_text().partition("\n")
            if digest != hashlib.sha256(text.encode()).hexdigest():
                return {}
            stored = json.loads(text)
            identities = stored["identities"]
            return {
                path: (Stat(*stat), Facts(**{**facts, "identity": identities[facts["fingerprint"]]}))
                for path, (stat, facts) in stored["footers"].items()
            }
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, LakeError):
            return {}  # a cache that is absent or damaged costs one reading of the footers, nothing else

    def _save_cache(self, entries: dict[str, tuple[Stat, Facts]]) -> None:
        stored = {
            "identities": {facts.fingerprint: facts.identity for _, facts in entries.values()},
            "footers": {path: [stat, asdict(replace(facts, identity={}))] for path, (stat, facts) in entries.items()},
        }
        text = json.dumps(stored)
        folder = self.files.cache
        fresh = folder / f"footers-{uuid.uuid4().hex}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            fresh.write_text(f"{hashlib.sha256(text.encode()).hexdigest()}\n{text}")
            os.replace(fresh, folder / "footers")
        except OSError:
            with suppress(OSError):  # a read-only lake can still be asked; it is only asked more slowly
                fresh.unlink()


@contextmanager
def _naming(partition: Partition) -> Iterator[None]:
    """Add the path, and the repair of a CorruptError, to what is raised inside."""
    try:
        yield
    except CorruptError as error:
        raise CorruptError(
            f"{partition.path}: {error}. Set it aside with `make verify QUARANTINE=1`, then build again"
        ) from error
    except LakeError as error:
        raise LakeError(f"{partition.path}: {error}") from error
    except FileNotFoundError as error:
        raise LakeError(f"{partition.path} is not in the lake: `make build-missing` makes it") from error
    except OSError as error:
        raise LakeError(f"{partition.path} cannot be read ({error.strerror}): check the disk and permissions") from error


def validate(partition: Partition, rows: pa.Table) -> None:
    """LakeError unless `rows` keep the contract of their table: schema, owner, order, unique keys, values in range."""
    spec = TABLES[partition.table]
    if rows.schema != spec.schema:
        raise LakeError(f"{partition.path}: schema differs from lake/tables.py: {_schema_difference(rows.schema, spec)}")
    for column in spec.columns:
        values = rows[column.name]
        if values.null_count and not column.nullable:
            raise LakeError(f"{partition.path}: column {column.name} has {values.null_count} NULLs and may have none")
        if not _finite(values):
            raise LakeError(f"{partition.path}: column {column.name} holds NaN or infinity: store NULL and a status")
        if wrong := _strange(values, column):
            raise LakeError(f"{partition.path}: column {column.name} holds {wrong}")
    for name, owner in ((spec.columns[0].name, partition.value), ("role", partition.role)):
        found = rows[name].unique().to_pylist() if name in rows.column_names else []
        if found and found != [owner]:
            raise LakeError(f"{partition.path}: {name} is {found}, expected {owner!r} only")
    if not _strictly_rising([rows[name] for name in spec.sort]):
        raise LakeError(f"{partition.path}: rows are not in strictly rising order of {', '.join(spec.sort)}")


def _schema_difference(schema: pa.Schema, spec: Table) -> str:
    got = {f.name: f"{f.type}{'' if f.nullable else ' not null'}" for f in schema}
    want = {f.name: f"{f.type}{'' if f.nullable else ' not null'}" for f in spec.schema}
    wrong = [
        f"{n} is {got.get(n)}, expected {want.get(n)}" for n in sorted(got.keys() | want.keys()) if got.get(n) != want.get(n)
    ]
    return "; ".join(wrong) or f"columns come as {list(got)}, expected {list(want)}"


def _finite(values: pa.ChunkedArray) -> bool:
    kind = values.type
    if pa.types.is_list(kind) and pa.types.is_floating(kind.value_type):
        return all(np.isfinite(chunk.flatten().to_numpy(zero_copy_only=False)).all() for chunk in values.chunks)
    if pa.types.is_floating(kind):
        return all(np.isfinite(chunk.drop_null().to_numpy()).all() for chunk in values.chunks)
    return True


def _strange(values: pa.ChunkedArray, column: Column) -> str:
    """What stands in a column that may not stand there; empty when all may."""
    if column.words:
        wrong = [word for word in values.unique().to_pylist() if word is not None and word not in column.words]
        return f"{wrong[0]!r}, expected {' or '.join(column.words)}" if wrong else ""
    low, high = column.span
    if (low, high) == (-math.inf, math.inf) or not len(known := values.drop_null()):
        return ""
    found = known.to_numpy()
    least, most = found.min(), found.max()
    return f"{least if least < low else most}, expected {low:g} to {high:g}" if least < low or most > high else ""


def _strictly_rising(keys: Sequence[pa.ChunkedArray]) -> bool:
    """Whether the rows rise strictly in lexicographic order of `keys`."""
    tied = np.ones(max(len(keys[0]) - 1, 0), bool)
    for key in keys:
        values = key.to_numpy()
        if (tied & (values[1:] < values[:-1])).any():
            return False
        tied &= values[1:] == values[:-1]
    return not tied.any()
