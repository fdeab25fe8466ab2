"""The report in a real browser: no error, no overflow, readable by machines and keys, opened as files and over HTTP."""

import json
from pathlib import Path

import pytest

from lake import connect
from queries.report import engine
from queries.report.site import build
from queries.run import shipped

PAGES = (
    "index.html", "examples/test-0.html", "examples/train-7.html", "galleries/leaks.html", "queries/lds.html", "search.html",
    "sql.html", "galleries/index.html", "queries/index.html",
)  # fmt: skip
"""One of every kind; the first six have every colour and element that there is."""
LOOKS = [(390, "dark"), (1440, "light")]


LEFT = "net::ERR_ABORTED"
"""What becomes of images that are on their way when a page is left."""


@pytest.fixture
def open_page(browser):
    """A function from width and colour scheme to a page, whose `errors` and `hosts` collect what went wrong and who was called."""
    contexts = []

    def start(width=1440, scheme="light"):
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.errors, page.hosts = [], set()
        page.on("console", lambda message: page.errors.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        page.on("request", lambda request: page.hosts.add(request.url.split("/")[2]))
        page.on("requestfailed", lambda request: page.errors.append(request.url) if request.failure != LEFT else None)
        return page

    yield start
    for context in contexts:
        context.close()


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
def test_pages_fit_the_screen_and_say_no_error(open_page, site, width, scheme):
    page = open_page(width, scheme)
    for path in PAGES:
        page.goto(f"{site.as_uri()}/{path}")
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, path
        smallest = page.evaluate(
            "Math.min(...[...document.querySelectorAll('main *')].filter(e => e.textContent.trim() && e.getClientRects().length)"
            ".map(e => parseFloat(getComputedStyle(e).fontSize) * (e.ownerSVGElement ? Math.hypot(e.getScreenCTM().a, e.getScreenCTM().b) : 1)))"
        )
        assert smallest >= 9, path
        dark = sum(page.evaluate("getComputedStyle(document.documentElement).backgroundColor.match(/\\d+/g).map(Number)")) < 300
        assert dark == (scheme == "dark")
    assert page.errors == []
    assert page.hosts <= {""}


@pytest.mark.parametrize(("width", "scheme"), [*LOOKS, (390, "light"), (1440, "dark")])
def test_axe_finds_nothing(open_page, site, width, scheme, pytestconfig):
    axe = pytest.importorskip("axe_playwright_python", reason="axe-playwright-python is not installed")
    page, source = open_page(width, scheme), (Path(axe.__file__).parent / "axe.min.js").read_text("utf-8")
    for path in {(1440, "light"): PAGES, (390, "dark"): PAGES[:6]}.get((width, scheme), PAGES[:1]):
        page.goto(f"{site.as_uri()}/{path}")
        page.evaluate(source)
        found = page.evaluate("axe.run({ resultTypes: ['violations'] })")
        assert [(v["id"], v["nodes"][0]["html"]) for v in found["violations"]] == [], (path, width, scheme)
        assert len(found["passes"]) > 10


def test_images_stay_crisp(open_page, site):
    page = open_page()
    page.goto(f"{site.as_uri()}/examples/test-0.html")
    assert set(page.eval_on_selector_all("img", "all => all.map(i => getComputedStyle(i).imageRendering)")) == {"pixelated"}
    assert page.eval_on_selector("img", "i => [i.naturalWidth, i.clientWidth, i.clientHeight]") == [8, 256, 256]


def test_search_by_class_and_number_and_by_keys_alone(open_page, site):
    page = open_page()
    page.goto(f"{site.as_uri()}/search.html")
    assert page.inner_text("#found") == "17 images"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.focus("input[name=id]")
    page.keyboard.type("5")
    page.keyboard.press("Tab")
    page.keyboard.type("1")
    assert page.inner_text("#found") == "One image"
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**/examples/train-5.html")
    page.goto(f"{site.as_uri()}/search.html?label=0&split=test&order=low")
    assert page.inner_text("#found") == "2 images"
    margins = [float(text.split()[-1].replace("−", "-")) for text in page.locator(".why").all_inner_texts()]
    assert margins == sorted(margins)
    assert page.errors == []


def test_keys_reach_everything_and_focus_is_seen(open_page, site):
    page = open_page()
    page.goto(f"{site.as_uri()}/queries/lds.html")
    wanted = page.evaluate("document.querySelectorAll('a[href], [tabindex=\"0\"]').length")
    seen = set()
    for _ in range(wanted):
        page.keyboard.press("Tab")
        seen.add(page.evaluate("[...document.querySelectorAll('*')].indexOf(document.activeElement)"))
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert len(seen) == wanted > 10


def test_a_file_page_of_sql_says_what_to_do_without_an_engine(open_page, site):
    page = open_page()
    page.goto(f"{site.as_uri()}/sql.html")
    assert "make sql" in page.inner_text("main")
    assert page.errors == []


@pytest.fixture(scope="module")
def with_engine(tmp_path_factory, pictured):
    """The report with DuckDB-WASM, fetched by npm or from the cache."""
    if missing := engine.find(offline=False).missing:
        pytest.skip(f"DuckDB-WASM cannot be had: {missing}")
    return build(pictured.root, tmp_path_factory.mktemp("engine") / "site", "toy").out


def ran(page):
    """Run what the page has, and wait for its status."""
    page.click("#run")
    page.locator("#run:enabled").wait_for(timeout=120_000)
    return page.inner_text("#status")


@pytest.mark.slow
def test_every_shipped_query_runs_in_the_browser_as_it_does_here(open_page, with_engine, serve, pictured):
    address, served = serve(with_engine)
    page, connection = open_page(), connect(pictured.root)
    page.goto(f"{address}/sql.html?query=top_weights")
    for query in shipped().values():
        page.select_option("#query", query.name)
        n = len(connection.execute(query.sql, {p.name: p.value(p.default or "0") for p in query.params}).fetchall())
        assert ran(page).startswith(f"{n:,} row"), query.name
    assert page.errors == []
    assert page.hosts == {address.removeprefix("http://")}
    assert len([path for path, asked in served if path.startswith("/data/") and asked.startswith("bytes=")]) > 20


@pytest.mark.slow
def test_free_sql_reads_only_the_columns_it_names_and_reaches_nobody(open_page, with_engine, serve, pictured):
    address, _ = serve(with_engine)
    page = open_page()
    page.goto(f"{address}/sql.html")
    page.fill(
        "#sql",
        "select status, count(*) as n, round(avg(test_margin[1]), 4) as m from margins where role = 'fit' group by status",
    )
    assert ran(page).startswith("1 row")
    expected = (
        connect(pictured.root)
        .sql("select count(*) as n, round(avg(test_margin[1]), 4) as m from margins where role = 'fit'")
        .fetchall()[0]
    )
    assert page.locator("#answer td").all_inner_texts() == ["ok", *(f"{value:g}" for value in expected)]
    assert page.evaluate("[...loaded.get('margins')].sort()") == ["role", "status", "test_margin"]
    for sql in (
        "from 'https://example.org/x.parquet'",
        "load httpfs",
        "select nothing from masks",
        "from read_csv('/etc/passwd')",
    ):
        page.fill("#sql", sql)
        ran(page)
        assert "bad" in page.get_attribute("#status", "class"), sql
    page.fill("#sql", "select * from masks order by all")
    assert ran(page).startswith("30 rows")
    assert page.locator("#answer th").all_inner_texts() == ["study_id", "role", "mask_id", "alpha", "design", "mask"]
    assert page.hosts == {address.removeprefix("http://")}
    with page.expect_download() as download:
        page.click("#download")
    assert len(Path(download.value.path()).read_text().splitlines()) == 31


@pytest.mark.slow
def test_a_page_of_sql_opened_as_a_file_says_to_serve_it(open_page, with_engine):
    page = open_page()
    page.goto(f"{with_engine.as_uri()}/sql.html")
    assert "python -m http.server" in page.inner_text("#file")
    assert page.is_disabled("#run")
    assert page.errors == []
    assert json.loads((with_engine / "data" / "catalog.json").read_text())["tables"]["masks"]["columns"]["mask"] == "BLOB"
