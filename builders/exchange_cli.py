"""The commands `adopt` and `export`: others' studies in, ours out."""

from pathlib import Path
from typing import Annotated, Any

import typer

from lake.errors import UsageError
from lake.store import Lake

LakeOption = Annotated[str, typer.Option(help="Folder of the lake.")]
ROLES = {"fit": ("fit",), "heldout": ("heldout",), "all": ("fit", "heldout")}


def adopt(
    name: Annotated[str, typer.Argument(help="What the study is to be called in the lake.")],
    folder: Annotated[Path | None, typer.Argument(help="Folder of a known layout; or name the files by options.")] = None,
    masks: Annotated[Path | None, typer.Option(help=".npy of 0 and 1 [models, training examples].")] = None,
    margins: Annotated[Path | None, typer.Option(help=".npy of margins [models, test examples].")] = None,
    train_margins: Annotated[Path | None, typer.Option(help=".npy of margins [models, training examples].")] = None,
    completed: Annotated[Path | None, typer.Option(help=".npy of flags [models]: rows without one are not taken.")] = None,
    test_weights: Annotated[Path | None, typer.Option(help=".pt with weight, bias and lam of test targets.")] = None,
    train_weights: Annotated[Path | None, typer.Option(help=".pt with weight, bias and lam of training targets.")] = None,
    percent: Annotated[int | None, typer.Option(help="Which of several subset sizes in the folder.")] = None,
    heldout: Annotated[int, typer.Option(help="Models at the end that are kept to judge on.")] = 0,
    dataset: Annotated[str, typer.Option(help="Name of the dataset they were trained on.")] = "unknown",
    margin: Annotated[str, typer.Option(help="How margins were taken: max or logsumexp; a known layout tells.")] = "",
    origin: Annotated[str, typer.Option(help="Where the files are from, kept with the data.")] = "",
    form: Annotated[str, typer.Option(help="Form of the weights, raw or standardised, where the models cannot tell.")] = "",
    lake: LakeOption = "data",
) -> None:
    """Bring masks, margins and weights that others have made into the lake, as a study marked adopted.

    Folders known: the released datamodels data, a store of the paper's code, TRAK's evaluation data (builders/layouts.py).

    Examples:

      python -m builders adopt cifar10-trak downloads --heldout 500

      python -m builders adopt cifar10-released cifar/data --percent 50 --heldout 10000

      python -m builders adopt mine --masks m.npy --margins y.npy --margin max
    """
    from builders import adopt as adopting
    from builders import layouts
    from builders.adopt_source import Source

    found: dict[str, Any] = layouts.find(folder, percent)._asdict() if folder else {}
    files = {"masks": masks, "margins": margins, "train_margins": train_margins, "completed": completed}
    files |= {"test_weights": test_weights, "train_weights": train_weights, "margin": margin}
    found |= {what: given for what, given in files.items() if given}
    if lacking := [f"--{what}" for what in ("masks", "margins", "margin") if not found.get(what)]:
        raise UsageError(
            f"missing {', '.join(lacking)}: name a folder of a known layout, or the files and how margins were taken"
        )
    if found["margin"] not in ("max", "logsumexp"):
        raise UsageError(f"--margin {margin!r}: choose max or logsumexp")
    source = Source(**found, heldout=heldout, dataset=dataset, origin=origin, form=form)
    print(f"study {name}: {len(adopting.adopt(Lake(lake), name, source))} partition(s) added")


def export(
    name: Annotated[str, typer.Argument(help="Study in the lake.")],
    folder: Annotated[Path, typer.Argument(help="Where the .npy files go.")],
    role: Annotated[str, typer.Option(help="fit, heldout, or all: the one after the other.")] = "fit",
    layout: Annotated[str, typer.Option(help="Whose file names: store (the paper's code), released, trak.")] = "store",
    dtype: Annotated[str, typer.Option(help="Type of the margins: float16 or float32.")] = "float16",
    lake: LakeOption = "data",
) -> None:
    """Give a study's masks and margins to other tools as .npy files.

    Example:

      python -m builders export digits exported --role heldout
    """
    from builders import export as exporting

    for option, got, known in (
        ("dtype", dtype, ("float16", "float32")),
        ("role", role, ROLES),
        ("layout", layout, exporting.NAMES),
    ):
        if got not in known:
            raise UsageError(f"--{option} {got!r}: choose {', '.join(known)}")
    print(f"{exporting.export(Lake(lake), name, ROLES[role], folder, layout, dtype)} models in {folder}")
