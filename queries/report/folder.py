"""The site's folder: made whole beside its place and then swapped in, and never put in the place of anything but a report.

`report.json` marks a report and says what it was made from, so that a second run of the same command has nothing to do.
"""

import ctypes
import errno
import fcntl
import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lake.errors import ConflictError, UsageError

MARK = "report.json"
_EXCHANGE = 2
_AT_FDCWD = -100


def made_from(out: Path) -> dict[str, str]:
    """What the report in `out` was made from; empty when there is none."""
    mark = out / MARK
    return json.loads(mark.read_text("utf-8")) if mark.is_file() else {}


def refuse(out: Path, lake: str | Path) -> None:
    """UsageError when `out` is something else than a report, an empty folder or nothing, or lies in the lake or around it."""
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise UsageError(f"{out} is no folder: choose another with --out")
    if out.exists() and any(out.iterdir()) and not (out / MARK).is_file():
        raise UsageError(
            f"{out} is not empty and holds no report ({MARK} is missing), so it stays as it is: choose another --out"
        )
    if "://" in str(lake):
        return
    place, root = out.resolve(), Path(lake).resolve()
    if place == root or root in place.parents or place in root.parents:
        raise UsageError(f"{out} and the lake {lake} lie in one another: choose another folder with --out")


@contextmanager
def replaced(out: Path, facts: dict[str, str]) -> Iterator[Path]:
    """A folder to write the site to; at the end it stands in the place of `out` in one step. On an error `out` is as it was.

    Raises ConflictError when another process is writing the same report.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    making = out.with_name(f".{out.name}.making")
    making.mkdir(exist_ok=True)
    with _alone(making, out):
        for leftover in making.iterdir():  # of a writer that was killed
            _remove(leftover)
        site = making / "site"
        site.mkdir()
        try:
            yield site
            (site / MARK).write_text(json.dumps(facts, indent=1) + "\n", "utf-8")
            _swap(site, out)
        finally:
            shutil.rmtree(making, ignore_errors=True)


@contextmanager
def _alone(folder: Path, out: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise ConflictError(f"another process is writing {out}: wait for it, or choose another --out") from error
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _swap(new: Path, out: Path) -> None:
    """Put `new` in the place of `out`: in one system call where there is one, else by two renames."""
    if not out.exists() or not any(out.iterdir()):
        new.replace(out)
    elif not _exchange(new, out):
        old = new.with_name("old")
        out.rename(old)
        new.rename(out)


def _exchange(new: Path, out: Path) -> bool:
    """Exchange two folders by Linux's renameat2; False where the system or the file system has no such call."""
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None) if sys.platform == "linux" else None
    if call is None:
        return False
    if call(_AT_FDCWD, os.fsencode(new), _AT_FDCWD, os.fsencode(out), _EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.EINVAL, errno.ENOSYS):
        return False
    raise OSError(code, os.strerror(code), str(out))
