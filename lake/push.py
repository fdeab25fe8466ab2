"""Send what a lake has and its mirror lacks, in commits that land on exactly the tree that was judged, or not at all.

Bytes go first and stay invisible; a commit of at most 50 files names its parent. When the answer is lost, or somebody else
was faster, the batch is looked at again: what is there already is done, what now holds something else is a conflict, the
rest is tried anew. Killed at any moment, the mirror is readable and the same command goes on.
"""

import random
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from typing import BinaryIO

from huggingface_hub import CommitOperationAdd

from lake import card, parquet
from lake.errors import CorruptError, IncompleteError, LakeError
from lake.hub import TRIES, Hub, Unsure
from lake.mirror import NAMED, PUSHED, Compared, Outcome, Request, Say, announce, compare, same_rows, summary
from lake.mirror_state import Memory, alone
from lake.partition import parse_path
from lake.store import Lake

BATCH, LARGEST_BATCH = 50, 95
"""Files a commit, and at most: the Hub advises to stay below 100, and allows about 128 commits an hour."""
FOLDER, REPO = 10_000, 100_000
"""Files that the Hub takes in one folder and in one repo."""
FEW = 3
"""Uploads that fail one after another before we take it for an outage."""


def push(lake: Lake, hub: Hub, request: Request, say: Say = print) -> Outcome:
    """Push new and fast-forwarded partitions and the dataset card; return what was done, conflicts included.

    IncompleteError when the Hub gives up on us: what has landed is safe, and the same call goes on.
    """
    with alone(lake.files.cache):
        memory, outcome = Memory(lake.files.cache, hub.name), Outcome("push", head=hub.head())
        tree = hub.tree(outcome.head)
        rows = compare(lake, hub, memory, tree, outcome.head, request, say)
        moving = [r for r in rows if r.state in PUSHED or (r.path in request.named and r.state in NAMED["push"])]
        announce(rows, request, outcome, moving, say)
        if not request.dry_run:
            check_limits(tree.keys() | {row.path for row in moving})
            random.shuffle(moving)  # sessions that push the same work should not all start with the same file
            size = max(BATCH, min(LARGEST_BATCH, len(moving) // BATCH))
            for at in range(0, len(moving), size):
                _Batch(lake, hub, memory, outcome, moving[at : at + size], say).land()
            memory.save()
            there = tree.keys() | outcome.moved
            outcome.head = card.push(lake, hub, memory, outcome.head, there, tree.get(card.FILE), say)
            memory.save()
        say(summary(outcome, request, len(moving), sum(r.size for r in moving)))
    return outcome


def check_limits(paths: Collection[str]) -> None:
    """LakeError, before a byte is sent, when a repo of these files is more than the Hub takes."""
    folders = Counter(path.rpartition("/")[0] for path in paths)
    folder, n = max(folders.items(), key=lambda item: item[1], default=("", 0))
    if n > FOLDER:
        raise LakeError(f"{folder} would hold {n:,} files and the Hub takes {FOLDER:,} a folder: use larger partitions")
    if len(paths) > REPO:
        raise LakeError(f"the repo would hold {len(paths):,} files and the Hub takes {REPO:,}: use a repo for each study")


def _unsound(source: BinaryIO, path: str) -> str:
    """Why an open file is not the partition of its path as it was published; empty if it is."""
    try:
        facts = parquet.read_sealed(source)
    except CorruptError as error:
        return str(error)
    if facts is None:
        return "damaged"
    return "" if facts.partition == parse_path(path) else f"says that it is {facts.partition.path}"


class _Batch:
    """Files that land with one commit. `files` holds those that are still to land, by path."""

    def __init__(self, lake: Lake, hub: Hub, memory: Memory, outcome: Outcome, rows: list[Compared], say: Say) -> None:
        self.lake, self.hub, self.memory, self.outcome, self.say = lake, hub, memory, outcome, say
        self.files = {row.path: row for row in rows}

    def land(self) -> None:
        """Commit the batch; on return each of its files has landed or is in the outcome as conflict, corrupt or left."""
        with ExitStack() as stack:
            operations = {
                p: CommitOperationAdd(p, str(stack.enter_context(self.lake.files.as_local(p)))) for p in self._sound()
            }
            for attempt in range(TRIES):
                try:
                    if attempt:
                        self._look_again()
                    if self.files:
                        self._commit(operations)
                    return
                except Unsure as unsure:
                    if self.hub.propose:
                        raise IncompleteError(
                            f"the answer to a proposal was lost ({unsure}): look at the repo's pull requests, then run it again"
                        ) from unsure
                    self.hub.wait(unsure, attempt)
        raise self.hub.gave_up()

    def _sound(self) -> Iterator[str]:
        """Paths whose bytes are those that were published; the others are named and never sent."""
        for path in list(self.files):
            with self.lake.files.open(path) as source:
                if not (why := _unsound(source, path)):
                    yield path
                    continue
            self._drop(path, self.outcome.corrupt, f"{why}, not sent: run `make verify QUARANTINE=1`")

    def _commit(self, operations: dict[str, CommitOperationAdd]) -> None:
        self._upload(operations)
        for path, row in list(self.files.items()):
            if operations[path].upload_info.sha256.hex() != row.local:
                self.memory.forget(path)
                self._drop(path, self.outcome.left, "changed while it was pushed: run again")
        if not self.files:
            return
        message = f"Add {len(self.files)} partition(s): {', '.join(sorted({p.split('/')[0] for p in self.files}))}"
        self.outcome.head = self.hub.commit([operations[p] for p in self.files], self.outcome.head, message)
        for path in list(self.files):
            self._landed(path)

    def _upload(self, operations: dict[str, CommitOperationAdd]) -> None:
        """Send all bytes; when that fails, one by one, so that a file that cannot be sent does not hold up the others."""
        try:
            self.hub.upload([operations[p] for p in self.files])
        except Unsure:
            failed: list[str] = []
            for path in list(self.files):
                try:
                    self.hub.upload([operations[path]])
                except Unsure:
                    failed.append(path)
                    if len(failed) >= min(FEW, len(self.files)):
                        raise
            for path in failed:
                self._drop(path, self.outcome.left, "could not be sent: run again")

    def _look_again(self) -> None:
        """The mirror may have moved, by us or by others: judge every file of the batch on a new head."""
        self.outcome.head = self.hub.head()
        now = self.hub.look(self.outcome.head, list(self.files))
        for path, row in list(self.files.items()):
            there = now[path].sha256 if path in now else None
            if there == row.local:
                self._landed(path)
            elif there != row.remote and there and same_rows(self.lake, self.hub, self.outcome.head, path):
                self._drop(path, self.outcome.equal, "somebody else has put the same rows there meanwhile")
            elif there != row.remote:
                self._drop(path, self.outcome.conflicts, "conflict: somebody else has put something there meanwhile")

    def _landed(self, path: str) -> None:
        row = self.files.pop(path)
        self.outcome.moved.append(path)
        self.outcome.sent += row.size
        if self.hub.name == self.memory.remote and row.local:  # a proposal is not the branch
            self.memory.base[path] = row.local

    def _drop(self, path: str, kind: list[str], why: str) -> None:
        del self.files[path]
        kind.append(path)
        self.say(f"skip {path}: {why}")
