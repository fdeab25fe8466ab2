"""Fixtures of the lake's tests: a fake Hub for the real client, which reads its settings when it is imported."""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

os.environ.update(
    HF_HUB_DISABLE_XET="1",
    HF_HUB_DISABLE_TELEMETRY="1",
    HF_HUB_DISABLE_PROGRESS_BARS="1",
    HF_HUB_DISABLE_UPDATE_CHECK="1",
    HF_HOME=tempfile.mkdtemp(),
)
sys.path.insert(0, str(Path(__file__).parent))

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


@pytest.fixture
def hub_of(server: FakeHub) -> Callable[..., Hub]:
    """Makes the repo as a session sees it; `pauses` lists the seconds that it would have waited."""

    def make(revision: str = "main", token: str = "hf_secretsecret", **options: object) -> Hub:
        pauses: list[float] = []
        hub = Hub(REPO, revision, api=HfApi(endpoint=server.url, token=token), pause=pauses.append, **options)
        hub.pauses = pauses
        return hub

    return make
