"""A Hugging Face Hub in this process, for the real client: dataset repos, LFS uploads, commits with a parent, downloads.

`with FakeHub() as hub: HfApi(endpoint=hub.url, token="t")`, with HF_HUB_DISABLE_XET=1 set before the client is imported.
It answers as the Hub does where the mirror looks: 412 for a parent that is no longer the head, uploads addressed and checked
by SHA-256, unchanged files known by their oid, paged listings, ranges, snapshots at any commit, pull requests as branches.
Faults are planned with `fail` (a status, before or after the work), `cut` (the connection closes at a byte), `flood` (an
answer that never ends) and `meet` (something happens just before a request). Not imitated: xet, multipart uploads, quotas
by the hour, the viewer.
"""

import base64
import hashlib
import json
import re
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from fakehub_repo import File, Repo, blob_id

ANSWERS = {200: "OK", 206: "Partial Content", 302: "Found"}


@dataclass
class Fault:
    """What goes wrong with the next `times` requests that match."""

    method: str
    pattern: str
    times: int
    status: int = 0
    after: bool = False
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    cut_answer: int | None = None
    cut_request: int | None = None
    action: Callable[[], object] | None = None
    endless: bytes = b""


class FakeHub:
    """The server, what it keeps, and what is to go wrong."""

    def __init__(self, page: int = 1000, tokens: dict[str, bool] | None = None) -> None:
        self.page, self.tokens = page, tokens
        self.repos: dict[str, Repo] = {}
        self.blobs: dict[str, bytes] = {}
        self.requests: list[tuple[str, str, int]] = []
        self.faults: list[Fault] = []
        self.expired: set[str] = set()
        """Tokens that were good once: the Hub answers 401 to whoever brings one."""
        self.extra: list[dict[str, Any]] = []
        """Entries that a listing shows beside the files that are there."""
        self.bytes_put = self.bytes_sent = 0
        self.commit_seconds = 0.0
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (_Handler,), {"hub": self}))
        self.server.daemon_threads = True
        port = self.server.server_address[1]
        # the client reads X-Repo-Commit of a redirect only when it leads to another host
        self.url, self.cdn = f"http://127.0.0.1:{port}", f"http://localhost:{port}"

    def __enter__(self) -> "FakeHub":
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def fail(self, method: str, pattern: str, status: int, times: int = 1, **how: Any) -> None:
        """Answer `status`; with after=True the work is done and only its answer is lost."""
        self.faults.append(Fault(method, pattern, times, status, **how))

    def cut(self, method: str, pattern: str, answer: int | None = None, request: int | None = None, times: int = 1) -> None:
        """Close the connection after so many bytes of the answer, or of the request's body."""
        self.faults.append(Fault(method, pattern, times, cut_answer=answer, cut_request=request))

    def flood(self, method: str, pattern: str, body: bytes, endless: bytes, times: int = 1) -> None:
        """Answer `body` and then `endless` again and again, until the client goes."""
        self.faults.append(Fault(method, pattern, times, body=body, endless=endless))

    def meet(self, method: str, pattern: str, action: Callable[[], object]) -> None:
        """Call `action` just before the next request that matches is carried out."""
        self.faults.append(Fault(method, pattern, 1, action=action))

    def count(self, method: str, pattern: str = "") -> int:
        """Requests answered so far."""
        return sum(m == method and re.search(pattern, p) is not None for m, p, _ in self.requests)

    def take(self, method: str, path: str) -> Fault | None:
        """The fault planned for this request."""
        for fault in self.faults:
            if fault.times > 0 and fault.method == method and re.search(fault.pattern, path):
                fault.times -= 1
                return fault
        return None


class _Cut(Exception):
    pass


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: FakeHub

    def log_message(self, *message: Any) -> None:
        pass

    def handle_any(self) -> None:
        self.fault = self.hub.take(self.command, self.path) or Fault("", "", 0)
        try:
            self.body = self.read_body()
            if self.fault.action:
                self.fault.action()
            if self.fault.endless:
                return self.send_without_end()
            if self.fault.status and not self.fault.after:
                return self.send(*self.faulty())
            answer = self.route()
            self.send(*(self.faulty() if self.fault.status else answer))
        except _Cut:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = handle_any

    def faulty(self) -> tuple[int, Any, dict[str, str]]:
        return self.fault.status, self.fault.body if self.fault.body is not None else {"error": "injected"}, self.fault.headers

    def send_without_end(self) -> None:
        self.hub.requests.append((self.command, self.path, 200))
        self.close_connection = True
        with suppress(ConnectionError):
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n" + (self.fault.body or b""))
            while True:
                self.wfile.write(self.fault.endless)

    def read_body(self) -> bytes:
        if self.fault.cut_request is not None:
            self.rfile.read(min(self.fault.cut_request, int(self.headers.get("Content-Length") or 0)))
            raise _Cut
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def send(self, status: int, body: Any = b"", headers: dict[str, str] | None = None) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        lines = {"Content-Type": "application/json", "Content-Length": str(len(data)), **(headers or {})}
        head = f"HTTP/1.1 {status} {ANSWERS.get(status, 'Error')}\r\n" + "".join(f"{k}: {v}\r\n" for k, v in lines.items())
        answer = head.encode() + b"\r\n" + (b"" if self.command == "HEAD" else data)
        self.hub.requests.append((self.command, self.path, status))
        if self.fault.cut_answer is not None:
            self.wfile.write(answer[: self.fault.cut_answer])
            self.wfile.flush()
            raise _Cut
        self.wfile.write(answer)

    def refuse(self, status: int, message: str, code: str = "") -> tuple[int, Any, dict[str, str]]:
        return status, {"error": message}, {"X-Error-Message": message, **({"X-Error-Code": code} if code else {})}

    def may_write(self) -> bool:
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        return bool(token) if self.hub.tokens is None else self.hub.tokens.get(token, False)

    def may_read(self, repo: Repo) -> bool:
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        return not repo.private or (bool(token) if self.hub.tokens is None else token in self.hub.tokens)

    def route(self) -> tuple[int, Any, dict[str, str]]:
        path = urlsplit(self.path).path
        if (self.headers.get("Authorization") or "").removeprefix("Bearer ") in self.hub.expired:
            return self.refuse(401, "Invalid credentials in Authorization header")
        if path == "/api/validate-yaml":
            return 200, {"errors": [], "warnings": []}, {}
        if path == "/api/repos/create":
            return self.create()
        if match := re.fullmatch(r"/_lfs/(verify|[0-9a-f]{64})", path):
            return self.lfs(match[1])
        if match := re.fullmatch(r"/datasets/[^/]+/[^/]+\.git/info/lfs/objects/batch", path):
            return self.lfs_batch()
        if match := re.fullmatch(r"/datasets/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            return self.found(match[1], lambda repo: self.resolve(repo, unquote(match[2]), unquote(match[3])))
        if match := re.fullmatch(r"/api/datasets/([^/]+/[^/]+)(?:/([a-z-]+)(?:/([^/]+))?)?(?:/.*)?", path):
            return self.found(match[1], lambda repo: self.api(repo, match[2] or "revision", unquote(match[3] or "main")))
        return self.refuse(404, f"no route {self.command} {path}")

    def found(self, name: str, then: Callable[[Repo], tuple[int, Any, dict[str, str]]]) -> tuple[int, Any, dict[str, str]]:
        repo = self.hub.repos.get(name)
        if repo is None or not self.may_read(repo):
            return self.refuse(401 if not self.headers.get("Authorization") else 404, "Repository not found", "RepoNotFound")
        return then(repo)

    def create(self) -> tuple[int, Any, dict[str, str]]:
        asked = json.loads(self.body)
        name = f"{asked.get('organization') or 'tester'}/{asked['name']}"
        url = f"{self.hub.url}/datasets/{name}"
        if name in self.hub.repos:
            return 409, {"error": "You already created this dataset repo", "url": url}, {}
        self.hub.repos[name] = Repo(private=bool(asked.get("private")) or asked.get("visibility") == "private")
        return 200, {"url": url, "id": name, "name": name}, {}

    def lfs(self, oid: str) -> tuple[int, Any, dict[str, str]]:
        hub = self.hub
        if self.command == "PUT":
            if hashlib.sha256(self.body).hexdigest() != oid:
                return self.refuse(400, "sha256 mismatch")
            hub.blobs[oid] = self.body
            hub.bytes_put += len(self.body)
            return 200, {}, {}
        if self.command == "POST":
            asked = json.loads(self.body)
            there = len(hub.blobs.get(asked["oid"], b"")) == asked["size"]
            return (200, {}, {}) if there else self.refuse(404, "not there")
        return self.ranged(hub.blobs[oid], {"ETag": f'"{oid}"'})

    def lfs_batch(self) -> tuple[int, Any, dict[str, str]]:
        def wanted(item: dict[str, Any]) -> dict[str, Any]:
            steps = {
                "upload": {"href": f"{self.hub.url}/_lfs/{item['oid']}"},
                "verify": {"href": f"{self.hub.url}/_lfs/verify"},
            }
            return {**item, **({} if item["oid"] in self.hub.blobs else {"actions": steps})}

        items = [{"oid": o["oid"], "size": o["size"]} for o in json.loads(self.body)["objects"]]
        return 200, {"transfer": "basic", "objects": [wanted(item) for item in items]}, {}

    def api(self, repo: Repo, verb: str, revision: str) -> tuple[int, Any, dict[str, str]]:
        if (head := repo.find(revision)) is None:
            return self.refuse(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        tree = repo.trees[head]
        if verb == "revision":
            return (
                200,
                {"id": "x/y", "sha": head, "private": repo.private, "tags": [], "siblings": [{"rfilename": p} for p in tree]},
                {},
            )
        if verb == "tree":
            return self.listing(tree)
        if verb == "paths-info":
            sent = self.body.decode()
            wanted = json.loads(sent)["paths"] if sent.startswith("{") else parse_qs(sent).get("paths", [])
            return 200, [tree[p].entry(p) for p in wanted if p in tree], {}
        proposes = "create_pr=1" in self.path
        if not self.may_write() and not proposes:
            return self.refuse(403, "You need write access", "")
        if verb == "preupload":
            return self.preupload(tree)
        return self.commit(repo, revision, proposes) if verb == "commit" else self.refuse(404, f"no verb {verb}")

    def listing(self, tree: dict[str, File]) -> tuple[int, Any, dict[str, str]]:
        folders = {"/".join(path.split("/")[:i]) for path in tree for i in range(1, path.count("/") + 1)}
        prefix = unquote(urlsplit(self.path).path.split("/tree/")[1].partition("/")[2])
        entries = [{"type": "directory", "path": f, "size": 0, "oid": blob_id(f.encode())} for f in sorted(folders)]
        entries += [tree[path].entry(path) for path in sorted(tree)] + self.hub.extra
        if prefix:
            entries = [e for e in entries if e["path"].startswith(f"{prefix}/")]
        query = parse_qs(urlsplit(self.path).query)
        if query.get("recursive") != ["true"]:
            entries = [e for e in entries if "/" not in e["path"].removeprefix(f"{prefix}/" if prefix else "")]
        at = int(query.get("cursor", ["0"])[0])
        base = re.sub(r"[?&]cursor=\d+", "", self.path)
        more = f'<{self.hub.url}{base}{"&" if "?" in base else "?"}cursor={at + self.hub.page}>; rel="next"'
        return 200, entries[at : at + self.hub.page], {"Link": more} if at + self.hub.page < len(entries) else {}

    def preupload(self, tree: dict[str, File]) -> tuple[int, Any, dict[str, str]]:
        def mode(path: str) -> dict[str, Any]:
            kind = "lfs" if path.endswith(".parquet") else "regular"
            return {"path": path, "uploadMode": kind, "shouldIgnore": False, "oid": tree[path].oid if path in tree else None}

        return 200, {"files": [mode(file["path"]) for file in json.loads(self.body)["files"]]}, {}

    def commit(self, repo: Repo, branch: str, proposes: bool) -> tuple[int, Any, dict[str, str]]:
        steps = [json.loads(line) for line in self.body.splitlines() if line.strip()]
        header = next(step["value"] for step in steps if step["key"] == "header")
        with repo.lock:
            base = repo.branches[branch]
            if header.get("parentCommit") not in (None, base):
                return self.refuse(412, "A commit has happened since. Please refresh and try again.")
            time.sleep(self.hub.commit_seconds)
            tree = dict(repo.trees[base])
            for step in steps:
                self.apply(tree, step["key"], step["value"])
            number = 1 + sum(b.startswith("refs/pr/") for b in repo.branches)
            oid = repo.commit(f"refs/pr/{number}" if proposes else branch, tree, header["summary"])
        url = f"{self.hub.url}/datasets/tester/lake"
        pull = {"pullRequestUrl": f"{url}/discussions/{number}"} if proposes else {}
        return 200, {"success": True, "commitOid": oid, "commitUrl": f"{url}/commit/{oid}", "hookOutput": "", **pull}, {}

    def apply(self, tree: dict[str, File], key: str, value: dict[str, Any]) -> None:
        if key == "file":
            data = base64.b64decode(value["content"])
            tree[value["path"]] = File(len(data), data=data)
        elif key == "lfsFile":
            tree[value["path"]] = File(len(self.hub.blobs[value["oid"]]), value["oid"])
        elif key == "deletedFile":
            del tree[value["path"]]

    def resolve(self, repo: Repo, revision: str, path: str) -> tuple[int, Any, dict[str, str]]:
        if (head := repo.find(revision)) is None:
            return self.refuse(404, "Invalid rev id", "RevisionNotFound")
        headers = {"X-Repo-Commit": head, "Accept-Ranges": "bytes"}
        if (file := repo.trees[head].get(path)) is None:
            return 404, {"error": "Entry not found"}, {**headers, "X-Error-Code": "EntryNotFound"}
        if not file.sha256:
            return self.ranged(file.data, {**headers, "ETag": f'"{file.oid}"'})
        linked = {"X-Linked-Size": str(file.size), "X-Linked-Etag": f'"{file.oid}"', "ETag": f'"{file.oid}"'}
        return 302, b"", {**headers, **linked, "Location": f"{self.hub.cdn}/_lfs/{file.sha256}"}

    def ranged(self, data: bytes, headers: dict[str, str]) -> tuple[int, Any, dict[str, str]]:
        headers = {**headers, "Content-Type": "application/octet-stream"}
        match = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range") or "")
        if not match:
            self.hub.bytes_sent += len(data) if self.command == "GET" else 0
            return 200, data, headers
        first = int(match[1]) if match[1] else max(0, len(data) - int(match[2]))
        last = min(int(match[2]), len(data) - 1) if match[1] and match[2] else len(data) - 1
        if first > last:
            return 416, b"", {"Content-Range": f"bytes */{len(data)}"}
        self.hub.bytes_sent += last + 1 - first
        return 206, data[first : last + 1], {**headers, "Content-Range": f"bytes {first}-{last}/{len(data)}"}
