"""Charts of the overview: matplotlib draws them small, and their colours and fonts become those of the page.

Each colour below stands for a variable of the style sheet, so that one drawing serves light and dark; text stays text.
"""

import io
import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

VARIABLES = {
    "#010101": "var(--ink)",
    "#020202": "var(--muted)",
    "#030303": "var(--line)",
    "#040404": "var(--up)",
    "#050505": "var(--down)",
    "#060606": "var(--third)",
    "#070707": "var(--fourth)",
    "#080808": "var(--fifth)",
    "#090909": "var(--sixth)",
}
INK, MUTED, LINE, *SERIES = VARIABLES
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "report",
    "font.size": 11,
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "axes.grid": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": 10,
    "lines.linewidth": 1.6,
    "figure.constrained_layout.use": True,
}


def drawn(draw: Callable[[Any], None], name: str, height: float = 3.3) -> str:
    """An inline SVG 4.4 inches wide of what `draw` puts on a matplotlib axes; `name` keeps its ids apart from other charts'."""
    with _axes(height) as (figure, axes):
        draw(axes)
        sink = io.StringIO()
        figure.savefig(sink, format="svg", transparent=True, metadata={"Date": None})
    return _themed(sink.getvalue(), name)


@contextmanager
def _axes(height: float) -> Iterator[tuple[Any, Any]]:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(4.4, height))
        yield figure, figure.add_subplot()


def _themed(svg: str, name: str) -> str:
    """The drawing with the page's colours and font, ids of its own, and no size but its shape."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg[^>]*?) (?:width|height)="[\d.]+pt"', r"\1", svg)
    svg = re.sub(r'(<svg[^>]*?) height="[\d.]+pt"', r"\1", svg)
    svg = re.sub(r"'DejaVu Sans', [^;\"]*", "var(--sans)", svg)
    svg = re.sub(r'\bid="', f'id="{name}-', re.sub(r'(url\(#|href="#)', rf"\g<1>{name}-", svg))
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, variable)
    return svg.replace("<svg ", '<svg aria-hidden="true" focusable="false" ', 1)


def intervals(rows: list[dict[str, Any]], name: str) -> Callable[[Any], None]:
    """LDS of each row, called by its column `name`, as a point with its interval, and its ceiling as a tick."""

    def draw(axes: Any) -> None:
        for place, row in enumerate(reversed(rows)):
            axes.plot(
                [row["lds_low"], row["lds_high"]],
                [place, place],
                color=SERIES[0],
                linewidth=4,
                alpha=0.35,
                solid_capstyle="round",
            )
            axes.plot(row["lds_repeats"], place, "o", color=SERIES[0], markersize=6)
            axes.plot(row["ceiling"], place, "|", color=SERIES[1], markersize=16, markeredgewidth=2)
        axes.set_yticks(range(len(rows)), [row[name] for row in reversed(rows)])
        axes.set_xlabel("LDS; the upright mark is the ceiling")
        axes.grid(axis="y", visible=False)
        axes.margins(y=0.25)

    return draw


def curves(
    rows: list[dict[str, Any]], x: str, y: str, series: str, labels: tuple[str, str], ceiling: str = ""
) -> Callable[[Any], None]:
    """A line for each value of `series`, named at its end by the legend; `ceiling` is a column drawn dashed."""

    def draw(axes: Any) -> None:
        for number, name in enumerate(dict.fromkeys(row[series] for row in rows)):
            own = [row for row in rows if row[series] == name and row[y] is not None]
            axes.plot(
                [r[x] for r in own], [r[y] for r in own], "o-" if number < len(SERIES) else "s--",
                color=SERIES[number % len(SERIES)], markersize=4, label=name,
            )  # fmt: skip
        if ceiling and (top := [row for row in rows if row[ceiling] is not None]):
            axes.axhline(max(row[ceiling] for row in top), color=MUTED, linestyle=(0, (4, 3)), linewidth=1, label="ceiling")
        axes.set_xlabel(labels[0])
        axes.set_ylabel(labels[1])
        longest = max(len(text) for text in axes.get_legend_handles_labels()[1])
        axes.figure.legend(loc="outside lower center", ncols=2 if longest > 14 else 3, handlelength=1.4, columnspacing=1.2)

    return draw


def logarithmic(draw: Callable[[Any], None], ticks: list[int]) -> Callable[[Any], None]:
    """The same with a logarithmic x axis and those of these ticks whose labels have room."""
    shown = _apart(ticks)

    def drawn_so(axes: Any) -> None:
        draw(axes)
        axes.set_xscale("log")
        axes.set_xticks(shown, [f"{tick:,}" for tick in shown])
        axes.minorticks_off()

    return drawn_so


def _apart(ticks: list[int]) -> list[int]:
    """The largest of positive `ticks`, and others that are a seventh of the axis apart on a logarithmic scale, rising."""
    kept: list[int] = []
    for tick in sorted(set(ticks), reverse=True):
        if not kept or math.log(kept[-1] / tick) >= math.log(max(ticks) / min(ticks)) / 7:
            kept.append(tick)
    return kept[::-1]


def scatter(rows: list[dict[str, Any]]) -> Callable[[Any], None]:
    """Predicted against observed drop, a colour for each size, and the line on which both agree."""

    def draw(axes: Any) -> None:
        for number, k in enumerate(sorted({row["k"] for row in rows})):
            own = [row for row in rows if row["k"] == k]
            axes.plot(
                [r["predicted_drop"] for r in own], [r["observed_drop"] for r in own], "o", color=SERIES[number % len(SERIES)],
                markersize=3.5, alpha=0.75, markeredgewidth=0, label=f"{k} removed",
            )  # fmt: skip
        ends = [f(row["predicted_drop"] for row in rows) for f in (min, max)]
        axes.plot(ends, ends, color=MUTED, linestyle=(0, (4, 3)), linewidth=1)
        axes.set_xlabel("predicted drop of the margin (logits)")
        axes.set_ylabel("observed drop")
        axes.figure.legend(loc="outside lower center", ncols=2, handletextpad=0.1, columnspacing=1.6)

    return draw


def bars(pairs: list[tuple[str, float]], label: str) -> Callable[[Any], None]:
    """A horizontal bar for each pair of name and value, largest on top."""

    def draw(axes: Any) -> None:
        ordered = sorted(pairs, key=lambda pair: pair[1])
        axes.barh([name for name, _ in ordered], [value for _, value in ordered], color=SERIES[0], height=0.6)
        axes.set_xlabel(label)
        axes.grid(axis="y", visible=False)

    return draw
