"""How long every shipped query takes in the browser: seconds from the click to the answer, on the page of SQL of a report.

The first query of a table waits until the table is read, so each is timed twice: on a page just opened, and again there.
`make report TO=site && python tests/bench/measure_browser.py site [QUERY ...]`
"""

import functools
import http.server
import runpy
import sys
import threading
import time
from pathlib import Path
from typing import Any

CONFTEST = Path(__file__).parents[1] / "queries" / "report" / "conftest.py"


def served(site: Path) -> str:
    """The address at which this process answers with files of `site`, with range requests as static hosts do."""
    handler: Any = type("Handler", (runpy.run_path(str(CONFTEST))["Ranges"],), {"served": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_address[1]}"


def seconds(page: Any) -> float:
    """Wall seconds of one click on Run."""
    began = time.perf_counter()
    page.click("#run")
    page.locator("#run:enabled").wait_for(timeout=600_000)
    return time.perf_counter() - began


def measure(site: Path, names: list[str]) -> None:
    """Print a line a query: seconds on a page just opened, seconds again, and what the page says."""
    from playwright.sync_api import sync_playwright

    address = served(site)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(f"{address}/sql.html")
        page.wait_for_function("byId('tables').children.length > 0")
        for name in names or page.eval_on_selector_all("#query option", "all => all.map(o => o.value || o.label).slice(1)"):
            page.goto(f"{address}/sql.html?query={name}")
            page.wait_for_function("byId('tables').children.length > 0")
            first, again = seconds(page), seconds(page)
            print(f"{first:7.1f} {again:7.1f} {name}: {page.inner_text('#status')}", flush=True)
        browser.close()


if __name__ == "__main__":
    measure(Path(sys.argv[1]), sys.argv[2:])
