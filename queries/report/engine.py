"""What runs SQL in a reader's browser: files of four npm packages, fetched once, checked, and put into the site.

They are pinned by version and by the hash that npm publishes, and fetched by `npm pack`; a cache keeps the archives, so a
later report needs neither npm nor a network. DuckDB-WASM's own parquet reader is an extension that it loads from another host
while a page is open. Here a page calls no other host, so hyparquet reads the files (fzstd unpacks their pages) and hands them
to DuckDB as Arrow.
"""

import base64
import hashlib
import os
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "datamodels-lake"
_SECONDS = 120


@dataclass(frozen=True)
class Package:
    """An npm package at one version, the SHA-512 of its archive (base64), its licence, and which files go where."""

    name: str
    version: str
    sha512: str
    licence: str
    files: tuple[tuple[str, str], ...]
    """Pairs of a path in the archive and one in the site; a path that ends in / stands for all that lies below."""

    @property
    def archive(self) -> str:
        """Name of the archive."""
        return f"{self.name.rpartition('/')[2]}-{self.version}.tgz"


PACKAGES = (
    Package(
        "@duckdb/duckdb-wasm", "1.32.0",
        "IewXTNYEjsZCPE9weUWgtjGxUlMRo7qhX0GF6tq/KjK8bnY+RAl4cyUdYUfcdzbyb4b9ZxPC+FOsCcxgaKFWMg==", "MIT",
        (
            ("dist/duckdb-eh.wasm", "duckdb-eh.wasm"),
            ("dist/duckdb-browser-eh.worker.js", "duckdb-worker.js"),
            ("dist/duckdb-browser.mjs", "duckdb.mjs"),
        ),
    ),
    Package(
        "apache-arrow", "17.0.0",
        "X0p7auzdnGuhYMVKYINdQssS4EcKec9TCXyez/qtJt32DrIMGbzqiaMiQ0X6fQlQpw8Fl0Qygcv4dfRAr5Gu9Q==", "Apache-2.0",
        (("Arrow.es2015.min.js", "arrow.js"),),
    ),
    Package(
        "hyparquet", "1.33.0",
        "8EKLe73vRIMEKVEOe5y+kIzFxo6AvbLvd5ukd7P+yv3RvG0+TZM4qO8imbqxU6zds5pV+OeWRTMwy95mhHUheg==", "MIT",
        (("src/", "hyparquet/"),),
    ),
    Package(
        "fzstd", "0.1.1",
        "dkuVSOKKwh3eas5VkJy1AW1vFpet8TA/fGmVA5krThl8YcOVE/8ZIoEA1+U1vEn5ckxxhLirSdY837azmbaNHA==", "MIT",
        (("esm/index.mjs", "fzstd.mjs"),),
    ),
)  # fmt: skip

_ARROW = "export const { Type, RecordBatchReader, Table, tableToIPC } = globalThis.Arrow;\n"


@dataclass(frozen=True)
class Engine:
    """Archives at hand, by package; none when they cannot be had, and `missing` says why."""

    archives: tuple[tuple[Package, Path], ...] = ()
    missing: str = ""

    @property
    def digest(self) -> str:
        """Which versions there are, empty for none: a site without the engine is made again once it can be had."""
        return " ".join(f"{package.name}@{package.version}" for package, _ in self.archives)


def find(offline: bool) -> Engine:
    """The engine from the cache, or else by npm unless `offline`. A failure is told, not raised."""
    try:
        return Engine(tuple((package, _archive(package, offline)) for package in PACKAGES))
    except OSError as error:
        return Engine(missing=f"{error}")


def unpack(engine: Engine, folder: Path) -> None:
    """Write the engine's files into `folder`, with a list of what they are and under which licence."""
    folder.mkdir()
    for package, archive in engine.archives:
        with tarfile.open(archive) as packed:
            for source, target in package.files:
                _copy(packed, f"package/{source}", folder / target)
    page = folder / "duckdb.mjs"
    page.write_text(page.read_text("utf-8").replace('from"apache-arrow"', 'from"./arrow.mjs"'), "utf-8")
    (folder / "arrow.mjs").write_text(_ARROW, "utf-8")
    lines = [f"{p.name} {p.version} (npm), {p.licence}" for p, _ in engine.archives]
    (folder / "NOTICE.txt").write_text("\n".join(lines) + "\n", "utf-8")


def _archive(package: Package, offline: bool) -> Path:
    """Path of the package's archive in the cache; OSError when it is not there and cannot be fetched."""
    path = CACHE / package.archive
    if path.is_file() and _holds(path.read_bytes(), package):
        return path
    if offline:
        raise OSError("this report was made offline")
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        data = _packed(package, Path(folder))
        if not _holds(data, package):
            raise OSError(f"npm gave another {package.name} {package.version} than the pinned one")
        part = Path(folder) / "checked"
        part.write_bytes(data)
        part.replace(path)
    return path


def _packed(package: Package, folder: Path) -> bytes:
    """The archive as `npm pack` gives it; OSError in one line when it does not."""
    command = ["npm", "pack", f"{package.name}@{package.version}", "--silent", "--pack-destination", str(folder)]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=_SECONDS, cwd=folder)
    except FileNotFoundError as error:
        raise OSError("there is no npm, which fetches the parts once") from error
    except subprocess.TimeoutExpired as error:
        raise OSError(f"npm did not give {package.name} within {_SECONDS} s") from error
    except subprocess.CalledProcessError as error:
        raise OSError(f"npm did not give {package.name} ({' '.join(error.stderr.split())[:200]})") from error
    return next(folder.glob("*.tgz")).read_bytes()


def _holds(data: bytes, package: Package) -> bool:
    return base64.b64encode(hashlib.sha512(data).digest()).decode() == package.sha512


def _copy(packed: tarfile.TarFile, source: str, target: Path) -> None:
    """Copy one file of the archive, or every script below a folder of it. Names come from a hash-checked archive."""
    for member in packed.getmembers():
        inside = member.name.removeprefix(source)
        wanted = member.name == source or (source.endswith("/") and member.name.startswith(source) and inside.endswith(".js"))
        if wanted and (content := packed.extractfile(member)):
            path = target / inside if source.endswith("/") else target
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.read())
