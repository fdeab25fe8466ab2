"""What a mirror shows of a study that was built: LDS beside its ceiling, a picture, and a catalog that anybody can attach."""

import io
import re
from types import SimpleNamespace

import duckdb
import fsspec
import pytest
from fakehub import FakeHub
from fakehub_repo import Repo
from huggingface_hub import HfApi
from huggingface_hub.utils import _http
from PIL import Image

from lake import shared_catalog, showcase
from lake.catalog import connect
from lake.hub import Hub
from lake.mirror import Request
from lake.push import push

REPO = "tester/lake"


@pytest.fixture
def hub(monkeypatch):
    """A client of an empty repo on a fake Hub; `hub.files()` is what the repo holds."""
    monkeypatch.setattr(_http, "time", SimpleNamespace(**{**vars(_http.time), "sleep": lambda seconds: None}))
    with FakeHub() as fake:
        fake.repos[REPO] = Repo()
        client = Hub(REPO, api=HfApi(endpoint=fake.url, token="hf_secretsecret"), pause=lambda seconds: None)
        client.files = lambda: {path: entry.data for path, entry in fake.repos[REPO].tree.items()}
        yield client


class Mirror(fsspec.AbstractFileSystem):
    """The files of a repo under hf://, and what was opened of them."""

    protocol = "hf"
    cachable = False

    def __init__(self, files):
        super().__init__()
        self.files, self.opened = {f"hf://datasets/{REPO}/{path}": data for path, data in files.items()}, set()

    def glob(self, path, maxdepth=None, **options):
        pattern = re.compile(re.escape(path).replace(r"\*", "[^/]*"))
        return [name for name in self.files if pattern.fullmatch(name)]

    def info(self, path, **options):
        return {"name": path, "size": len(self.files[path]), "type": "file"}

    def modified(self, path):
        return shared_catalog.datetime(2000, 1, 1, tzinfo=shared_catalog.UTC)

    def open(self, path, mode="rb", **options):
        self.opened.add(path)
        return io.BytesIO(self.files[path])


@pytest.fixture
def attached(built_copy, hub, tmp_path):
    """DuckDB with nothing of ours but the catalog of a mirror attached, and the file system that it reads through."""
    push(built_copy, hub, Request(), print)
    parquet = {path: (built_copy.root / path).read_bytes() for path in hub.files() if path.endswith(".parquet")}
    file, mirror = tmp_path / "lake.duckdb", Mirror(parquet)
    file.write_bytes(hub.files()[shared_catalog.FILE])
    with duckdb.connect() as connection:
        connection.register_filesystem(mirror)
        connection.execute(f"attach '{file}' as lake (read_only)")
        connection.execute("use lake")
        yield connection, mirror


def test_the_card_gives_each_fit_beside_its_ceiling_as_the_query_does(built_copy, hub):
    push(built_copy, hub, Request(), print)
    text = hub.files()["README.md"].decode()
    figures = "select fit, lds_repeats, ceiling from fit_lds(null, 'test', null, 1)"
    rows = connect(built_copy.root).execute(figures).fetchall()
    assert len(rows) >= 2
    for fit, lds, ceiling in rows:
        assert f"| {fit} | {lds:.3f} | {ceiling:.3f} |" in text


def test_the_picture_shows_a_test_image_of_each_class_and_its_proponents(built_copy, hub, small):
    push(built_copy, hub, Request(), print)
    path = f"pictures/{small.name}.png"
    assert f"![What helps which test image]({path})" in hub.files()["README.md"].decode()
    with Image.open(io.BytesIO(hub.files()[path])) as picture:
        step = showcase.EDGE + showcase.GAP
        rows, rest = divmod(picture.height - showcase.GAP, step)
        assert 2 <= rows <= showcase.CLASSES
        assert rest == 0
        assert len(picture.getcolors(1 << 24)) > 10  # the control: an empty canvas has one


def test_an_idle_push_makes_no_commit_and_a_new_table_makes_one(built_copy, hub):
    push(built_copy, hub, Request(tables=("masks", "margins")), print)
    head, catalog = hub.head(), hub.files()[shared_catalog.FILE]
    push(built_copy, hub, Request(tables=("masks", "margins")), print)
    assert hub.head() == head
    push(built_copy, hub, Request(), print)
    assert hub.files()[shared_catalog.FILE] != catalog


def test_a_machine_with_part_of_a_study_leaves_what_the_whole_one_said(built_copy, hub, small):
    push(built_copy, hub, Request(), print)
    before = hub.files()
    for partition in built_copy.present("predictions"):
        (built_copy.root / partition.path).unlink()
    push(built_copy, hub, Request(), print)
    after = hub.files()
    assert after["README.md"] == before["README.md"]
    assert after[f"pictures/{small.name}.png"] == before[f"pictures/{small.name}.png"]


def test_the_attached_catalog_answers_as_the_lake_does(attached, built_copy):
    connection, mirror = attached
    for question in (
        "select status, count(*) from margins group by status order by all",
        "select fit, round(lds_repeats, 9), round(ceiling, 9) from fit_lds(null, 'test', null, 1) order by fit",
        "select study_id, dataset_id from studies",
    ):
        assert connection.execute(question).fetchall() == connect(built_copy.root).execute(question).fetchall() != []
    assert mirror.opened


def test_the_attached_catalog_sees_partitions_that_came_later(attached):
    connection, mirror = attached
    [(before,)] = connection.execute("select count(*) from masks").fetchall()
    first = next(path for path in sorted(mirror.files) if "/masks/" in path and path.endswith("-00000.parquet"))
    mirror.files[first.replace("-00000", "-00077")] = mirror.files[first]
    [(after,)] = connection.execute("select count(*) from masks").fetchall()
    assert after > before


def test_a_table_without_files_is_empty_in_the_catalog(attached):
    connection, _ = attached
    assert connection.execute("select count(*) from scores").fetchall() == [(0,)]
