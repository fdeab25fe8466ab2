"""How the three command lines end: one line for an error that a user can act on, and the exit code that it carries."""

import errno
import io
import os
import signal
import sys
from contextlib import suppress
from types import FrameType
from typing import NoReturn

import typer

from lake.errors import LakeError

_UsageMistake: type[Exception] = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")

_OF_THE_DISK = (errno.EIO, errno.ENOSPC, errno.EACCES, errno.EPERM, errno.EROFS, errno.EDQUOT, errno.EMFILE, errno.ENFILE)
"""What no program can mend: told in a line; any other OSError is a bug of ours."""


STOPPED = "stopped: every published partition is safe; the same command goes on from here"

_heard: list[int] = []
"""Stop signals that came: the exit that one raises may meet the import of a library, which makes an error of its own of it."""


def run(app: typer.Typer) -> NoReturn:
    """Run `app` and exit: 0 done, the LakeError's code, 2 for a mistyped option, 130 interrupted, 128 + n on signal n.

    A signal that the caller ignores stays ignored: `nohup make build-missing &` goes on after the terminal is closed.
    """
    _heard.clear()
    for number in (n for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) != signal.SIG_IGN):
        with suppress(ValueError):  # signals can be set in the main thread only
            signal.signal(number, _stop)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a path may hold what the terminal cannot show
            stream.reconfigure(errors="backslashreplace")
    try:
        code = app(standalone_mode=False)
        if code == 130:  # how typer returns Ctrl-C; a command that ends well returns nothing
            raise KeyboardInterrupt
    except (typer.Abort, KeyboardInterrupt):
        print(STOPPED, file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        if not _heard:
            sys.exit(_told(error))
        print(STOPPED, file=sys.stderr)
        sys.exit(128 + _heard[0])
    sys.exit(code if isinstance(code, int) else 0)


def _told(error: Exception) -> int:
    """The exit code of an error that a user can act on, which is told in a line; any other is raised."""
    if isinstance(error, LakeError):
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    if isinstance(error, OSError) and error.errno in _OF_THE_DISK and error.filename is not None:
        print(
            f"error: {error.filename}: {error.strerror}. See to the disk and the permissions, then run again", file=sys.stderr
        )
        return 1
    if isinstance(error, _UsageMistake):
        error.show()  # pyright: ignore[reportAttributeAccessIssue]
        return 2
    raise error


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    _heard.append(number)
    if number == signal.SIGINT:
        signal.default_int_handler(number, frame)
    os.write(2, f"{STOPPED}\n".encode())  # print may be at work in what the signal interrupts
    sys.exit(128 + number)
