"""What the fake Hub keeps of a dataset repo: files as git or LFS hold them, a tree a commit, and where each branch stands."""

import hashlib
import threading
from dataclasses import dataclass
from typing import Any


def blob_id(data: bytes) -> str:
    """Git's id of a file."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@dataclass(frozen=True)
class File:
    """A file of a repo: by SHA-256 as LFS keeps it, or with its bytes as git does."""

    size: int
    sha256: str = ""
    data: bytes = b""

    @property
    def oid(self) -> str:
        """What preupload tells of the file that is there."""
        return self.sha256 or blob_id(self.data)

    def entry(self, path: str) -> dict[str, Any]:
        """Its line in a listing."""
        if not self.sha256:
            return {"type": "file", "path": path, "size": self.size, "oid": blob_id(self.data)}
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {self.size}\n".encode()
        lfs = {"oid": self.sha256, "size": self.size, "pointerSize": len(pointer)}
        return {"type": "file", "path": path, "size": self.size, "oid": blob_id(pointer), "lfs": lfs}


class Repo:
    """Trees by commit, and where each branch stands."""

    def __init__(self, private: bool = False) -> None:
        self.private, self.lock = private, threading.Lock()
        self.trees: dict[str, dict[str, File]] = {}
        self.messages: list[str] = []
        self.branches: dict[str, str] = {}
        self.commit("main", {".gitattributes": File(24, data=b"*.parquet filter=lfs\n   ")}, "initial commit")

    def commit(self, branch: str, tree: dict[str, File], message: str) -> str:
        """Put the branch on a new tree."""
        oid = hashlib.sha1(repr((len(self.trees), message, sorted(tree))).encode()).hexdigest()
        self.trees[oid], self.branches[branch] = tree, oid
        self.messages.append(message)
        return oid

    def find(self, revision: str) -> str | None:
        """The commit of a branch, tag or commit."""
        oid = self.branches.get(revision, revision)
        return oid if oid in self.trees else None

    @property
    def tree(self) -> dict[str, File]:
        """What stands on main."""
        return self.trees[self.branches["main"]]
