"""The page after a build: how accurate the models are, how well the datamodels predict them, and where to look next.

It is made from the queries `accuracy` and `lds` alone, so that each number on it can be asked for by itself.
"""

import tomllib
from pathlib import Path
from typing import Any

import duckdb
from rich.console import Console
from rich.table import Table

from lake.errors import UsageError
from queries.run import find, hint, run


def summarize(connection: duckdb.DuckDBPyConnection, study: str, console: Console) -> None:
    """Print the summary of a study, given by name or by the path of its TOML file, on `console`."""
    name = study_name(study)
    models = run(connection, find("accuracy"), {"study": name}).to_pylist()
    if not models:
        _say(console, f"study {name}: {hint(connection, {'study': name})}")
        return
    _say(console, f"study {name}")
    for row in models:
        _say(console, _accuracy(row))
    fits = run(connection, find("lds"), {"study": name, "split": "test"}).to_pylist()
    if not fits:
        _say(console, "no datamodel has predictions yet: make build-missing")
        return
    judged = f"{fits[0]['n_targets']:,} test targets over {fits[0]['n_masks']} held-out masks"
    _say(console, f"\nLDS of {judged}; no prediction can pass the ceiling")
    console.print(_lds(fits))
    _say(console, f"\n{_next(name)}")


def study_name(study: str) -> str:
    """The name of a study given by name or by the path of its TOML file; UsageError when the file has none."""
    if not study.endswith(".toml"):
        return study
    try:
        return str(tomllib.loads(Path(study).read_text("utf-8"))["name"])
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, KeyError) as error:
        raise UsageError(
            f"{study}: no readable study file ({type(error).__name__}: {error}); give a name or a .toml file"
        ) from error


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _accuracy(row: dict[str, Any]) -> str:
    kind = {"fit": "to fit on", "heldout": "held out"}.get(row["role"], row["role"])
    lost = ", ".join(f"{row[f'n_{word}']} {word}" for word in ("diverged", "failed") if row[f"n_{word}"])
    shares = [f"{half} {_share(row[f'{half}_accuracy'], row[f'{half}_accuracy_sd'])}" for half in ("test", "train")]
    return f"{row['n_models']:>7,} models {kind}: accuracy {', '.join(shares)}" + (f" ({lost})" if lost else "")


def _share(mean: float | None, deviation: float | None) -> str:
    if mean is None:
        return "-"
    return f"{100 * mean:.1f}%" + ("" if deviation is None else f" (sd {100 * deviation:.1f})")


def _lds(fits: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("fit", no_wrap=True)
    for title in (f"LDS ({fits[0]['n_repeats']:.3g} runs)", "95% interval", "ceiling", "LDS (1 run)", "ceiling"):
        table.add_column(title, justify="right", no_wrap=True)
    for row in fits:
        interval = f"{_number(row['lds_low'])} to {_number(row['lds_high'])}"
        single = (_number(row["lds_single"]), _number(row["ceiling_single"]))
        table.add_row(row["fit"], _number(row["lds_repeats"]), interval, _number(row["ceiling"]), *single)
    return table


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _next(name: str) -> str:
    commands = {
        f"make report STUDY={name}": "pages to look at: images, what helps them, removals",
        f'make query Q=proponents PARAMS="study={name} target_id=0"': "what raises the margin of a target",
        f'make query Q=how_many_models PARAMS="study={name}"': "whether more models would help",
        f'make query Q=label_suspects PARAMS="study={name}"': "labels that look wrong",
        "make queries": "every question",
    }
    width = max(map(len, commands))
    return "\n".join(["where to go next:", *(f"  {command:<{width}}  {what}" for command, what in commands.items())])
