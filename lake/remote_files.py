"""A lake on object storage, or a mirror on the Hub read in place, behind the interface of `LocalFiles`, through fsspec.

A partition is written to this machine's disk, finished, and sent by one conditional create: the store refuses a name that is
taken, so exactly one of any number of writers wins, and a kill leaves the name absent or the object whole. Objects carry the
SHA-256 of their bytes as metadata. Listings are never cached: another writer's object is seen by the next look. Caches lie in
a folder of this machine, by address of the lake, and may be deleted at any time.
"""

import hashlib
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from lake.errors import LakeError, UsageError
from lake.files import LocalFiles, Stat

if TYPE_CHECKING:
    from lake.ranges import Pinned


class RemoteFiles:
    """A lake at an address such as s3://bucket/lake, or hf://datasets/owner/name@revision to read only."""

    local = False

    def __init__(self, address: str) -> None:
        self.root = address.rstrip("/")
        self.system, self._base = _open_system(self.root)
        folder = os.environ.get("LAKE_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "datamodels-lake"
        self.cache = Path(folder).expanduser() / hashlib.sha256(self.root.encode()).hexdigest()[:16]
        self._desk = LocalFiles(self.cache)

    def there(self) -> bool:
        """Whether there is anything at the address."""
        return bool(self.list())

    def list(self, prefix: str = "") -> dict[str, Stat]:
        """Every object below `prefix`, hidden ones left out, sorted by path; the second number stands for its version."""
        with self._reached():
            try:
                found = cast(dict[str, Any], self.system.find(self._at(prefix), detail=True))
            except FileNotFoundError:
                return {}
        named = {name.removeprefix(f"{self._base}/"): info for name, info in found.items() if info["type"] == "file"}
        return {path: Stat(info["size"], _version(info)) for path, info in sorted(named.items()) if not path.startswith(".")}

    def open(self, path: str) -> BinaryIO:
        """The object for reading; only what is read is fetched, in blocks."""
        from lake.ranges import Ranges

        with self._reached():
            size = self.system.size(self._at(path))
        return cast(BinaryIO, Ranges(lambda start, end: self._part(self._at(path), start, end), size))

    def pinned(self, files: dict[str, Stat]) -> "Pinned":
        """A file system for DuckDB that knows these files, by path, and asks for nothing but their bytes."""
        from lake.ranges import Pinned

        sizes = {self.url(path): stat.size for path, stat in files.items()}
        return Pinned(self.root.partition("://")[0], sizes, self._part)

    def _part(self, name: str, start: int, end: int) -> bytes:
        with self._reached():
            return self.system.cat_file(name, start=start, end=end)

    def sha256(self, path: str) -> str:
        """SHA-256 (hex) of the object's bytes: from its metadata, or by reading it where it has none."""
        with self._reached():
            told = self.system.metadata(self._at(path)).get("sha256", "") if hasattr(self.system, "metadata") else ""
            if re.fullmatch(r"[0-9a-f]{64}", told):
                return told
            with self.as_local(path) as copy, copy.open("rb") as source:
                return hashlib.file_digest(source, "sha256").hexdigest()

    @contextmanager
    def as_local(self, path: str) -> Iterator[Path]:
        """A copy of the object on this machine's disk, removed at the end."""
        with self.staging() as copy:
            with self._reached():
                self.system.get_file(self._at(path), str(copy))
            yield copy

    def url(self, path: str) -> str:
        """What DuckDB opens on a connection that knows the `pinned` file system."""
        return f"{self.root.partition('://')[0]}://{self._at(path)}"

    def staging(self, need: int = 0) -> AbstractContextManager[Path]:
        """A new path on this machine's disk, for up to `need` bytes; removed at the end, whatever happens."""
        return self._desk.staging(need)

    def sweep(self) -> int:
        """Remove what writers of this machine that died left in staging; return how many died."""
        return self._desk.sweep()

    def claim(self, staged: Path, path: str) -> bool:
        """Send the finished file `staged` as `path`; False when the name is taken already."""
        with self._reached():
            try:
                self._put(staged, path, mode="create")
            except FileExistsError:
                return False
            except FileNotFoundError as error:
                raise LakeError(
                    f"{self.root} cannot be used ({error}): check the address and your credentials for it"
                ) from error
            except OSError:
                if self.system.exists(self._at(path)):  # two creates at once: a store may answer the loser 409
                    return False
                raise
        return True

    def replace(self, staged: Path, path: str) -> str:
        """Put the finished file `staged` in the place of `path` in one step; return where the old bytes are kept."""
        kept = self._keep(path)
        with self._reached():
            self._put(staged, path)
        return kept

    def set_aside(self, path: str) -> str:
        """Move an object out of its table into `.quarantine`, keeping its bytes; return the new path inside the lake."""
        kept = self._keep(path)
        with self._reached():
            self.system.rm_file(self._at(path))
        return kept

    def _keep(self, path: str) -> str:
        kept = f".quarantine/{uuid.uuid4().hex[:8]}-{path.replace('/', '-')}"
        with self._reached():
            self.system.cp_file(self._at(path), self._at(kept))
        return kept

    def _put(self, staged: Path, path: str, **how: str) -> None:
        with staged.open("rb") as source:
            digest = hashlib.file_digest(source, "sha256").hexdigest()
        described = {"Metadata": {"sha256": digest}} if self.root.startswith("s3") else {}
        self.system.put_file(str(staged), self._at(path), **described, **how)

    def _at(self, path: str) -> str:
        return f"{self._base}/{path}" if path else self._base

    @contextmanager
    def _reached(self) -> Iterator[None]:
        """Turn a store that cannot be reached, or refuses, into one line that says what to do."""
        try:
            yield
        except (FileExistsError, FileNotFoundError):
            raise
        except Exception as error:
            if not isinstance(error, OSError | NotImplementedError) and not type(error).__module__.startswith("botocore"):
                raise
            raise _unusable(self.root, f"{type(error).__name__}: {error}") from error


def _unusable(address: str, why: str) -> LakeError:
    from lake.hub import redacted

    return LakeError(f"{address} cannot be used ({redacted(why)}): check the address and your credentials for it")


def _open_system(address: str) -> tuple[Any, str]:
    """The file system of an address and the path of the lake in it, a Hub mirror pinned to the commit it stands at."""
    if address.startswith("hf://"):
        from lake.hub import open_in_place  # the client takes half a second to import

        return open_in_place(address)
    import fsspec  # a local lake does without it

    protocol = address.partition("://")[0]
    try:
        kind = fsspec.get_filesystem_class(protocol)
    except (ImportError, ValueError) as error:
        raise UsageError(f"{address}: {error}. For s3:// install `pip install 'datamodels-lake[s3]'`") from error
    return kind(use_listings_cache=False, skip_instance_cache=True), kind._strip_protocol(address)


def _version(info: dict[str, Any]) -> int:
    """A number that changes when the object does: 63 bits of a hash over its ETag, blob id or time."""
    lfs = info.get("lfs") or {}
    told = info.get("ETag") or lfs.get("sha256") or info.get("blob_id") or info.get("mtime") or info.get("created")
    return int.from_bytes(hashlib.sha256(f"{told}".encode()).digest()[:8], "big") >> 1
