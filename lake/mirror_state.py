"""What a mirror remembers between runs, and the lock that keeps two of them out of one folder.

The base of a path is the SHA-256 at which lake and remote were last seen equal: it tells who moved since. Hashes of files
are kept by size and modification time, so that an idle run reads no data. Both may be deleted or damaged at any time: a
hash is then taken anew, and without a base equal contents still count as the same and different ones as a conflict.
"""

import fcntl
import hashlib
import json
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lake.errors import IncompleteError
from lake.files import LocalFiles, Stat, explained
from lake.remote_files import RemoteFiles

PATIENCE = 60.0
"""Seconds to wait for another push or pull in the same folder."""


class Memory:
    """Base and hashes of one lake towards one remote, such as `owner/name@main`; written by `save`."""

    def __init__(self, folder: Path, remote: str) -> None:
        self.remote = remote
        self.folder = folder
        self._base_file = folder / f"mirror-{hashlib.sha256(remote.encode()).hexdigest()[:16]}.json"
        self._hash_file = folder / "hashes.json"
        stored = _load(self._base_file)
        known = stored if stored.get("remote") == remote else {}
        self.base = {path: value for path, value in _items(known.get("base")) if isinstance(value, str)}
        self.texts = {key: value for key, value in _items(known.get("texts")) if isinstance(value, str)}
        """Remote text files by blob id: the card is read again only when it changed."""
        self._hashes = {path: value for path, value in _items(_load(self._hash_file)) if _is_hash(value)}

    def sha256(self, files: LocalFiles | RemoteFiles, path: str, stat: Stat) -> str:
        """SHA-256 (hex) of a file of the lake, from the cache when size and time are those of last time."""
        known = self._hashes.get(path)
        if known is None or known[:2] != list(stat):
            self._hashes[path] = known = [*stat, files.sha256(path)]
        return known[2]

    def forget(self, path: str) -> None:
        """Take the hash of `path` anew next time."""
        self._hashes.pop(path, None)

    def save(self) -> None:
        """Replace both files by what is known now."""
        with explained(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            _store(self._base_file, {"remote": self.remote, "base": self.base, "texts": self.texts})
            _store(self._hash_file, self._hashes)


def mirrors(folder: Path) -> dict[str, set[str]]:
    """Paths that were equal here and there at the last push or pull, by mirror (`owner/name@main`)."""
    stored = [_load(file) for file in sorted(folder.glob("mirror-*.json"))]
    return {str(each["remote"]): {path for path, _ in _items(each.get("base"))} for each in stored if "remote" in each}


@contextmanager
def alone(folder: Path, patience: float = PATIENCE) -> Iterator[None]:
    """Hold the mirror's lock of a lake; IncompleteError when another push or pull keeps it longer than `patience` seconds.

    The system frees the lock when its holder ends, however it ends, so it never needs a person.
    """
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "mirror.lock").open("a+")
    with lock:
        deadline = time.monotonic() + patience
        while not _locked(lock.fileno()):
            if time.monotonic() >= deadline:
                raise IncompleteError(
                    f"another push or pull is at work on this lake ({lock.name}): run again when it has ended"
                )
            time.sleep(0.1)
        yield


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _load(file: Path) -> dict[str, Any]:
    try:
        stored = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}  # absent or damaged: rebuilt from the files
    return stored if isinstance(stored, dict) else {}


def _store(file: Path, values: dict[str, Any]) -> None:
    fresh = file.with_name(f"{file.name}-{uuid.uuid4().hex}")
    try:
        fresh.write_text(json.dumps(values, sort_keys=True))
        os.replace(fresh, file)
    finally:
        fresh.unlink(missing_ok=True)


def _items(value: object) -> list[tuple[str, Any]]:
    return list(value.items()) if isinstance(value, dict) else []


def _is_hash(value: object) -> bool:
    if not isinstance(value, list) or len(value) != 3:
        return False
    return isinstance(value[0], int) and isinstance(value[1], int) and isinstance(value[2], str)
