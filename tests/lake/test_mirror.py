"""The mirror: what moves, what never does, and that no fault of the network or of another session loses or doubles a file."""

import hashlib
import json
import os
import random
import threading
from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete

from lake import mirror, mirror_state
from lake import pull as pulling
from lake import push as pushing
from lake.errors import CorruptError, IncompleteError, LakeError, UsageError
from lake.mirror import Request, classify
from lake.mirror_state import Memory
from lake.partition import Partition
from lake.pull import diff, pull
from lake.push import push
from lake.store import Lake
from lake.verify import verify

PATH = "masks/study=half/fit-00000.parquet"
OTHER = "masks/study=half/fit-00001.parquet"


@pytest.fixture
def session(tmp_path, hub_of, rows_of, facts_of):
    """Makes a session: a lake of its own, the repo, and what the commands print."""

    class Session:
        def __init__(self, name: str, **hub):
            self.lake, self.hub, self.lines = Lake(tmp_path / name), hub_of(**hub), []

        def put(self, index: int, n_train: int = 12, table: str = "masks", **facts: object) -> str:
            """Publish a partition; other rows for another `n_train`, other bytes for other facts."""
            partition = Partition(table, "half", "fit", index)
            if (self.lake.root / partition.path).exists():
                self.lake.quarantine(partition)
            self.lake.publish(partition, rows_of(partition, n_train), facts_of(partition, **facts))
            return partition.path

        def push(self, *ours: str, **request: object):
            return push(self.lake, self.hub, Request(named=frozenset(ours), **request), self.lines.append)

        def pull(self, *theirs: str, **request: object):
            return pull(self.lake, self.hub, Request(named=frozenset(theirs), **request), self.lines.append)

        def sha(self, path: str = PATH) -> str:
            return self.lake.files.sha256(path)

        def states(self) -> dict[str, str]:
            return {row.path: row.state for row in diff(self.lake, self.hub, Request(), self.lines.append)}

    return Session


@pytest.fixture
def repo(server):
    return server.repos["tester/lake"]


def there(repo) -> dict[str, str]:
    """SHA-256 of the partitions on main."""
    return {path: file.sha256 for path, file in repo.tree.items() if path.endswith(".parquet")}


def code(outcome) -> int:
    try:
        outcome.finish()
    except LakeError as error:
        return error.exit_code
    return 0


# ---- states


STATES = {
    "---": "same", "--a": "same", "--b": "same",
    "-a-": "missing-local", "-aa": "missing-local", "-ab": "missing-local",
    "-b-": "missing-local", "-ba": "missing-local", "-bb": "missing-local",
    "a--": "new-local", "a-a": "removed-remote", "a-b": "conflict",
    "aa-": "same", "aaa": "same", "aab": "same",
    "ab-": "conflict", "aba": "changed-remote", "abb": "changed-local",
    "b--": "new-local", "b-a": "conflict", "b-b": "removed-remote",
    "ba-": "conflict", "baa": "changed-local", "bab": "changed-remote",
    "bb-": "same", "bba": "same", "bbb": "same",
}  # fmt: skip


@pytest.mark.parametrize(("hashes", "state"), STATES.items())
def test_state_of_local_remote_base(hashes, state):
    assert classify(*(None if h == "-" else h for h in hashes)) == state


def test_the_table_is_whole_and_no_third_hash_changes_it():
    assert len(STATES) == 27
    assert classify("a", "b", "c") == "conflict"
    assert not mirror.PUSHED & mirror.PULLED


# ---- push and pull


def test_round_trip_and_idle_runs(session, server, repo):
    a, b = session("a"), session("b")
    for index in range(60):
        a.put(index)
    assert code(a.push()) == 0
    assert len(repo.messages) == 1 + 2 + 1  # two batches and the card
    commits, put, requests = len(repo.messages), server.bytes_put, len(server.requests)
    server.page = 1000
    assert a.push().moved == []
    assert (len(repo.messages), server.bytes_put) == (commits, put)
    assert len(server.requests) - requests <= 2 + 1  # and one for each 1,000 files

    assert code(b.pull()) == 0
    assert there(repo) == {path: b.sha(path) for path in b.lake.files.list() if path.endswith(".parquet")}
    assert verify(b.lake, deep=True) == []
    requests = len(server.requests)
    assert b.pull().moved == []
    assert len(server.requests) - requests == 2
    assert b.push().moved == []
    assert len(repo.messages) == commits
    assert not (b.lake.root / ".lake" / "stage").exists()


def test_a_push_of_something_else_asks_no_more(session, server):
    a = session("a")
    a.put(0)
    a.push()
    (a.lake.root / ".lake").rename(a.lake.root / ".gone")
    requests = len(server.requests)
    a.push()  # nothing remembered: the card is read again
    assert len(server.requests) - requests <= 2 + 2 + 1


def test_no_clobber_in_either_direction(session, repo):
    a, b = session("a"), session("b")
    a.put(0)
    b.put(0, n_train=21)
    a.push()
    ours = b.sha()
    assert code(b.push()) == 3
    assert code(b.pull()) == 3
    assert b.sha() == ours != there(repo)[PATH] == a.sha()
    assert any(line.split()[:2] == ["skip", "conflict"] and line.endswith(PATH) for line in b.lines)

    assert code(b.push(PATH)) == 0  # --ours
    assert code(a.pull()) == 0  # a has not moved since: fast-forward
    assert a.sha() == b.sha() == ours
    assert len(list((a.lake.root / ".quarantine").iterdir())) == 1  # and its old bytes are kept

    a.put(0, n_train=30)
    b.put(0, n_train=40)
    assert code(b.push()) == 0
    assert (code(a.push()), code(a.pull())) == (3, 3)
    assert code(a.pull(PATH)) == 0  # --theirs
    assert a.sha() == b.sha()
    assert a.states() == {}


def test_fast_forward(session, repo):
    a, b = session("a"), session("b")
    a.put(0)
    a.push()
    b.pull()
    a.put(0, n_train=21)
    assert a.states() == {PATH: "changed-local"}
    assert code(a.push()) == 0
    assert b.states() == {PATH: "changed-remote"}
    assert b.push().moved == []  # an old file never goes over a new one
    assert code(b.pull()) == 0
    assert a.sha() == b.sha() == there(repo)[PATH]


def test_deletion_is_never_inferred(session, repo):
    a = session("a")
    a.put(0)
    a.push()
    a.hub.api.create_commit("tester/lake", [CommitOperationDelete(PATH)], commit_message="rm", repo_type="dataset")
    assert (code(a.push()), code(a.pull())) == (0, 0)
    assert PATH not in there(repo)
    assert a.states() == {PATH: "removed-remote"}
    assert code(a.push(PATH)) == 0
    assert PATH in there(repo)
    (a.lake.root / PATH).unlink()  # a lost disk
    assert a.push().moved == []
    assert PATH in there(repo)
    assert a.pull().moved == [PATH]


def test_equal_rows_in_other_bytes_are_no_conflict(session, repo):
    a, b = session("a"), session("b")
    a.put(0, code="0.1.0")
    b.put(0, code="0.2.0")
    assert a.sha() != b.sha()
    a.push()
    commits = len(repo.messages)
    assert code(b.push()) == 0
    assert b.states() == {PATH: "equivalent"}
    assert len(repo.messages) == commits
    assert code(b.pull()) == 0
    assert a.sha() == b.sha()


def test_a_footer_that_lies_about_its_rows_is_not_taken(session, repo, server, rows_of, tmp_path):
    a, b = session("a"), session("b")
    b.put(0)
    honest = b.lake.facts(b.lake.present("masks"))[Partition("masks", "half", "fit", 0)]
    a.put(0, n_train=21)
    from lake import parquet
    from lake.tables import TABLES

    forged = tmp_path / "forged"
    kept = parquet.content_hash
    parquet.content_hash = lambda rows: honest.content
    try:
        parquet.write(rows_of(honest.partition, 21), TABLES["masks"], honest, forged)
    finally:
        parquet.content_hash = kept
    operations = [CommitOperationAdd(PATH, forged.read_bytes())]
    a.hub.api.create_commit("tester/lake", operations, commit_message="forged", repo_type="dataset")
    assert b.states() == {PATH: "equivalent"}
    ours = b.sha()
    assert code(b.pull()) == 4
    assert b.sha() == ours
    assert code(session("c").pull()) == 4


def test_two_studies_of_one_name_are_never_mixed(session, repo):
    a, b = session("a"), session("b")
    a.put(0)
    a.push()
    b.put(1, identity={"name": "half", "alpha": 0.5}, fingerprint="f" * 16)
    assert code(b.push()) == 3
    assert OTHER not in there(repo)
    assert code(b.pull()) == 3
    assert list(b.lake.present("masks")) == [Partition("masks", "half", "fit", 1)]
    assert any("study 'half' is another one there" in line and "alpha" in line for line in b.lines)


def test_only_and_revision(session, repo):
    a, b = session("a"), session("b")
    a.put(0)
    a.push()
    repo.branches["v1"] = repo.branches["main"]
    a.put(1)
    a.put(0, table="margins")
    assert a.push(tables=("margins",)).moved == ["margins/study=half/fit-00000.parquet"]
    assert OTHER not in there(repo)
    a.push()
    old = session("b", revision="v1")
    assert old.pull().moved == [PATH]
    assert sorted(b.pull(tables=("masks",)).moved) == [OTHER]
    assert mirror.tables_of("margins, masks") == ("masks", "margins")
    with pytest.raises(UsageError, match="no table 'models'"):
        mirror.tables_of("models")
    with pytest.raises(UsageError, match="neither in"):
        a.push("masks/study=half/fit-00009.parquet")


def test_a_dry_run_changes_nothing(session, server, repo):
    a, b = session("a"), session("b")
    a.put(0)
    assert code(a.push(dry_run=True)) == 0
    assert a.lines[0].split() == ["would", "push", "new-local", PATH]
    assert (len(repo.messages), server.bytes_put, server.count("POST")) == (1, 0, 0)
    a.push()
    b.pull(dry_run=True)
    assert b.lines[0].split() == ["would", "pull", "missing-local", PATH]
    assert b.lake.files.list() == {}
    b.put(0, n_train=21)
    assert code(b.pull(dry_run=True)) == 3


def test_a_proposal_moves_no_branch(session, server, repo):
    server.tokens = {"hf_secretsecret": True, "hf_strangerstranger": False}
    a = session("a")
    a.put(0)
    a.push()
    main = repo.branches["main"]
    stranger = session("b", token="hf_strangerstranger")
    for index in range(1, 70):
        stranger.put(index)
    with pytest.raises(LakeError, match="--create-pr"):
        stranger.push()
    proposal = session("b", token="hf_strangerstranger", propose=True)
    server.tokens["hf_strangerstranger"] = True  # whoever opened a proposal may write to it
    assert len(proposal.push().moved) == 69
    assert repo.branches["main"] == main
    assert sum(p.endswith(".parquet") for p in repo.trees[repo.branches["refs/pr/1"]]) == 70
    assert "refs/pr/2" not in repo.branches
    assert Memory(proposal.lake.files.cache, "tester/lake@main").base == {}


# ---- the network


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("status", [408, 409, 412, 429, 500, 502, 503, 504])
@pytest.mark.row("R12")
@pytest.mark.case(43)
def test_a_bad_answer_to_a_commit_neither_loses_nor_doubles_it(session, server, repo, status, after):
    a = session("a")
    a.put(0)
    server.fail("POST", "/commit/", status, after=after)
    assert code(a.push()) == 0
    assert len(repo.messages) == 3  # first, data, card
    assert there(repo) == {PATH: a.sha()}
    assert a.push().moved == []
    assert len(repo.messages) == 3


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [({}, 60), ({"Retry-After": "7"}, 7), ({"RateLimit": '"api";r=0;t=33'}, 33), ({"retry-after": "Wed, 21 Oct"}, 60)],
)
@pytest.mark.row("R12")
@pytest.mark.case(41)
def test_a_rate_limit_is_obeyed(session, server, headers, seconds):
    a = session("a")
    a.put(0)
    server.fail("POST", "/commit/", 429, headers=headers)
    assert code(a.push()) == 0
    assert seconds <= max(a.hub.pauses) < seconds + 1


@pytest.mark.row("R13")
def test_a_quota_ends_the_run_and_the_next_one_resumes(session, server, repo, monkeypatch):
    monkeypatch.setattr(pushing, "BATCH", 2)
    monkeypatch.setattr(pushing, "LARGEST_BATCH", 2)
    a = session("a")
    for index in range(6):
        a.put(index)
    server.meet("POST", "/commit/", lambda: server.fail("POST", "/commit/", 429, headers={"Retry-After": "3600"}))
    with pytest.raises(IncompleteError, match="wait 3600 s"):
        a.push()
    assert len(there(repo)) == 2
    assert len(a.push().moved) == 4
    assert len(there(repo)) == 6
    assert server.count("PUT") == 6  # bytes that had arrived are not sent again


@pytest.mark.row("R13")
@pytest.mark.case(41)
def test_4700_files_go_up_in_60_commits(server, repo, hub_of, tmp_path, monkeypatch):
    lake = Lake(tmp_path / "many")
    folder = lake.root / "masks" / "study=half"
    folder.mkdir(parents=True)
    for index in range(4_700):
        (folder / f"fit-{index:05d}.parquet").write_bytes(b"%d" % index)
    server.page = 1000
    monkeypatch.setattr(pushing, "_unsound", lambda source, path: "")
    monkeypatch.setattr(pushing.card, "push", lambda lake, hub, memory, head, *rest: head)
    monkeypatch.setattr(
        pushing._Batch, "_commit", lambda batch, operations: (sizes.append(len(operations)), batch.files.clear())
    )
    sizes: list[int] = []
    push(lake, hub_of(), Request(), lambda line: None)
    assert sum(sizes) == 4_700
    assert len(sizes) <= 60
    assert max(sizes) < 100


@pytest.mark.slow
@pytest.mark.limit(900)
@pytest.mark.row("R13")
@pytest.mark.case(41)
def test_4700_partitions_reach_a_hub_that_counts_commits(server, session, repo, monkeypatch, tally):
    """Nothing is left out of the push: real partitions, their seals, the uploads, the card."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # nothing is cut off here
    a, b = session("a"), session("b")
    for index in range(4_700):
        a.put(index)
    server.page = 1000
    assert code(a.push()) == 0
    assert len(there(repo)) == 4_700
    assert len(repo.messages) - 1 <= 60  # the card among them, the first commit not
    assert code(b.pull()) == 0
    assert len(b.lake.present("masks")) == 4_700
    assert verify(b.lake) == []
    tally(acknowledged=4_700)


@pytest.mark.row("R13", control=True)
def test_what_the_hub_does_not_take_is_refused_before_a_byte_is_sent():
    many = [f"masks/study=half/fit-{i:05d}.parquet" for i in range(pushing.FOLDER)]
    pushing.check_limits(many)
    with pytest.raises(LakeError, match=r"10,001 files .* a folder"):
        pushing.check_limits([*many, OTHER.replace("fit", "heldout")])
    with pytest.raises(LakeError, match="100,001 files"):
        pushing.check_limits([f"masks/study=s{i % 11}/fit-{i:06d}.parquet" for i in range(100_001)])


def test_giving_up_is_bounded(session, server, repo):
    a = session("a")
    a.put(0)
    server.fail("POST", "/commit/", 503, times=1000)
    with pytest.raises(IncompleteError, match="12 attempts"):
        a.push()
    assert len(a.hub.pauses) == 12
    assert sum(a.hub.pauses) < 12 * 30


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413])
@pytest.mark.row("R12")
def test_a_refusal_that_does_not_heal_stops_at_once(session, server, status):
    a = session("a")
    a.put(0)
    server.fail("POST", "/commit/", status, times=100)
    with pytest.raises(LakeError, match=str(status)) as raised:
        a.push()
    assert raised.value.exit_code == 1
    assert server.count("POST", "/commit/") == 1
    assert a.hub.pauses == []


@pytest.mark.parametrize(
    ("method", "pattern"),
    [("GET", "/revision/"), ("GET", "/tree/"), ("POST", "/preupload"), ("PUT", "/_lfs"), ("POST", "/commit/")],
)
@pytest.mark.parametrize("how", ["cut early", "cut late", "html", "500"])
@pytest.mark.row("R11", "R12")
def test_push_outlives_each_bad_answer(session, server, repo, method, pattern, how):
    a = session("a")
    a.put(0)
    if how == "500":
        server.fail(method, pattern, 500, times=3)
    elif how == "html":
        server.fail(method, pattern, 200 if method != "PUT" else 503, body=b"<html>sign in</html>")
    else:
        server.cut(method, pattern, answer=10 if how == "cut early" else 150)
    assert code(a.push()) == 0
    assert there(repo) == {PATH: a.sha()}
    assert repo.messages[1:] == ["Add 1 partition(s): masks", "Describe the tables and studies"]


HEALING = (408, 429, 500, 502, 503, 504)
READS = ("/revision/", "/tree/", "/resolve/")


@pytest.mark.parametrize("pattern", READS)
@pytest.mark.row("R12")
def test_pull_outlives_each_bad_answer_that_heals(session, server, pattern, tally):
    a = session("a")
    a.put(0)
    a.push()
    for status in HEALING:
        for times in (1, 3):
            b = session(f"b-{status}-{times}")
            server.fail("GET" if pattern != "/resolve/" else "HEAD", pattern, status, times=times)
            assert code(b.pull()) == 0
            assert b.sha() == a.sha()
            tally(faults_injected=times, survived=times)


@pytest.mark.parametrize("pattern", READS)
@pytest.mark.parametrize("status", [400, 401, 403, 404])
@pytest.mark.row("R12")
def test_a_pull_that_is_refused_stops_at_once_and_says_so(session, server, status, pattern, tally):
    a, b = session("a"), session("b")
    a.put(0)
    a.push()
    server.fail("GET" if pattern != "/resolve/" else "HEAD", pattern, status, times=100)
    with pytest.raises(LakeError) as raised:
        b.pull().finish()
    assert "\n" not in str(raised.value)
    assert sum(b.hub.pauses) < 60
    assert b.lake.present("masks") == {}
    tally(faults_injected=1, survived=1, named=1)


@pytest.mark.parametrize("status", HEALING)
@pytest.mark.row("R12")
def test_answers_that_never_heal_end_a_push_and_a_pull_that_says_so(session, server, repo, status, tally):
    a, b = session("a"), session("b")
    a.put(0)
    a.push()
    for method, pattern in (("GET", "/tree/"), ("HEAD", "/resolve/")):
        server.fail(method, pattern, status, times=1000)
        with pytest.raises(LakeError) as raised:
            b.pull().finish()
        assert "\n" not in str(raised.value)
        server.faults.clear()
    a.put(1)
    server.fail("POST", "/commit/", status, times=1000)
    with pytest.raises(IncompleteError):
        a.push().finish()
    server.faults.clear()
    assert a.push().moved
    assert b.pull().moved
    assert len(there(repo)) == 2
    tally(faults_injected=3, survived=3, named=3)


@pytest.mark.parametrize("at", [0, 1, 100, 1000, 3000])
@pytest.mark.row("R11")
def test_an_upload_cut_at_a_byte_is_sent_again(session, server, repo, at):
    a = session("a")
    a.put(0)
    server.cut("PUT", "/_lfs", request=at)
    assert code(a.push()) == 0
    assert there(repo) == {PATH: a.sha()}


@pytest.mark.parametrize("at", [0, 20, 200, 400, 1500, 3000])
@pytest.mark.parametrize("pattern", ["/resolve/", "/_lfs/"])
@pytest.mark.row("R11")
def test_a_download_cut_at_a_byte_is_fetched_again(session, server, pattern, at):
    a, b = session("a"), session("b")
    a.put(0)
    a.push()
    for method in ("HEAD", "GET"):
        server.cut(method, pattern, answer=at)
    assert code(b.pull()) == 0
    assert b.sha() == a.sha()
    assert verify(b.lake) == []


@pytest.mark.case(42, 49)
def test_one_file_that_cannot_be_sent_does_not_hold_up_the_others(session, server, repo):
    a = session("a")
    for index in range(5):
        a.put(index)
    server.fail("PUT", a.sha(), 500, times=1000)
    outcome = a.push()
    assert outcome.left == [PATH]
    assert code(outcome) == 5
    assert len(there(repo)) == 4


# ---- other sessions


@pytest.mark.row("R14")
def test_another_commit_between_plan_and_commit(session, server, repo):
    a, b = session("a"), session("b")
    a.put(0)
    a.put(1)
    b.put(0, n_train=21)
    b.put(7)
    server.meet("POST", "/preupload", lambda: b.push())
    assert code(a.push()) == 3
    assert there(repo)[PATH] == b.sha()  # theirs was first and stays
    assert there(repo)[OTHER] == a.sha(OTHER)
    assert len(there(repo)) == 3


def test_the_same_bytes_by_another_session_are_done(session, server, repo):
    a, b = session("a"), session("b")
    a.put(0)
    b.put(0)
    assert a.sha() == b.sha()
    server.meet("POST", "/commit/", lambda: b.push())
    assert code(a.push()) == 0
    assert sum("partition" in message for message in repo.messages) == 1


def test_the_same_rows_in_other_bytes_by_another_session_are_no_conflict(session, server, repo):
    a, b = session("a"), session("b")
    a.put(0, code="0.1.0")
    b.put(0, code="0.2.0")
    server.meet("POST", "/commit/", lambda: b.push())
    outcome = a.push()
    assert (code(outcome), outcome.equal) == (0, [PATH])
    assert there(repo) == {PATH: b.sha()}


@pytest.mark.row("R14")
@pytest.mark.case(43)
def test_six_sessions_overlap(session, server, repo):
    server.commit_seconds = 0.01
    sessions, codes = [session(f"s{i}") for i in range(6)], []
    for i, one in enumerate(sessions):
        mine = {k for k in range(60) if k % 6 == i} | set(random.Random(i).sample(range(60), 10))
        for index in sorted(mine):
            one.put(index)
    threads = [threading.Thread(target=lambda one=one: codes.append(code(one.push()))) for one in sessions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == [0] * 6
    last = session("last")
    assert code(last.pull()) == 0
    assert len(last.lake.present("masks")) == len(there(repo)) == 60
    assert verify(last.lake, deep=True) == []


def test_two_pushes_in_one_folder_take_turns(session, server, repo):
    a, again = session("a"), session("a")
    for index in range(30):
        a.put(index)
    codes = []
    threads = [threading.Thread(target=lambda one=one: codes.append(code(one.push()))) for one in (a, again)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == [0, 0]
    assert len(repo.messages) == 3
    with mirror_state.alone(a.lake.files.cache), pytest.raises(IncompleteError, match="another push or pull"):  # noqa: SIM117
        with mirror_state.alone(a.lake.files.cache, patience=0.0):
            pass


def test_a_builder_that_publishes_during_a_pull_is_not_overwritten(session, server):
    a, b = session("a"), session("b")
    a.put(0)
    a.push()
    server.meet("GET", "/_lfs/", lambda: b.put(0, n_train=21))
    assert code(b.pull()) == 3
    assert b.sha() != a.sha()

    c = session("c")
    server.meet("GET", "/_lfs/", lambda: c.put(0))  # the same bytes
    assert code(c.pull()) == 0
    a.put(0, n_train=30)
    a.push()
    server.meet("GET", "/_lfs/", lambda: c.put(0, n_train=40))
    assert code(c.pull()) == 3
    assert c.sha() not in (a.sha(), b.sha())


# ---- damage and malice


@pytest.mark.case(46, 50)
def test_a_damaged_download_leaves_the_lake_alone(session, server, repo):
    a, b = session("a"), session("b")
    a.put(0)
    a.put(1)
    a.push()
    good = server.blobs[a.sha()]
    server.blobs[a.sha()] = good[:-300] + bytes([good[-300] ^ 1]) + good[-299:]
    outcome = b.pull()
    assert code(outcome) == 4
    assert outcome.corrupt == [PATH]
    assert list(b.lake.present("masks")) == [Partition("masks", "half", "fit", 1)]
    server.blobs[a.sha()] = good
    assert b.pull().moved == [PATH]


def test_a_swapped_download_is_not_taken_however_whole_it_is(session, server, repo):
    a, b, other = session("a"), session("b"), session("other")
    a.put(0, code="0.1.0")
    a.push()
    other.put(0, code="0.1.1")  # sealed, of this path, with the same rows and size
    server.blobs[a.sha()] = (other.lake.root / PATH).read_bytes()
    assert code(b.pull()) == 4
    assert b.lake.files.list() == {}


def test_a_file_that_was_changed_before_it_was_listed_is_not_taken(session, server, repo):
    a, b = session("a"), session("b")
    a.put(0, code="0.1.0")
    forged = (a.lake.root / PATH).read_bytes().replace(b'"code":"0.1.0"', b'"code":"9.9.9"')
    a.hub.api.create_commit("tester/lake", [CommitOperationAdd(PATH, forged)], commit_message="forged", repo_type="dataset")
    outcome = b.pull()
    assert outcome.corrupt == [PATH]
    assert b.lake.files.list() == {}


def test_a_damaged_local_file_is_never_sent(session, repo):
    a = session("a")
    a.put(0)
    a.put(1)
    raw = bytearray((a.lake.root / PATH).read_bytes())
    raw[40] ^= 1
    (a.lake.root / PATH).write_bytes(raw)
    outcome = a.push()
    assert code(outcome) == 4
    assert outcome.corrupt == [PATH]
    assert list(there(repo)) == [OTHER]


@pytest.mark.case(56)
def test_a_file_without_a_footer_holds_up_neither_the_others_nor_the_card_nor_the_memory(session, repo):
    a = session("a")
    a.put(0)
    a.put(1)
    (a.lake.root / PATH).write_bytes(b"PAR1" + bytes(300))
    outcome = a.push()
    assert (code(outcome), outcome.corrupt, outcome.moved) == (4, [PATH], [OTHER])
    assert "half" in repo.tree["README.md"].data.decode()
    assert Memory(a.lake.files.cache, a.hub.name).base.keys() == {OTHER}
    assert any(line.startswith("the card keeps what it says") and PATH in line for line in a.lines)


@pytest.mark.row("B3")
def test_a_file_that_was_renamed_locally_is_not_sent(session, repo):
    a = session("a")
    a.put(0)
    (a.lake.root / PATH).rename(a.lake.root / OTHER)
    outcome = a.push()
    assert (code(outcome), outcome.corrupt) == (4, [OTHER])
    assert there(repo) == {}
    assert any(f"skip {OTHER}: says that it is {PATH}, not sent" in line for line in a.lines)


def test_rot_behind_an_unchanged_size_and_time_is_not_sent(session, server, repo):
    a = session("a")
    a.put(0)
    a.push(dry_run=True)  # its hash is remembered
    stat, raw = (a.lake.root / PATH).stat(), bytearray((a.lake.root / PATH).read_bytes())
    raw[40] ^= 1
    (a.lake.root / PATH).write_bytes(raw)
    os.utime(a.lake.root / PATH, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert code(a.push()) == 4
    assert there(repo) == {}


def test_a_file_that_changes_while_it_is_pushed_waits(session, server, repo):
    a = session("a")
    a.put(0)
    a.push(dry_run=True)
    stat = (a.lake.root / PATH).stat()
    size = stat.st_size
    a.put(0, code="0.1.1")  # whole, of the same size, and with the time of the one before
    assert (a.lake.root / PATH).stat().st_size == size
    os.utime(a.lake.root / PATH, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    outcome = a.push()
    assert (code(outcome), outcome.left) == (5, [PATH])
    assert there(repo) == {}
    assert code(a.push()) == 0
    assert there(repo) == {PATH: a.sha()}


HOSTILE = [
    "../canary",
    "/etc/canary",
    "masks/../../canary.parquet",
    "a\\..\\canary",
    "masks/study=half/fit-00000.parquet/..",
    "a//b",
    "./x",
]


@pytest.mark.parametrize("path", HOSTILE)
@pytest.mark.row("B7")
@pytest.mark.case(55)
def test_a_listing_that_leads_out_of_the_folder_is_refused_whole(session, server, path, tmp_path):
    a, b = session("a"), session("b")
    a.put(0)
    a.push()
    server.extra = [{"type": "file", "path": path, "size": 3, "oid": "0" * 40}]
    gets = server.count("GET", "/resolve/")
    with pytest.raises(CorruptError, match="leads out"):
        b.pull()
    assert server.count("GET", "/resolve/") == gets
    assert b.lake.files.list() == {}


@pytest.mark.parametrize(
    "path",
    [
        "masks/study=half/fit-00000.PARQUET",
        "masks/study=Half/fit-00001.parquet",
        "masks/study=%2e%2e/fit-00001.parquet",
        "masks/study=half/sub/fit-00001.parquet",
        "masks/study=test/fit-00001.parquet",
        ".lake/mirror.lock",
        ".staging/x.parquet",
        "lake.duckdb",
        "masks/study=half/fit-00001.parquet ",
        "evil.py",
    ],
)
@pytest.mark.row("B7")
def test_names_that_are_not_ours_are_not_fetched(session, server, path):
    a, b = session("a"), session("b")
    a.put(0)
    a.push()
    server.extra = [{"type": "file", "path": path, "size": 3, "oid": "0" * 40}]
    assert b.pull().moved == [PATH]
    assert sorted(b.lake.files.list()) == [PATH]


def test_a_link_in_the_repo_is_not_followed(session, server):
    b = session("b")
    server.extra = [{"type": "file", "path": PATH, "size": 11, "oid": "0" * 40}]  # git keeps a link as a small plain file
    outcome = b.pull()
    assert outcome.corrupt == [PATH]
    assert b.lake.files.list() == {}


@pytest.mark.row("B8")
def test_a_link_in_the_lake_is_not_sent(session, tmp_path, repo):
    a = session("a")
    a.put(0)
    (tmp_path / "secret").write_text("secret")
    (a.lake.root / OTHER).symlink_to(tmp_path / "secret")
    with pytest.raises(CorruptError, match="link"):
        a.push()
    assert there(repo) == {}


def test_a_file_that_is_no_partition_or_another_one_is_not_taken(session, server, repo):
    a, b = session("a"), session("b")
    a.put(0)
    sealed = (a.lake.root / PATH).read_bytes()
    operations = [CommitOperationAdd(OTHER, sealed), CommitOperationAdd(PATH, b"PAR1 not parquet PAR1")]
    a.hub.api.create_commit("tester/lake", operations, commit_message="odd", repo_type="dataset")
    outcome = b.pull()
    assert sorted(outcome.corrupt) == [PATH, OTHER]
    assert b.lake.files.list() == {}


# ---- what is remembered, and what is never told


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b"null", b'{"base": 3}', b'{"remote": "tester/lake@main", "base": {"x": [1]}}', b"\xff" * 9]
)
@pytest.mark.row("R15", "B5")
@pytest.mark.case(45)
def test_damaged_state_is_rebuilt(session, repo, text):
    a = session("a")
    a.put(0)
    a.push()
    for file in (a.lake.root / ".lake").glob("*.json"):
        file.write_bytes(text)
    assert a.states() == {}
    assert a.push().moved == []
    assert len(repo.messages) == 3
    assert json.loads(next((a.lake.root / ".lake").glob("mirror-*.json")).read_text())["base"] == {PATH: a.sha()}


def test_hashes_that_are_lies_are_taken_for_a_cache_only(session, repo):
    a = session("a")
    path = a.put(0)
    stat = a.lake.files.list()[path]
    (a.lake.root / ".lake").mkdir(exist_ok=True)
    (a.lake.root / ".lake" / "hashes.json").write_text(json.dumps({path: [*stat, "0" * 64]}))
    assert code(a.push()) == 5
    assert there(repo) == {}
    assert code(a.push()) == 0


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 429, 500])
@pytest.mark.parametrize("token", ["hf_secretsecret", "api_org_0123secret"])
@pytest.mark.row("B12")
@pytest.mark.case(54)
def test_the_token_is_never_told(session, server, status, capsys, caplog, token):
    a = session("a", token=token)
    a.put(0)
    body = json.dumps({"error": f"bad token {token} for https://user:{token}@hub"}).encode()
    headers = {"X-Error-Message": f"token {token}", "Retry-After": "4000"}
    server.fail("POST", "/commit/", status, times=20, body=body, headers=headers)
    with pytest.raises(LakeError) as raised:
        a.push()
    written = "".join(f.read_bytes().decode("latin-1") for f in a.lake.root.rglob("*") if f.is_file())
    printed = "".join(capsys.readouterr())
    assert token not in str(raised.value) + "\n".join(a.lines) + written + printed + caplog.text


def test_a_private_repo_without_a_token_says_what_to_do(session, server, repo):
    repo.private = True
    server.tokens = {}
    with pytest.raises(LakeError, match="token"):
        session("a", token="hf_unknownunknown").pull()


@pytest.mark.parametrize("name", ["lake", "a/b/c", "../x", "a b/c", "https://huggingface.co/datasets/a/b", ""])
def test_a_repo_name_is_checked(name):
    from lake.hub import Hub

    with pytest.raises(UsageError):
        Hub(name)


def test_a_new_repo_is_private(session, server):
    del server.repos["tester/lake"]
    a = session("a")
    a.put(0)
    with pytest.raises(LakeError, match="--create"):
        a.push()
    a.hub.create()
    a.hub.create()
    assert code(a.push()) == 0
    assert server.repos["tester/lake"].private


def test_bytes_here_and_there_are_those_of_the_listing(session, server, repo):
    a = session("a")
    a.put(0)
    a.push()
    assert hashlib.sha256((Path(a.lake.root) / PATH).read_bytes()).hexdigest() == there(repo)[PATH]
    assert pulling.THREADS <= 8
