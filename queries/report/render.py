"""Templates to pages: one Jinja environment, the filters that write numbers, and the one function that writes a page."""

from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from queries.report.images import Image

FOLDER = Path(__file__).parent


@cache
def environment() -> Environment:
    """The environment of all templates: values are escaped, and an unknown name is an error."""
    made = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"number": number, "signed": signed, "percent": percent, "words": words, "count": count, "cell": cell}
    made.globals["thumb"] = thumb
    made.tests["numeric"] = lambda value: isinstance(value, int | float) and not isinstance(value, bool)
    return made


def write(site: Path, path: str, template: str, **values: Any) -> None:
    """Render `template` to the page at `path` below `site`; links on it start at `root`."""
    root = "../" * path.count("/")
    text = environment().get_template(template).render(root=root, path=path, **values)
    (site / path).write_text(text, "utf-8")


@cache
def thumb(image: Image, root: str, size: int = 96) -> Markup:
    """An image as a square of `size` pixels; kept, because a page has two dozen and a strong image is on many pages."""
    return Markup('<img class="pixels" src="{}images/{}.png" width="{}" height="{}" loading="lazy" alt="{}, class {}">').format(
        root, image.key, size, size, image.name, image.label
    )


def number(value: float | None, digits: int = 3) -> str:
    """Three digits after the point, a dash for NULL."""
    return "–" if value is None else f"{value:.{digits}f}".replace("-", "−")


def signed(value: float | None, digits: int = 2) -> str:
    """With its sign: weights and changes."""
    return "–" if value is None else f"{value:+.{digits}f}".replace("-", "−")


def percent(value: float | None, digits: int = 1) -> str:
    """A fraction as a percentage."""
    return "–" if value is None else f"{100 * value:.{digits}f}%"


def count(value: float | None) -> str:
    """A whole number with its thousands apart."""
    return "–" if value is None else f"{value:,.0f}"


def cell(value: Any) -> str:
    """A value of a query's result: four significant digits, nothing for NULL."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}".replace("-", "−")
    return str(value)


def words(name: str) -> str:
    """A name of columns and queries as words: `label_suspects` is `label suspects`."""
    return name.replace("_", " ")
