"""Where the files of a lake live, and the one atomic step that makes a finished file visible.

Local folders publish by `os.link`: it refuses an existing name, so exactly one of any number of writers wins, and a kill at
any moment leaves the name absent or the file whole. Staged files lie in `.staging`, outside every table's folder, because a
leftover inside one breaks readers. Links inside a lake are refused: readers disagree on whether they follow them, and a
file published through one would lie elsewhere.
"""

import errno
import fcntl
import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

from lake.errors import CorruptError, LakeError


class Stat(NamedTuple):
    """Size in bytes and modification time in nanoseconds: a cache key, never an argument about order."""

    size: int
    mtime_ns: int


class LocalFiles:
    """A lake in a local folder; paths are relative, with forward slashes."""

    local = True

    def __init__(self, root: Path) -> None:
        self.root = root
        self.cache = root / ".lake"
        """Folder for what only saves work and may be deleted at any time."""

    def there(self) -> bool:
        """Whether the folder is there."""
        return self.root.is_dir()

    def list(self, prefix: str = "") -> dict[str, Stat]:
        """Every file below `prefix`, hidden folders left out, sorted by path; empty when there is no such folder.

        CorruptError when a link leads there, or into the folder of what may be deleted, where others write after this.
        """
        folders = [self.cache, *(self.root / Path(*Path(prefix).parts[: n + 1]) for n in range(len(Path(prefix).parts)))]
        if links := [folder for folder in folders if folder.is_symlink()]:
            raise _not_a_file(links[0])
        return dict(sorted(self._walk(prefix)))

    def _walk(self, folder: str) -> Iterator[tuple[str, Stat]]:
        try:
            entries = list(os.scandir(self.root / folder))
        except (FileNotFoundError, NotADirectoryError):
            return
        for entry in entries:
            path = f"{folder}/{entry.name}" if folder else entry.name
            if path.startswith("."):
                continue
            if entry.is_symlink() or not (entry.is_dir() or entry.is_file()):
                raise _not_a_file(entry.path)
            if entry.is_dir():
                yield from self._walk(path)
            else:
                stat = entry.stat()
                yield path, Stat(stat.st_size, stat.st_mtime_ns)

    def open(self, path: str) -> BinaryIO:
        """The file for reading."""
        return (self.root / path).open("rb")

    def sha256(self, path: str) -> str:
        """SHA-256 (hex) of the file's bytes."""
        with (self.root / path).open("rb") as source:
            return hashlib.file_digest(source, "sha256").hexdigest()

    @contextmanager
    def as_local(self, path: str) -> Iterator[Path]:
        """The file as one of this machine's disk."""
        yield self.root / path

    def url(self, path: str) -> str:
        """What a reader such as DuckDB opens."""
        return str((self.root / path).absolute())

    @contextmanager
    def staging(self, need: int = 0) -> Iterator[Path]:
        """A new path outside every table, on the file system of the lake; removed at the end, whatever happens.

        `need` is how many bytes it will take at most, for the message when there is no room.
        Its owner holds a lock beside it until then, so that `sweep` can tell a dead writer's leftover from work at hand.
        """
        with explained(self.root / ".staging", need):
            folder = self._hidden(".staging")
            staged = folder / uuid.uuid4().hex
            lock = staged.with_suffix(".lock")
            with lock.open("x") as held:
                fcntl.flock(held, fcntl.LOCK_EX)
                try:
                    yield staged
                finally:
                    for left in folder.glob(f"{staged.name}*"):  # with the log that DuckDB leaves when it fails; the lock
                        left.unlink(missing_ok=True)

    def sweep(self) -> int:
        """Remove what writers that died left in staging; return how many died. No clock is asked: a lock says who lives."""
        swept, folder = 0, self.root / ".staging"
        if folder.is_symlink():
            raise _not_a_file(folder)
        for lock in (lock for lock in folder.glob("*.lock") if lock.is_file() and not lock.is_symlink()):
            try:
                with lock.open() as held:
                    fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    for leftover in lock.parent.glob(f"{lock.stem}*"):  # DuckDB leaves a log beside its file
                        if leftover != lock:
                            leftover.unlink(missing_ok=True)
                    lock.unlink(missing_ok=True)
                    swept += 1
            except (BlockingIOError, FileNotFoundError):
                continue  # its writer is alive, or has just finished
        for orphan in folder.glob("*"):  # after a power cut a file may be there and its lock not; a writer locks first
            if orphan.is_file() and not (folder / f"{orphan.name.partition('.')[0]}.lock").exists():
                orphan.unlink(missing_ok=True)
        return swept

    def claim(self, staged: Path, path: str) -> bool:
        """Make the finished file `staged` visible as `path`, durably; False when the name is taken already."""
        final = self.root / path
        folders = [self.root / parent for parent in Path(path).parents]
        if links := [inside for inside in (*folders[:-1], final) if inside.is_symlink()]:
            raise _not_a_file(links[0])
        final.parent.mkdir(parents=True, exist_ok=True)
        _sync(staged)
        try:
            os.link(staged, final)
            new = True
        except FileExistsError:
            new = False  # its writer may not have come to the lines below, and we acknowledge it too
        for folder in folders:
            _sync(folder)
        return new

    def replace(self, staged: Path, path: str) -> str:
        """Put the finished file `staged` in the place of `path` in one step; return where the old bytes are kept."""
        with explained(self.root):
            _sync(staged)
            kept = self._keep(path)
            os.replace(staged, self.root / path)
            _sync((self.root / path).parent)
        return kept

    def set_aside(self, path: str) -> str:
        """Move a file out of its table into `.quarantine`, keeping its bytes; return the new path inside the lake."""
        with explained(self.root):
            kept = self._keep(path)
            os.unlink(self.root / path)
        return kept

    def _keep(self, path: str) -> str:
        """Give the bytes of `path` a second name in `.quarantine`, durably: the first may go then, even in a power cut."""
        kept = f".quarantine/{uuid.uuid4().hex[:8]}-{path.replace('/', '-')}"
        folder = self._hidden(".quarantine")
        os.link(self.root / path, self.root / kept)
        _sync(folder)
        _sync(self.root)
        return kept

    def _hidden(self, name: str) -> Path:
        """A folder of the lake's own; CorruptError when it is a link, which would lead writes and clean-ups elsewhere."""
        folder = self.root / name
        if folder.is_symlink():
            raise _not_a_file(folder)
        folder.mkdir(parents=True, exist_ok=True)
        return folder


@contextmanager
def explained(folder: Path, need: int = 0) -> Iterator[None]:
    """Turn a full, read-only or forbidden disk into one line that says what to do, and what was needed where that is known."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC or "No space left" in str(error):
            free = shutil.disk_usage(_existing(folder)).free
            needed = f" and up to {need / 1e6:.1f} MB are needed" if need else ""
            raise LakeError(
                f"disk full: {folder} has {free / 1e6:.1f} MB free{needed}. Free some space, then run the same command again"
            ) from error
        if error.errno == errno.EFBIG:
            raise LakeError(f"{folder} takes no file of this size (ulimit -f, or the file system's limit)") from error
        if error.errno == errno.EIO:
            raise LakeError(f"the disk under {folder} is failing ({error}): see to it before building on") from error
        if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM, errno.EDQUOT, errno.ENOTDIR, errno.EEXIST):
            raise LakeError(
                f"cannot write to {folder} ({os.strerror(error.errno)}): choose a folder you may write to with LAKE=..."
            ) from error
        raise


def _existing(folder: Path) -> Path:
    return next(p for p in (folder, *folder.absolute().parents) if p.exists())


def _not_a_file(path: str | Path) -> CorruptError:
    return CorruptError(f"{path} is a link or a device: a lake holds files only; copy what it names in its place")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
