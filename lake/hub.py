"""One dataset repo of the Hugging Face Hub, through the official client, with every answer sorted into three kinds.

An answer is a result; or a refusal that will not heal (LakeError, with what to do); or `Unsure`: a lost connection, a 5xx,
a conflict or a rate limit, after which nobody knows whether the request was carried out. What follows an Unsure is always
a new look, never a blind repetition: the Hub has answered 500 to commits that it had made. The token comes from where the
client finds it and stands in no message.
"""

import json
import random
import re
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

from huggingface_hub import CommitOperationAdd, HfApi, HfFileSystem, get_token, hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled
from huggingface_hub.hf_file_system import HfFileSystemFile

from lake.bounded import at_most, bound_answers
from lake.errors import CorruptError, IncompleteError, LakeError, UsageError

KIND = "dataset"
TRIES = 12
"""Attempts before a push or pull gives up and says so."""
LONGEST_WAIT = 600.0
"""Seconds that we wait because the Hub asks for it; for more, the command ends and is to be run again later."""
COMMIT_PAUSE = 60.0
"""Seconds after a refused commit of a user over the limit, when the Hub does not say how long."""
MOST_ENTRIES = 200_000
"""A repo may have 100,000 files; a listing that goes on beyond this is no lake."""

_TransportError: type[Exception] = next(kind for kind in HfHubHTTPError.__mro__ if kind.__name__ == "HTTPError")
_HEALING = (408, 409, 412)
_Answer = TypeVar("_Answer")


class Unsure(Exception):
    """It is not known whether the request was carried out: look again after `seconds`."""

    def __init__(self, what: str, seconds: float = 0.0) -> None:
        super().__init__(what)
        self.seconds = seconds


@dataclass(frozen=True)
class Entry:
    """A file of the repo: SHA-256 of its bytes, or `git:<blob id>` of a file that is not stored by SHA-256."""

    sha256: str
    size: int


class Hub:
    """A dataset repo at one branch or tag."""

    def __init__(
        self,
        repo: str,
        revision: str = "main",
        propose: bool = False,
        api: HfApi | None = None,
        pause: Callable[[float], None] = time.sleep,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.repo, self.revision = repo_name(repo), revision
        self.propose = propose
        """Whether the next commit opens a pull request; those after it go on there."""
        self.api, self.pause, self.say = api or HfApi(), pause, say
        self._where: dict[str, Any] = {"repo_id": self.repo, "repo_type": KIND}

    @property
    def name(self) -> str:
        """`owner/name@revision`."""
        return f"{self.repo}@{self.revision}"

    def create(self) -> None:
        """Make the repo, private, unless it exists."""
        self.patiently(lambda: self.api.create_repo(**self._where, private=True, exist_ok=True))

    def head(self) -> str:
        """The commit that the revision stands at."""
        return str(self.patiently(lambda: self.api.repo_info(**self._where, revision=self.revision).sha))

    def tree(self, head: str) -> dict[str, Entry]:
        """Every file at the commit `head`; CorruptError for a listing that no lake has."""
        return self.patiently(lambda: _entries(self.api.list_repo_tree(**self._where, revision=head, recursive=True)))

    def look(self, head: str, paths: list[str]) -> dict[str, Entry]:
        """The files among `paths` (at most 500) that exist at the commit `head`."""
        return self.patiently(lambda: _entries(self.api.get_paths_info(**self._where, paths=paths, revision=head)))

    def upload(self, operations: list[CommitOperationAdd]) -> None:
        """Send the bytes, which stay invisible until they are committed; bytes that the Hub has are not sent again."""
        where = {**self._where, "revision": self.revision, "create_pr": self.propose}
        with self._sorted():
            self.api.preupload_lfs_files(additions=operations, free_memory=False, **where)

    def commit(self, operations: list[CommitOperationAdd], parent: str, message: str) -> str:
        """Commit on exactly the tree `parent`, or raise; returns the new commit."""
        where = {**self._where, "revision": self.revision, "create_pr": self.propose}
        with self._sorted(COMMIT_PAUSE):
            made = self.api.create_commit(operations=operations, commit_message=message, parent_commit=parent, **where)
        if self.propose:
            self.revision, self.propose = str(made.pr_revision), False
            self.say(f"proposed as {made.pr_url}")
        return made.oid

    def download(self, path: str, head: str, folder: Path, fresh: bool = False, size: int = 0) -> Path:
        """Fetch one file of the commit `head` below `folder`, going on where an earlier try stopped unless `fresh`.

        CorruptError when more arrives than the `size` that the listing gives, or than an answer about a repo may have.
        """
        where = {**self._where, "revision": head, "endpoint": self.api.endpoint, "token": self.api.token}

        def fetch() -> Path:
            return Path(cast(str, hf_hub_download(filename=path, local_dir=folder, force_download=fresh, **where)))

        with at_most(size):
            return self.patiently(fetch)

    def open(self, path: str, head: str) -> BinaryIO:
        """A file of the commit `head` for reading; only what is read is fetched."""
        files = HfFileSystem(endpoint=self.api.endpoint, token=self.api.token)
        return self.patiently(lambda: cast(BinaryIO, files.open(f"datasets/{self.repo}@{head}/{path}", block_size=1 << 16)))

    def read(self, path: str, head: str) -> str:
        """The whole of a small text file of the commit `head`."""
        with tempfile.TemporaryDirectory() as folder:
            return self.download(path, head, Path(folder)).read_text("utf-8", "replace")

    def patiently(self, call: Callable[[], _Answer]) -> _Answer:
        """The answer of a request that changes nothing, or that may be repeated; IncompleteError when there is none."""
        for attempt in range(TRIES):
            try:
                with self._sorted():
                    return call()
            except Unsure as unsure:
                self.wait(unsure, attempt)
        raise self.gave_up()

    def wait(self, unsure: Unsure, attempt: int) -> None:
        """Pause as long as the Hub asks, or a random time that doubles; IncompleteError when it asks for too much."""
        if unsure.seconds > LONGEST_WAIT:
            raise IncompleteError(f"the Hub asks to wait {unsure.seconds:.0f} s ({unsure}): run the same command again then")
        seconds = max(unsure.seconds, random.uniform(0, min(30.0, 0.25 * 2**attempt)))
        if seconds >= 5:
            self.say(f"waiting {seconds:.0f} s for the Hub ({unsure})")
        self.pause(seconds)

    def gave_up(self) -> IncompleteError:
        """What to raise after `TRIES` attempts."""
        return IncompleteError(
            f"the Hub did not answer well in {TRIES} attempts: what arrived is safe, run the same command again"
        )

    @contextmanager
    def _sorted(self, pause: float = 0.0) -> Iterator[None]:
        """Raise Unsure or LakeError in place of what the client raises; `pause` is for a 429 that does not say how long."""
        bound_answers()
        try:
            yield
        except (HFValidationError, json.JSONDecodeError, _TransportError, OSError, RuntimeError) as error:
            meaning = self._meaning(error, pause)
            if meaning is None:
                raise
            raise meaning from None  # what the client raised may quote the token, and a trace shows its causes

    def _meaning(self, error: BaseException, pause: float) -> Exception | None:
        """What an exception of the client stands for; None for a bug or a trouble of this machine."""
        if isinstance(error, LocalEntryNotFoundError) and isinstance(error.__cause__, HfHubHTTPError):
            return self._judged(error.__cause__, pause)  # a download: why the Hub gives nothing
        if isinstance(error, HfHubHTTPError):
            return self._judged(error, pause)
        if isinstance(error, HFValidationError):
            return UsageError(f"{self.name}: {self._redacted(error)}")
        if isinstance(error, OfflineModeIsEnabled):
            return LakeError("the client is offline (HF_HUB_OFFLINE is set): unset it to reach the Hub")
        if isinstance(error, RecursionError):
            return CorruptError(f"{self.name}: an answer of the Hub is nested too deeply to be read: nothing of it was taken")
        if type(error) is RuntimeError:  # a failed upload: the client names the file and keeps the cause
            return self._meaning(error.__cause__, pause) if error.__cause__ else None
        lost = isinstance(error, _TransportError | ConnectionError | TimeoutError | json.JSONDecodeError)
        if lost or (isinstance(error, OSError) and error.errno is None):
            return Unsure(f"{type(error).__name__}: {self._redacted(error)}")
        return None

    def _judged(self, error: HfHubHTTPError, pause: float) -> Exception:
        status = error.response.status_code if error.response is not None else 0
        if status == 429:
            return Unsure("status 429: over the limit of requests", asked_seconds(error.response.headers) or pause)
        if status == 0 or status in _HEALING or status >= 500:
            return Unsure(f"status {status}")
        advice = {
            400: "it refused the request",
            401: "no token, one that has expired, or no such repo: log in with `hf auth login`, or check the name",
            403: "the token may not do this: it needs write access, or propose with --create-pr",
            404: "no such repo or revision, or it is private and the token may not see it; `--create` makes it",
            413: "too large for it",
        }.get(status, "it refused the request")
        return LakeError(f"{self.name}: the Hub answered {status}: {advice}. It said: {self._redacted(error)}")

    def _redacted(self, error: BaseException) -> str:
        return redacted(str(error), self.api.token)


class InPlace(HfFileSystem):
    """The Hub's file system, to read parts of the files of a pinned commit, which never change."""

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **options: Any) -> bytes:
        """Bytes from `start` to `end` of a file, in one request."""
        if start is None or end is None:
            return cast(bytes, super().cat_file(path, start, end, **options))
        name = str(self._strip_protocol(path))
        return HfFileSystemFile(self, name, mode="rb", cache_type="none", size=end)._fetch_range(start, end)


def open_in_place(address: str) -> tuple[InPlace, str]:
    """File system and path of hf://datasets/owner/name[@revision], pinned to the commit that the revision stands at."""
    name, _, revision = address.removeprefix("hf://datasets/").partition("@")
    hub = Hub(name, revision or "main")
    system = InPlace(endpoint=hub.api.endpoint, token=hub.api.token, skip_instance_cache=True)
    return system, f"datasets/{hub.repo}@{hub.head()}"


def repo_name(text: str) -> str:
    """`owner/name` of the text, which may start with hf://datasets/; UsageError otherwise."""
    name = text.removeprefix("hf://").removeprefix("datasets/").rstrip("/")
    if not re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", name, re.ASCII):
        raise UsageError(f"repo {redacted(text)!r}: write owner/name, such as ada/digits-lake")
    return name


def redacted(text: str, *secrets: object) -> str:
    """First line of `text` without any token or password."""
    for secret in {s for s in (*secrets, get_token()) if isinstance(s, str) and s}:
        text = text.replace(secret, "<token>")
    text = re.sub(r"hf_\w{8,}", "<token>", re.sub(r"//[^/@\s]+@", "//<login>@", text))
    return (" ".join(text.split()) or "nothing")[:300]


def asked_seconds(headers: Any) -> float:
    """Seconds that a 429 asks to wait, by Retry-After or RateLimit; 0 when it does not say."""
    if (after := headers.get("Retry-After", "").strip()).isdigit():
        return float(after)
    reset = re.search(r"\bt=(\d+)", headers.get("RateLimit", ""))
    return float(reset[1]) if reset else 0.0


def _entries(listed: Iterable[Any]) -> dict[str, Entry]:
    """Files of a listing; CorruptError before anything is opened when a path could lead out of a folder."""
    found: dict[str, Entry] = {}
    for number, item in enumerate(listed):
        if number > MOST_ENTRIES:
            raise CorruptError(f"the repo lists more than {MOST_ENTRIES:,} files and folders: this is no lake")
        path = str(item.path)
        if path.startswith("/") or "\\" in path or "\0" in path or {"", ".", ".."}.intersection(path.split("/")):
            raise CorruptError(f"the repo lists {path!r}, which leads out of a folder: nothing of it was read")
        if hasattr(item, "blob_id"):
            found[path] = Entry(item.lfs.sha256 if item.lfs else f"git:{item.blob_id}", item.size)
    return found
