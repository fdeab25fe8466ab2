"""Fetch what a mirror has and the lake lacks, from one pinned commit, and publish it through the lake's own exclusive step.

A download is believed when its SHA-256 is the one that the listing gives, its seal holds, and its footer names the path it
came from; until then it lies in a staging folder. A file that a builder published meanwhile is never replaced, and what is
replaced, by fast-forward or by name, is kept in `.quarantine`. Killed at any moment, the lake is whole and the same command
goes on.
"""

import hashlib
import shutil
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from lake import parquet
from lake.content import content_hash
from lake.errors import CorruptError, IncompleteError, LakeError
from lake.files import explained
from lake.hub import Hub
from lake.mirror import NAMED, PULLED, Compared, Outcome, Request, Say, announce, compare, summary
from lake.mirror_state import Memory, alone
from lake.partition import parse_path
from lake.store import Lake, validate

THREADS = 8


def pull(lake: Lake, hub: Hub, request: Request, say: Say = print) -> Outcome:
    """Pull missing and fast-forwarded partitions; return what was done, conflicts and damaged downloads included."""
    with alone(lake.files.cache):
        memory, outcome = Memory(lake.files.cache, hub.name), Outcome("pull", head=hub.head())
        rows = compare(lake, hub, memory, hub.tree(outcome.head), outcome.head, request, say)
        moving = [r for r in rows if r.state in PULLED or (r.path in request.named and r.state in NAMED["pull"] and r.remote)]
        announce(rows, request, outcome, moving, say)
        if not request.dry_run:
            stage = lake.files.cache / "stage"
            with ThreadPoolExecutor(THREADS) as pool:
                for row, failure in zip(
                    moving, pool.map(partial(_attempt, lake, hub, outcome.head, stage), moving), strict=True
                ):
                    _note(outcome, memory, row, failure, say)
            shutil.rmtree(stage, ignore_errors=True)
            memory.save()
        say(summary(outcome, request, len(moving), sum(r.size for r in moving)))
    return outcome


def diff(lake: Lake, hub: Hub, request: Request, say: Say = print) -> list[Compared]:
    """Print and return every path in which lake and mirror differ; changes neither."""
    with alone(lake.files.cache):
        head = hub.head()
        rows = compare(lake, hub, Memory(lake.files.cache, hub.name), hub.tree(head), head, request, say)
    differing = [row for row in rows if row.state != "same"]
    for row in differing:
        say(f"{row.state:<15} {row.path}")
    say(f"diff: {len(differing)} different, {len(rows) - len(differing)} same; head {head[:8]}")
    return differing


class _Moved(Exception):
    """The lake's file is no longer the one that was judged."""


def _attempt(lake: Lake, hub: Hub, head: str, stage: Path, row: Compared) -> Exception | None:
    """Fetch and publish one file; None, or why it was not done."""
    try:
        with explained(lake.files.cache):
            staged = _download(hub, head, stage, row)
            _believe(staged, lake, row)
            _publish(lake, staged, row)
            staged.unlink(missing_ok=True)
    except (CorruptError, IncompleteError, _Moved) as failure:
        return failure
    return None


def _download(hub: Hub, head: str, stage: Path, row: Compared) -> Path:
    """The file with the bytes of the listing; CorruptError when a second download does not have them either."""
    if row.remote is None or row.remote.startswith("git:"):
        raise CorruptError("is stored there without a SHA-256, so its bytes cannot be checked: push it with this tool")
    for fresh in (False, True):
        staged = hub.download(row.path, head, stage, fresh, row.remote_size)
        with staged.open("rb") as source:
            if hashlib.file_digest(source, "sha256").hexdigest() == row.remote:
                return staged
    staged.unlink()
    raise CorruptError("what arrives is not what the mirror lists (twice): it is damaged there or on the way")


def _believe(staged: Path, lake: Lake, row: Compared) -> None:
    """CorruptError unless the download is the sealed partition of its path and keeps its table's contract."""
    with staged.open("rb") as source:
        if not parquet.seal_holds(source):
            raise CorruptError("is not a sealed partition: it was not made by a lake, or damaged before it was pushed")
        source.seek(0)
        facts = parquet.read_facts(source)
    partition = parse_path(row.path)
    if partition is None or facts.partition != partition:
        raise CorruptError(f"says that it is {facts.partition.path}: it was copied or renamed there")
    rows = parquet.read_rows(staged)
    try:
        validate(partition, rows)
    except LakeError as error:
        raise CorruptError(str(error).removeprefix(f"{row.path}: ")) from error
    if content_hash(rows) != facts.content:
        raise CorruptError("its rows are not those that its footer describes")
    if row.state == "equivalent" and content_hash(lake.read(partition)) != facts.content:
        raise CorruptError("claims to hold the rows of the file here, and does not")


def _publish(lake: Lake, staged: Path, row: Compared) -> None:
    if row.local is None:
        if not lake.files.claim(staged, row.path) and lake.files.sha256(row.path) != row.remote:
            raise _Moved
    elif lake.files.sha256(row.path) != row.local:
        raise _Moved
    else:
        lake.files.replace(staged, row.path)


def _note(outcome: Outcome, memory: Memory, row: Compared, failure: Exception | None, say: Say) -> None:
    if failure is None:
        outcome.moved.append(row.path)
        outcome.sent += row.size
        memory.base[row.path] = str(row.remote)
        return
    kinds = {CorruptError: outcome.corrupt, IncompleteError: outcome.left, _Moved: outcome.conflicts}
    kinds[type(failure)].append(row.path)
    say(f"skip {row.path}: {str(failure) or 'conflict: it was written here meanwhile'}")
