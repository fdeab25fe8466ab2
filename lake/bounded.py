"""Answers of a Hub that end: the client reads each whole into memory, or onto the disk, however long it is.

`bound_answers` puts a limit under every answer that the official client gets: what an honest Hub may send, or within
`at_most` the size of the file that is asked for. Bytes are counted as they are unpacked, so that a packed answer counts in
full. One that goes on is dropped in mid-stream, with CorruptError.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from huggingface_hub import get_session

from lake.errors import CorruptError

MOST = 32_000_000
"""Bytes of an answer about a repo: one that names 100,000 files takes about ten million."""

_most: ContextVar[int] = ContextVar("most", default=0)


@contextmanager
def at_most(size: int) -> Iterator[None]:
    """Let the answers in this block have so many bytes, and those of an answer about a repo in any case."""
    token = _most.set(size)
    try:
        yield
    finally:
        _most.reset(token)


def bound_answers() -> None:
    """See to it that the client's session, which it makes anew after some errors, bounds its answers."""
    hooks = get_session().event_hooks["response"]
    if _bound not in hooks:
        hooks.append(_bound)


def _bound(response: Any) -> None:
    response.iter_bytes = _counted(response.iter_bytes, max(_most.get(), MOST), response.request.url.host)


def _counted(read: Callable[..., Iterator[bytes]], most: int, host: str) -> Callable[..., Iterator[bytes]]:
    """`read`, which ends with CorruptError beyond `most` bytes."""

    def iter_bytes(*arguments: Any, **options: Any) -> Iterator[bytes]:
        left = most
        for chunk in read(*arguments, **options):
            left -= len(chunk)
            if left < 0:
                raise CorruptError(f"{host} answers with more than {most:,} bytes where no Hub does: the rest was not read")
            yield chunk

    return iter_bytes
