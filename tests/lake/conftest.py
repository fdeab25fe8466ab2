"""Fixtures of the lake's tests: a fake Hub for the real client, and an S3 server."""

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from fakehub import FakeHub
from fakehub_repo import Repo
from huggingface_hub import HfApi
from huggingface_hub.utils import _http

from lake.hub import Hub

REPO = "tester/lake"


@pytest.fixture(autouse=True)
def _no_pauses_in_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client's own retries sleep for seconds."""
    real = _http.time
    monkeypatch.setattr(_http, "time", SimpleNamespace(**{**vars(real), "sleep": lambda seconds: None}))


@pytest.fixture
def server() -> Iterator[FakeHub]:
    """A fake Hub with one empty repo, which lists seven files a page."""
    with FakeHub(page=7) as fake:
        fake.repos[REPO] = Repo()
        yield fake


@pytest.fixture(scope="session")
def store() -> Iterator[str]:
    """Endpoint of an S3 server on this machine."""
    moto = pytest.importorskip("moto.server")
    pytest.importorskip("s3fs")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """s3:// address of a new bucket; the environment is that of somebody who may use it."""
    import s3fs

    settings = {"AWS_ENDPOINT_URL": store, "AWS_ACCESS_KEY_ID": "ada", "AWS_SECRET_ACCESS_KEY": "secret"}
    for name, value in (settings | {"AWS_DEFAULT_REGION": "us-east-1", "LAKE_CACHE": str(tmp_path / "cache")}).items():
        monkeypatch.setenv(name, value)
    name = f"b-{uuid.uuid4().hex}"
    s3fs.S3FileSystem(skip_instance_cache=True).mkdir(name)
    return f"s3://{name}"


@pytest.fixture
def hub_of(server: FakeHub) -> Callable[..., Hub]:
    """Makes the repo as a session sees it; `pauses` lists the seconds that it would have waited."""

    def make(revision: str = "main", token: str = "hf_secretsecret", **options: object) -> Hub:
        pauses: list[float] = []
        hub = Hub(REPO, revision, api=HfApi(endpoint=server.url, token=token), pause=pauses.append, **options)
        hub.pauses = pauses
        return hub

    return make
