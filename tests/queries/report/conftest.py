"""A small lake in which every section of a report has something to show, its report, and a browser to look at it."""

import functools
import http.server
import io
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lake import Lake
from queries.report.site import build

N_TEST, N_TRAIN = 3, 14
FIT = "lasso-00004"


def png(seed: int) -> bytes:
    """An 8 x 8 grey image."""
    sink = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (8, 8), dtype=np.uint8)).save(sink, "png")
    return sink.getvalue()


def tables(rng: np.random.Generator) -> dict[str, list[dict[str, Any]]]:
    """Rows by table: 3 test and 14 training images, 24 models to fit on, 12 held out, one target with removals."""
    examples = [
        {"split": split, "example_id": i, "label": i % 2, "image_sha256": f"{split} {i}",
         "image": {"bytes": png(100 * len(split) + i), "path": None}}
        for split, n in (("test", N_TEST), ("train", N_TRAIN))
        for i in range(n)
    ]  # fmt: skip
    masks, margins = [], []
    for role, n_masks, repeats in (("fit", 24, 1), ("heldout", 6, 2)):
        for mask_id in range(n_masks):
            included = rng.permutation(N_TRAIN) < N_TRAIN // 2
            masks.append({"role": role, "mask_id": mask_id, "mask": "".join("01"[int(b)] for b in included)})
            for repeat in range(repeats):
                own = {
                    "test_margin": rng.normal(1, 2, N_TEST).tolist(),
                    "train_margin": (rng.normal(0, 1, N_TRAIN) + included).tolist(),
                }
                ids = {"role": role, "model_id": mask_id * repeats + repeat, "mask_id": mask_id, "repeat": repeat}
                margins.append({**ids, **own, "test_accuracy": 0.75, "train_accuracy": 1.0})
    sizes = {"test": N_TEST, "train": N_TRAIN}
    fits = [{"split": split, "fit": FIT, "target_id": i, "n_nonzero": 9} for split, n in sizes.items() for i in range(n)]
    weights = [
        {"split": split, "fit": FIT, "target_id": i, "train_id": j, "weight": float(rng.normal())}
        for split, n in sizes.items() for i in range(n) for j in range(i % 3, N_TRAIN, 2)
    ]  # fmt: skip
    predictions = [
        {"split": split, "fit": FIT, "mask_id": m, "predicted_margin": rng.normal(size=n).tolist()}
        for split, n in sizes.items() for m in range(6)
    ]  # fmt: skip
    removals, after = [], {0: [2.0, 1, 1]}
    for i, (method, k, margin) in enumerate(
        [("datamodel", 1, 1.0), ("datamodel", 2, -1.0), ("random", 1, 2.0), ("random", 2, 2.0)], 1
    ):
        change = {"predicted_change": -float(k) * (method != "random"), "curved_change": -float(k), "removed": list(range(k))}
        removals += [{"role": "removal", "removal_id": i, "target_id": t, "method": method, "k": k, **change} for t in range(2)]
        after[i] = [margin, 0.5, 1]
    for i, outputs in after.items():
        margins.append({"role": "removal", "model_id": i, "mask_id": i, "test_margin": outputs, "test_accuracy": 0.75})
    return {"examples": examples, "masks": masks, "margins": margins, "fits": fits, "weights": weights, "predictions": predictions,
            "removals": removals, **structure()}  # fmt: skip


def structure() -> dict[str, list[dict[str, Any]]]:
    """Two clusters, one component, and distances by which training image 4 is nearly test image 1, and 7 nearly training image 6."""
    members = [("test", i) for i in range(N_TEST)] + [("train", i) for i in range(N_TRAIN)]
    clusters = [
        {"within": within, "split": split, "example_id": i, "cluster": i % 2, "similarity": 1 - i / 32, "fit": FIT}
        for within in ("all", "class") for split, i in members
    ]  # fmt: skip
    components = [{"component": 0, "test_score": [0.5, -0.5, 0], "train_loading": [i / 16 for i in range(N_TRAIN)], "fit": FIT}]
    near = {("test", 1): (4, 0.1), ("train", 6): (7, 0.2), ("train", 7): (6, 0.2)}
    neighbours = []
    for split, i in members:
        train_id, distance = near.get((split, i), ((i + 1) % N_TRAIN, 1.0))
        neighbours.append({"split": split, "example_id": i, "train_id": train_id, "distance": distance})
    return {"clusters": clusters, "components": components, "neighbours": neighbours}


@pytest.fixture(scope="session")
def pictured(tmp_path_factory: pytest.TempPathFactory, add: Callable[..., None]) -> Lake:
    """The lake; to be read only."""
    lake = Lake(tmp_path_factory.mktemp("pictured") / "lake")
    for table, rows in tables(np.random.default_rng(0)).items():
        add(lake, table, rows)
    return lake


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory, pictured: Lake) -> Path:
    """Its report, made without a network."""
    out = tmp_path_factory.mktemp("report") / "site"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("queries.report.engine.CACHE", out.parent / "cache")
        assert build(pictured.root, out, "toy", offline=True).new
    return out


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Debian's chromium, headless; tests skip where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no chromium on this machine: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield opened
        opened.close()


class Ranges(http.server.SimpleHTTPRequestHandler):
    """Files with range requests, as static hosts answer them; `served` holds path and range of what was asked."""

    protocol_version = "HTTP/1.1"
    served: list[tuple[str, str]]

    def log_message(self, *_: object) -> None:
        """Stay silent."""

    def do_GET(self) -> None:
        """Answer with the whole file, or with the part that was asked for."""
        self.served.append((self.path, self.headers.get("Range", "")))
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        path = Path(self.translate_path(self.path))
        if not asked or not path.is_file():
            return super().do_GET()
        first, size = int(asked[1]), path.stat().st_size
        last = min(int(asked[2] or size - 1), size - 1)
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        self.send_header("Content-Length", str(last + 1 - first))
        self.end_headers()
        with path.open("rb") as source:
            source.seek(first)
            self.wfile.write(source.read(last + 1 - first))
        return None


@pytest.fixture(scope="session")
def serve() -> Iterator[Callable[[Path], tuple[str, list[tuple[str, str]]]]]:
    """A function from a folder to the address that serves it and the list of what was asked of it."""
    servers = []

    def start(folder: Path) -> tuple[str, list[tuple[str, str]]]:
        served: list[tuple[str, str]] = []
        handler = type("Handler", (Ranges,), {"served": served})
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=str(folder)))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}", served

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()
