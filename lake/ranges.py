"""Reading parts of remote files: a file object that fetches what is read, and a file system that answers from one listing.

DuckDB asks a file system whether, where, how large and how old a file is before it reads a byte; over a network each of
these is a request. `Pinned` answers them from the listing that `connect` took, so that only reads are requests, and a query
sees the files of that moment.
"""

import io
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, ClassVar

import fsspec

BLOCK = 1 << 16
"""Bytes fetched at the end of a file at once: most footers are shorter."""
LEAST = 1 << 12
"""Bytes fetched at least elsewhere: a page header and its page are read one after the other."""

Fetch = Callable[[int, int], bytes]


class _Place(threading.local):
    """Where one thread stands in a file, and the last part that it fetched."""

    position = start = 0
    part = b""


class Ranges(io.RawIOBase):
    """A file of `size` bytes of which `fetch(start, end)` gives any part.

    Threads may share it, each with a position of its own: DuckDB seeks and reads one handle from several at once.
    """

    def __init__(self, fetch: Fetch, size: int) -> None:
        super().__init__()
        self._fetch, self._size, self._here = fetch, size, _Place()

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """Offset of the next byte that this thread reads."""
        return self._here.position

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move this thread's position."""
        self._here.position = offset + (0, self._here.position, self._size)[whence]
        return self._here.position

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer`, or as much of it as the file has left; return how many bytes."""
        here, wanted = self._here, memoryview(buffer).cast("B")
        start, end = here.position, min(here.position + len(wanted), self._size)
        if start >= end:
            return 0
        if start < here.start or end > here.start + len(here.part):
            tail = max(0, self._size - BLOCK)
            here.start, last = (tail, self._size) if start >= tail else (start, min(max(end, start + LEAST), self._size))
            here.part = self._fetch(here.start, last)
        found = here.part[start - here.start : end - here.start]
        wanted[: len(found)] = found
        here.position += len(found)
        return len(found)


class Pinned(fsspec.AbstractFileSystem):
    """Files of one listing, size by address; `fetch(address, start, end)` reads a part of one."""

    cachable: ClassVar[bool] = False

    def __init__(self, protocol: str, sizes: dict[str, int], fetch: Callable[[str, int, int], bytes]) -> None:
        super().__init__(skip_instance_cache=True)
        self.protocol = protocol
        self._sizes, self._fetch_part = sizes, fetch

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        """Name, size and type of a listed file; FileNotFoundError for any other."""
        if path not in self._sizes:
            raise FileNotFoundError(path)
        return {"name": path, "size": self._sizes[path], "type": "file"}

    def ls(self, path: str, detail: bool = True, **options: Any) -> list[Any]:
        """The listed files below `path`."""
        names = [name for name in self._sizes if name.startswith(path)]
        return [self.info(name) for name in names] if detail else names

    def glob(self, path: str, maxdepth: int | None = None, **options: Any) -> list[str]:
        """The file itself: views name their files."""
        return [path] if path in self._sizes else []

    def modified(self, path: str) -> datetime:
        """The same time for every file: none of them changes while the connection lives."""
        return datetime(2000, 1, 1, tzinfo=UTC)

    def open(self, path: str, mode: str = "rb", **options: Any) -> Ranges:
        """The file for reading."""
        size = self.info(path)["size"]
        return Ranges(lambda start, end: self._fetch_part(path, start, end), size)
