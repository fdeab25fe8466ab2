"""A layer over the calls by which a lake touches its disk, so that a test sees, fails or freezes each of them.

Calls: open (also for reading), write, fsync, link, unlink, rename, replace, mkdir and scandir below one folder. `Disk`
remembers after every call what has reached the platter: bytes by fsync of a file, names by fsync of its folder. `disks`
gives every disk that a power cut at that moment may leave.
"""

import io
import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

CALLS = {"open": io, "link": os, "unlink": os, "rename": os, "replace": os, "mkdir": os, "fsync": os, "scandir": os}
Folder = dict[str, int]
"""Names in a folder with the number of what each names."""


@contextmanager
def watched(
    root: Path, before: Callable[[str, Path], None], after: Callable[[str, Path], None] | None = None
) -> Iterator[None]:
    """Call `before(call, path)` ahead of every call on something below `root`, and `after` when it has succeeded.

    What `before` raises is the outcome of the call.
    """
    top, looking = os.path.realpath(root), []

    def told(call: str, path: Path) -> None:
        if after is not None:
            looking.append(call)  # what looks at the disk makes calls of its own
            after(call, path)
            looking.pop()

    def inside(path: Any) -> Path | None:
        found = os.readlink(f"/proc/self/fd/{path}") if isinstance(path, int) else os.path.realpath(os.fspath(path))
        return Path(found) if found == top or found.startswith(f"{top}/") else None

    def around(call: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(path: Any, *arguments: Any, **options: Any) -> Any:
            where = None if looking else inside(path)
            if where is None:
                return real(path, *arguments, **options)
            before(call, where)
            result = real(path, *arguments, **options)
            told(call, where)
            return _Watched(result, where, before, told) if call == "open" else result

        return wrapper

    with pytest.MonkeyPatch.context() as patch:
        for call, module in CALLS.items():
            patch.setattr(module, call, around(call, getattr(module, call)))
        yield


class _Watched:
    """A file whose writes are calls too."""

    def __init__(self, file: Any, path: Path, before: Callable[[str, Path], None], after: Callable[[str, Path], None]) -> None:
        self._file, self._path, self._before, self._after = file, path, before, after

    def write(self, data: Any) -> int:
        """One more call."""
        self._before("write", self._path)
        written = self._file.write(data)
        self._file.flush()
        self._after("write", self._path)
        return written

    def __enter__(self) -> "_Watched":
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


@dataclass(frozen=True)
class Moment:
    """The disk after one call: names and bytes as the running system sees them, and as they are on the platter."""

    call: str
    now: dict[str, Folder]
    safe: dict[str, Folder]
    bytes_now: dict[int, bytes]
    bytes_safe: dict[int, bytes]


class Disk:
    """Follows a folder call by call; `moments` holds what a power cut may meet."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._numbers: dict[int, int] = {}
        self._count = itertools.count(1)
        self._safe, self._bytes_safe = self._look()
        self.moments = [Moment("start", self._safe, self._safe, self._bytes_safe, self._bytes_safe)]

    def note(self, call: str, path: Path) -> None:
        """Remember the disk as it is now."""
        now, contents = self._look()
        if call == "fsync":
            where = os.path.relpath(path, self.root)
            if path.is_dir():
                self._safe = {**self._safe, where: dict(now[where])}
            else:
                self._bytes_safe = {**self._bytes_safe, self._numbers[path.stat().st_ino]: path.read_bytes()}
        self.moments.append(Moment(f"{call} {path.name}", now, self._safe, contents, self._bytes_safe))

    def _look(self) -> tuple[dict[str, Folder], dict[int, bytes]]:
        tree, contents, seen = {}, {}, {}
        for folder, folders, files in os.walk(self.root):
            where = os.path.relpath(folder, self.root)
            tree[where] = {}
            for name in (*folders, *files):
                path = Path(folder, name)
                inode = path.stat().st_ino
                seen[inode] = tree[where][name] = self._numbers.get(inode) or next(self._count)
                self._numbers[inode] = seen[inode]
                if name in files:
                    contents[seen[inode]] = path.read_bytes()
        self._numbers = seen  # an inode that is gone may come back as another file
        return tree, contents


def disks(moment: Moment) -> Iterator[dict[str, bytes]]:
    """Every set of files, by path, that a power cut may leave: bytes that no fsync saved are whole, absent, half or zeros."""
    known = {**moment.bytes_safe, **moment.bytes_now}
    loose = [n for n, data in known.items() if moment.bytes_safe.get(n) != data]
    for variant in itertools.product(*(_torn(known[n], moment.bytes_safe.get(n)) for n in loose)):
        contents = {**known, **dict(zip(loose, variant, strict=True))}
        for names in itertools.product(*_choices(moment)):
            yield dict(_files(".", dict(names), contents))


def _torn(whole: bytes, before: bytes | None) -> set[bytes]:
    return {whole, b"", whole[: len(whole) // 2], bytes(len(whole)), *([before] if before is not None else [])}


def _choices(moment: Moment) -> list[set[tuple[tuple[str, str], int | None]]]:
    """For each name: what it may name after the cut, by its last fsync or by now."""
    found = []
    for folder in moment.now.keys() | moment.safe.keys():
        now, safe = moment.now.get(folder, {}), moment.safe.get(folder, {})
        found += [{((folder, name), safe.get(name)), ((folder, name), now.get(name))} for name in now.keys() | safe.keys()]
    return found


def _files(folder: str, names: dict[tuple[str, str], int | None], contents: dict[int, bytes]) -> Iterator[tuple[str, bytes]]:
    for (where, name), number in names.items():
        if where == folder and number is not None:
            path = os.path.normpath(f"{folder}/{name}")
            if number in contents:
                yield path, contents[number]
            else:
                yield from _files(path, names, contents)


def write_disk(root: Path, files: dict[str, bytes]) -> Path:
    """Make a folder with these files."""
    root.mkdir(parents=True)
    for path, data in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
    return root
