"""The whole site in one call: ask, draw, write into a folder beside its place, swap it in.

Nothing of it depends on the clock or the machine, so the same lake and version give the same pages (downloads may differ in
the last bit of a double, which DuckDB sums as its threads finish), and a site that is that of the lake already is left.
"""

import hashlib
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import duckdb

from lake.catalog import connect
from lake.errors import UsageError
from lake.store import Lake
from queries.provenance import Provenance, provenance
from queries.report import engine, folder, pages, sql_page, tables
from queries.report.answers import Answers
from queries.report.images import images_of, write_images
from queries.report.render import FOLDER

PAGES = 5_000
"""Examples that get a page of their own, unless more are asked for."""


@dataclass(frozen=True)
class Report:
    """What a call did: the folder, how many example pages it has, and whether they were written now."""

    out: Path
    pages: int
    new: bool


def build(lake: str | Path, out: Path, study: str, most: int = PAGES, offline: bool = False) -> Report:
    """Write the report of a study to the folder `out`, or leave it when it is that of the lake already.

    `most` examples get pages; `offline` leaves out what SQL in the browser needs from the network, unless it was fetched
    before. Raises UsageError for a folder that is no report, an unknown study, or a lake in the way.
    """
    folder.refuse(out, lake)
    connection = connect(lake, locked=True)
    found = provenance(connection, study)
    if study not in found.fingerprints:
        raise UsageError(f"no study {study!r} in {lake}; {_known(connection)}")
    tools = engine.find(offline)
    if tools.missing:
        print(f"SQL in the browser is left out: {tools.missing}", file=sys.stderr)
    facts = {"study": study, "lake": found.revision, "made_by": _version(), "pages": str(most), "engine": tools.digest}
    if folder.made_from(out) == facts:
        return Report(out, sum(1 for _ in (out / "examples").glob("*.html")), new=False)
    with folder.replaced(out, facts) as site:
        written = _write(Answers(connection, study), site, found, most, Lake(lake), tools)
    return Report(out, written, new=True)


def _write(answers: Answers, site: Path, found: Provenance, most: int, lake: Lake, tools: engine.Engine) -> int:
    images = images_of(answers, most)
    common = {"study": answers.study, "provenance": found}
    shutil.copytree(FOLDER / "assets", site / "assets")
    write_images(answers, site)
    tables.write_queries(answers, site, **common)
    pages.write_overview(answers, site, images, **common)
    pages.write_galleries(answers, site, images, **common)
    pages.write_search(answers, site, images, **common)
    pages.write_examples(answers, site, images, **common)
    sql_page.write_sql(answers, site, lake, tools, **common)
    _write_readme(site, answers.study)
    return sum(image.paged for image in images.values())


def _write_readme(site: Path, study: str) -> None:
    """The header by which the Hub serves the folder as a static Space."""
    head = f"---\ntitle: Datamodels of {study}\nsdk: static\napp_file: index.html\nlicense: mit\n---\n"
    (site / "README.md").write_text(f"{head}\nA report of the datamodels lake: open `index.html`.\n", "utf-8")


def _version() -> str:
    """Hash over everything that makes the pages: the queries and this package."""
    digest = hashlib.sha256(duckdb.__version__.encode())
    for path in sorted(p for p in FOLDER.parent.rglob("*") if p.suffix in (".py", ".sql", ".html", ".css", ".js")):
        digest.update(str(path.relative_to(FOLDER.parent)).encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def _known(connection: duckdb.DuckDBPyConnection) -> str:
    names = [name for (name,) in connection.execute("select study_id from studies order by study_id").fetchall()]
    return f"there are {', '.join(names)}: choose one with --study" if names else "nothing is there yet: make build-missing"


def say(report: Report) -> None:
    """Print what was done, and how to look at it."""
    done = f"{report.pages:,} example pages" if report.new else "nothing to do, it is that of this lake"
    print(f"report {report.out / 'index.html'}: {done}", file=sys.stderr)
