"""B13: a Hub whose answers never end, open to gigabytes, or list a million files; each is left within 10 s and 512 MB."""

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest
from fakehub import FakeHub
from fakehub_repo import Repo
from huggingface_hub import HfApi
from world import ROOT, masks, stored

from lake.hub import Hub
from lake.mirror import Request
from lake.pull import pull
from lake.push import push
from lake.store import Lake

PULL = """
import os, re, sys, time
os.environ["HF_HUB_DISABLE_XET"] = "1"
from huggingface_hub import HfApi
from lake import bounded
from lake.errors import LakeError
from lake.hub import Hub
from lake.mirror import Request
from lake.pull import pull
from lake.store import Lake
_, root, url, most = sys.argv
bounded.MOST = int(most) or bounded.MOST
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) // 1024
hub = Hub("tester/lake", api=HfApi(endpoint=url, token="hf_x"), pause=lambda seconds: None)
before, began = peak(), time.process_time()
try:
    pull(Lake(root), hub, Request()).finish()
    code = 0
except LakeError as error:
    print(error, file=sys.stderr)
    code = error.exit_code
print(peak() - before, time.process_time() - began)
sys.exit(code)
"""


def hub_of(server: FakeHub) -> Hub:
    return Hub("tester/lake", api=HfApi(endpoint=server.url, token="hf_x"))


@pytest.fixture
def server(tmp_path):
    """A fake Hub with a lake of two partitions."""
    with FakeHub(page=20_000) as fake:
        fake.repos["tester/lake"] = Repo()
        lake = Lake(tmp_path / "source")
        for index in range(2):
            lake.publish(*masks(index))
        push(lake, hub_of(fake), Request(), lambda line: None)
        yield fake


def entries(n: int) -> list[dict]:
    """Lines of a listing of so many files."""
    return [{"type": "file", "path": f"masks/study=half/fit-{i:07d}.parquet", "size": 9, "oid": f"{i:040x}"} for i in range(n)]


def line(kind: str = "file") -> bytes:
    return json.dumps({"type": kind, "path": "x", "size": 9, "oid": "0" * 40}).encode() + b","


def again(hub: FakeHub) -> dict[str, str]:
    return {"Link": f'<{hub.url}/tree/>; rel="next"'}


TREE = r"/tree/"
FLOODS = {
    "a listing that never ends": lambda hub: hub.flood("GET", TREE, b"[", line() * 1_000),
    "a listing of nothing but blanks": lambda hub: hub.flood("GET", TREE, b"[", b" " * 65_536),
    "a listing that is nested without end": lambda hub: hub.fail("GET", TREE, 200, body=b"[" * 1_000_000),
    "a million files in one answer": lambda hub: hub.fail("GET", TREE, 200, body=json.dumps(entries(1_000_000)).encode()),
    "a million files, page by page": lambda hub: hub.extra.extend(entries(1_000_000)),
    "one page that leads to itself": lambda hub: hub.fail(
        "GET", TREE, 200, 10_000, body=b"[" + (line() * 1_000)[:-1] + b"]", headers=again(hub)
    ),
    "folders without end": lambda hub: hub.fail(
        "GET", TREE, 200, 10_000, body=b"[" + (line("directory") * 1_000)[:-1] + b"]", headers=again(hub)
    ),
    "a packed answer of a gigabyte": lambda hub: hub.fail(
        "GET", TREE, 200, body=gzip.compress(bytes(10**9), 1), headers={"Content-Encoding": "gzip"}
    ),
    "a head that never ends": lambda hub: hub.flood("GET", r"/revision/", b'{"sha": "', b"0" * 65_536),
    "a file that never ends": lambda hub: hub.flood("GET", r"/_lfs/", b"PAR1", b"\0" * 65_536, 100),
}
FAST = ("a listing that never ends", "a file that never ends")


def pulled(folder: Path, server: FakeHub, most: int = 0) -> tuple[int, float, float, str]:
    """Exit code of a pull into `folder`, megabytes that it took, seconds of its CPU, and what it said."""
    command = [sys.executable, "-c", PULL, str(folder), server.url, str(most)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=150, cwd=ROOT, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    grew, seconds = map(float, done.stdout.splitlines()[-1].split())
    return done.returncode, grew, seconds, done.stderr


@pytest.mark.row("B13")
@pytest.mark.parametrize("what", [what if what in FAST else pytest.param(what, marks=pytest.mark.slow) for what in FLOODS])
def test_an_answer_without_an_end_is_left(tmp_path, server, tally, audited, what):
    """It is, for a reason, in bounded time, memory and disk; and what an honest answer brings is taken."""
    folder = tmp_path / "lake"
    lake = Lake(folder)
    FLOODS[what](server)
    code, grew, seconds, said = pulled(folder, server)
    assert code in (1, 4), (what, said)
    assert grew < 512, what
    assert seconds < 10, what
    held = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    assert held < 100_000, what  # nor is the disk filled
    server.faults.clear()
    server.extra.clear()
    pull(lake, hub_of(server), Request(), lambda line: None).finish()
    assert len(stored(lake)) == 2
    assert audited(lake) == []
    tally(bad_tried=1, refused=1)


@pytest.mark.slow
@pytest.mark.row("B13", control=True)
def test_without_a_bound_an_answer_is_read_as_long_as_it_goes_on(tmp_path, server):
    server.fail("GET", TREE, 200, body=b"[" + b" " * 300_000_000 + b"]")
    code, grew, _, _ = pulled(tmp_path / "lake", server, 10**12)
    assert code == 0
    assert grew > 300
