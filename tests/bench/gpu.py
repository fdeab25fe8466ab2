"""`make bench-gpu`: what this machine's card does, in under ten minutes: matrix peak, models a second, regression at paper size.

Each section is a process of its own with a share of the time: it prints a line of JSON for each figure as it comes, and is
ended when its share is over, so that a crash, a hang or a lack of memory costs that section alone. A section that fails is
named in the record and makes the exit code 1. The record lies in tests/bench/results/gpu-<card>.json. Without a CUDA device
every section runs in a small form on the processor, says so, and keeps no record unless `--output` asks for it.
"""

import argparse
import datetime
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import gpu_regression
import gpu_training
from rich.console import Console
from rich.table import Table

Figure = dict[str, Any]
"""What a section measured: `name`, `value`, `unit`, and notes; or `name` and `failed`, a reason."""

Section = Callable[[bool, float], Iterator[Figure]]
"""Called with (small, time at which to stop): figures, as they come."""

SECTIONS: dict[str, tuple[float, Section]] = {
    "matrix-peak": (20, gpu_training.peak),
    "regression-few": (45, gpu_regression.few),
    "regression-paper": (170, gpu_regression.paper),
    "resnet9-fast": (115, gpu_training.of("resnet9-fast")),
    "resnet9": (115, gpu_training.of("resnet9")),
    "small-cnn": (75, gpu_training.of("small-cnn")),
    "patchnet": (30, gpu_training.of("patchnet")),
}
"""Seconds of each section, 570 in all; and what it does."""

ASKED: dict[str, tuple[float, Section]] = {"accuracy-by-epochs": (90, gpu_training.accuracy)}
"""Sections that run when `--only` names them."""

GRACE = 5.0
"""Seconds after its share in which a section may still end by itself."""


def main() -> int:
    """Run the sections, print the table, write the record; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=sorted(SECTIONS | ASKED), nargs="*", help="some of the sections")
    parser.add_argument("--output", type=Path, help="where to keep the record")
    parser.add_argument("--small", action="store_true", help="sizes for a processor, even where there is a card")
    parser.add_argument("--scale", type=float, default=1.0, help="of every section's seconds")
    parser.add_argument("--section", choices=sorted(SECTIONS | ASKED), help=argparse.SUPPRESS)
    options = parser.parse_args()
    card = card_name()
    small = options.small or card is None
    if options.section:
        show(options.section, small, options.scale)
        return 0
    if card is None:
        print(
            "no CUDA device: sections run in a small form on the processor, whose figures say nothing of a card",
            file=sys.stderr,
        )
    figures = [figure for name in options.only or SECTIONS for figure in measured(name, small, options.scale)]
    Console(width=150).print(as_table(figures))
    failed = sorted({figure["section"] for figure in figures if "failed" in figure})
    record(figures, failed, card, options.output)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def card_name() -> str | None:
    """Name of the CUDA device, None where there is none."""
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def show(section: str, small: bool, scale: float) -> None:
    """Body of a section's process: its figures, a line of JSON each."""
    seconds, work = (SECTIONS | ASKED)[section]
    for figure in work(small, time.monotonic() + seconds * scale):
        print(json.dumps(figure), flush=True)


def measured(section: str, small: bool, scale: float) -> list[Figure]:
    """The figures of a section, the last of which says why it failed, if it did."""
    print(f"measuring {section}", file=sys.stderr, flush=True)
    command = [sys.executable, __file__, "--section", section, "--scale", str(scale), *(["--small"] if small else [])]
    start, reason = time.monotonic(), ""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as said:
        try:
            code = subprocess.run(
                command, stdout=out, stderr=said, timeout=(SECTIONS | ASKED)[section][0] * scale + GRACE
            ).returncode
        except subprocess.TimeoutExpired:
            code, reason = 1, "its share of the time was over"
        for file in (out, said):
            file.seek(0)
        figures = [json.loads(line) for line in out.read().splitlines() if line.startswith("{")]
        lines = said.read().strip().splitlines() or ["it said nothing"]
    if code:
        figures.append({"name": "section", "failed": reason or f"exit code {code}: {lines[-1]}"})
    figures.append({"name": "section", "value": time.monotonic() - start, "unit": "s"})
    return [{"section": section, **figure} for figure in figures]


def as_table(figures: list[Figure]) -> Table:
    """The figures for people."""
    table = Table("section", "what", "value", "unit", "note")
    for figure in figures:
        rest = {k: v for k, v in figure.items() if k not in ("section", "name", "value", "unit", "failed")}
        note = ", ".join(f"{k} {v:,.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in rest.items())
        value = "failed" if "failed" in figure else f"{figure['value']:,.4g}"
        table.add_row(figure["section"], figure["name"], value, figure.get("unit", ""), figure.get("failed", note))
    return table


def record(figures: list[Figure], failed: list[str], card: str | None, output: Path | None) -> None:
    """Write the figures with date and card; sections that were not run keep the figures of the run before."""
    import torch

    if output is None and card is None:
        return
    slug = re.sub("[^a-z0-9]+", "-", (card or "no-cuda").lower()).strip("-")
    path = output or Path(__file__).parent / "results" / f"gpu-{slug}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    before = json.loads(path.read_text()) if path.exists() else {"failed": [], "figures": []}
    run, today = {figure["section"] for figure in figures}, datetime.date.today().isoformat()
    kept = [figure for figure in before["figures"] if figure["section"] not in run]
    failed = sorted({*failed, *(name for name in before["failed"] if name not in run)})
    about = {"card": card, "torch": torch.__version__, "failed": failed}
    text = json.dumps({**about, "figures": kept + [{**f, "date": today} for f in figures]}, indent=1).replace("NaN", "null")
    path.write_text(text + "\n")
    print(f"recorded in {path}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
