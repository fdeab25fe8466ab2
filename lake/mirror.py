"""How a lake and its mirror differ, path by path, and which of the differences a push or a pull may settle.

Three hashes decide: here (local), there (remote), and where both were last seen equal (base). Only what is new on one side,
or changed on one side alone, moves; everything else is a conflict, is named, and stays as it is until somebody names it.
Nothing is ever deleted because it is absent on the other side: a lost disk looks the same as a deletion.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from lake import parquet
from lake.errors import ConflictError, CorruptError, IncompleteError, UsageError
from lake.fingerprint import differences
from lake.hub import Entry, Hub
from lake.mirror_state import Memory
from lake.parquet import Facts
from lake.partition import Partition, parse_path
from lake.store import Lake
from lake.tables import TABLES

Say = Callable[[str], None]

PUSHED = frozenset(["new-local", "changed-local"])
PULLED = frozenset(["missing-local", "changed-remote", "equivalent"])
NAMED = {"push": frozenset(["conflict", "equivalent", "removed-remote"]), "pull": frozenset(["conflict"])}
"""States that move only when their path is named by --ours or --theirs."""


@dataclass(frozen=True)
class Request:
    """What the user asked for."""

    tables: tuple[str, ...] = tuple(TABLES)
    named: frozenset[str] = frozenset()
    """Paths of which our version (push) or theirs (pull) wins."""
    dry_run: bool = False


@dataclass(frozen=True)
class Compared:
    """One path on both sides: SHA-256 of each, None where absent, and the bytes that would move."""

    path: str
    state: str
    local: str | None
    remote: str | None
    size: int = 0
    remote_size: int = 0
    """Bytes of the file there, by the listing."""


@dataclass
class Outcome:
    """What a push or pull did."""

    verb: str
    head: str = ""
    same: int = 0
    moved: list[str] = field(default_factory=list)
    sent: int = 0
    """Bytes of the files that moved."""
    conflicts: list[str] = field(default_factory=list)
    corrupt: list[str] = field(default_factory=list)
    equal: list[str] = field(default_factory=list)
    """Paths at which somebody else has put the same rows meanwhile: done."""
    left: list[str] = field(default_factory=list)
    """Paths that are to move with the next run."""

    def finish(self) -> None:
        """Raise what the exit code should say: corrupt before conflict before incomplete."""
        if self.corrupt:
            raise CorruptError(
                f"{len(self.corrupt)} file(s) are damaged and were not taken, named above; first: {self.corrupt[0]}"
            )
        if self.conflicts:
            raise ConflictError(
                f"{len(self.conflicts)} conflict(s) left as they are, all else is done; first: {self.conflicts[0]}. "
                "`push --ours PATH` or `pull --theirs PATH` settles one"
            )
        if self.left:
            raise IncompleteError(f"{len(self.left)} file(s) did not arrive, first: {self.left[0]}. Run the same command again")


def classify(local: str | None, remote: str | None, base: str | None) -> str:
    """State of one path from its three hashes; None is absent."""
    if local == remote:
        return "same"
    if remote is None:
        return "new-local" if base is None else "removed-remote" if local == base else "conflict"
    if local is None:
        return "missing-local"
    if remote == base:
        return "changed-local"
    return "changed-remote" if local == base else "conflict"


def tables_of(only: str) -> tuple[str, ...]:
    """Table names of a text such as `margins,masks`; all for an empty one; UsageError for an unknown one."""
    names = [name.strip() for name in only.split(",") if name.strip()]
    if unknown := [name for name in names if name not in TABLES]:
        raise UsageError(f"no table {unknown[0]!r}; there are {', '.join(TABLES)}")
    return tuple(name for name in TABLES if name in names) if names else tuple(TABLES)


def compare(
    lake: Lake, hub: Hub, memory: Memory, tree: dict[str, Entry], head: str, request: Request, say: Say
) -> list[Compared]:
    """Every path of the asked tables that stands on either side, sorted; equal ones become the base.

    UsageError when a path that the user named is on neither side.
    """
    files = {p: s for t in request.tables for p, s in lake.files.list(t).items() if parse_path(p)}
    theirs = {p: e for p, e in tree.items() if (found := parse_path(p)) and found.table in request.tables}
    if unknown := request.named - (files.keys() | theirs.keys()):
        raise UsageError(f"{min(unknown)} is neither in {lake.root} nor in {hub.name}: name a path as `diff` prints it")
    rows = []
    for path in sorted(files.keys() | theirs.keys()):
        local = memory.sha256(lake.files, path, files[path]) if path in files else None
        remote = theirs[path].sha256 if path in theirs else None
        there = theirs[path].size if path in theirs else 0
        size = files[path].size if path in files else there
        rows.append(Compared(path, classify(local, remote, memory.base.get(path)), local, remote, size, there))
    memory.base.update({row.path: row.local for row in rows if row.state == "same" and row.local})
    memory.save()
    strangers = _strangers(lake, hub, head, rows, say)
    return [_judged(lake, hub, head, row, strangers) for row in rows]


def same_rows(lake: Lake, hub: Hub, head: str, path: str) -> bool:
    """Whether the footers of a partition here and there tell of the same rows, whatever the bytes."""
    ours, theirs = _facts_here(lake, path), _facts_there(hub, head, path)
    return ours is not None and theirs is not None and ours.content == theirs.content


def announce(rows: Iterable[Compared], request: Request, outcome: Outcome, moving: Iterable[Compared], say: Say) -> None:
    """Print one line a path that is not the same, and put the conflicts into the outcome."""
    chosen = {row.path for row in moving}
    for row in rows:
        verb = f"{'would ' if request.dry_run else ''}{outcome.verb}" if row.path in chosen else "skip"
        if row.state != "same":
            say(f"{verb} {row.state:<15} {row.path}")
        outcome.same += row.state == "same"
        if row.state == "conflict" and row.path not in chosen:
            outcome.conflicts.append(row.path)


def summary(outcome: Outcome, request: Request, n_moving: int, size: int) -> str:
    """The last line of a push or pull."""
    if request.dry_run:
        done = f"{n_moving} to {outcome.verb} ({size / 1e6:,.1f} MB), nothing was changed"
    else:
        done = f"{len(outcome.moved)} {outcome.verb}ed ({outcome.sent / 1e6:,.1f} MB)"
    counts = {"conflict": outcome.conflicts, "damaged": outcome.corrupt, "left": outcome.left}
    rest = "".join(f", {len(paths)} {what}" for what, paths in counts.items() if paths)
    return f"{outcome.verb}: {done}{rest}, {outcome.same} same; head {outcome.head[:8]}"


def _judged(lake: Lake, hub: Hub, head: str, row: Compared, strangers: set[tuple[str, str]]) -> Compared:
    """The row, a conflict where the two sides hold different studies, equivalent where both hold the same rows."""
    state = row.state
    if state != "same" and _owner(row.path) in strangers:
        state = "conflict"
    elif state == "conflict" and row.local and row.remote:
        state = "equivalent" if same_rows(lake, hub, head, row.path) else state
    return replace(row, state=state)


def _strangers(lake: Lake, hub: Hub, head: str, rows: list[Compared], say: Say) -> set[tuple[str, str]]:
    """Studies and datasets whose name stands for different things here and there.

    An equal file proves that both sides mean the same; only without one, a footer of each side is read.
    """
    ours: dict[tuple[str, str], str] = {}
    theirs: dict[tuple[str, str], str] = {}
    agreed = {_owner(row.path) for row in rows if row.state == "same"}
    for row in rows:
        if row.local:
            ours.setdefault(_owner(row.path), row.path)
        if row.remote and not row.remote.startswith("git:"):
            theirs.setdefault(_owner(row.path), row.path)
    found = set()
    for owner in sorted((ours.keys() & theirs.keys()) - agreed):
        here, there = _facts_here(lake, ours[owner]), _facts_there(hub, head, theirs[owner])
        if here and there and here.fingerprint != there.fingerprint:
            lines = "; ".join(differences(here.identity, there.identity)) or "the rules of another version"
            say(f"{owner[0]} {owner[1]!r} is another one there. Different (there -> here): {lines}. Give yours another name")
            found.add(owner)
    return found


def _owner(path: str) -> tuple[str, str]:
    """(`study` or `dataset`, name) that a partition's path belongs to."""
    key, _, value = path.split("/")[1].partition("=")
    return key, value


def _facts_here(lake: Lake, path: str) -> Facts | None:
    try:
        with lake.files.open(path) as source:
            return _own_facts(parquet.read_facts(source), path)
    except CorruptError:
        return None  # a damaged file is equal to nothing; push refuses it by name, verify mends it


def _facts_there(hub: Hub, head: str, path: str) -> Facts | None:
    try:
        with hub.open(path, head) as source:
            return _own_facts(parquet.read_facts(source), path)
    except CorruptError:
        return None  # what cannot be read is equal to nothing, so that it stays a conflict


def _own_facts(facts: Facts, path: str) -> Facts | None:
    partition: Partition | None = parse_path(path)
    return facts if facts.partition == partition else None
