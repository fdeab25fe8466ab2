"""The overview: what the models and datamodels of a study are worth. One function a figure, over one shipped query each.

To add a figure: a function from answers to a `Figure`, or None where the lake has no answer, and a line in `FIGURES`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from queries.report import charts
from queries.report.answers import Answers, Row, grouped
from queries.report.render import cell, count, number, percent, signed

_WRITERS: dict[str, Callable[[Any], str]] = {
    **dict.fromkeys(("n_models", "n_ok", "n_trainings", "files", "rows"), count),
    **dict.fromkeys(
        ("test_accuracy", "test_accuracy_sd", "train_accuracy", "flipped", "share", "share_low", "share_high"), percent
    ),
    **dict.fromkeys(("predicted_drop", "observed_drop"), signed),
}
"""How a column's values are written; otherwise numbers with three digits, and text as it is."""


@dataclass(frozen=True)
class Figure:
    """A chart with what it shows in words, and its numbers as a table; `fits` are those the numbers came from."""

    title: str
    query: str
    caption: str
    svg: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]
    fits: tuple[str, ...]


def figure(title: str, query: str, caption: str, svg: str, rows: list[Row], columns: str) -> Figure:
    """A figure whose table has these columns (names with blanks between) of the rows."""
    names = tuple(columns.split())
    table = [tuple(_written(name, row[name]) for name in names) for row in rows]
    fits = tuple(dict.fromkeys(row["fit"] for row in rows if row.get("fit")))
    return Figure(title, query, caption, svg, names, table, fits)


def _written(column: str, value: Any) -> str:
    if column in _WRITERS:
        return _WRITERS[column](value)
    return number(value) if isinstance(value, float) else cell(value)


def prediction(answers: Answers) -> Figure | None:
    """LDS of each estimator against its ceiling, with the pooled correlation only beside its bias-only baseline."""
    rows = answers.rows("lds", split="test")
    if not rows:
        return None
    best = rows[0]
    caption = (
        f"{best['estimator']} reaches {number(best['lds_repeats'])} of at most {number(best['ceiling'])}, within targets over "
        f"{best['n_masks']} subsets that no fit has seen. Pooled over targets it would be {number(best['pooled_spearman'])}, "
        f"but each target's mean margin alone (bias only) gives {number(best['pooled_bias_only'])}: pooling flatters."
    )
    svg = charts.drawn(charts.intervals(rows, "estimator"), "lds", 0.8 + 0.4 * len(rows))
    columns = "fit lds_repeats lds_low lds_high ceiling lds_single ceiling_single pooled_spearman pooled_bias_only"
    return figure("How well unseen models are predicted", "lds", caption, svg, rows, columns)


def learning_curve(answers: Answers) -> Figure | None:
    """LDS against the number of models."""
    rows = [row for row in answers.rows("how_many_models", split="test") if row["lds_repeats"] is not None]
    if not rows:
        return None
    last = max(rows, key=lambda row: (row["n_models"], row["lds_repeats"]))
    caption = f"With {count(last['n_models'])} models {last['estimator']} has {percent(last['ceiling_share'])} of the ceiling."
    if last["predicted"] is not None:
        caption += (
            f" From fits on at most half of them, {number(last['predicted'])} was to be expected, and it is "
            f"{number(last['lds_repeats'])}; twice as many would give {number(last['predicted_double'])}."
        )
    draw = charts.curves(rows, "n_models", "lds_repeats", "estimator", ("models trained", "LDS"), "ceiling")
    svg = charts.drawn(charts.logarithmic(draw, sorted({row["n_models"] for row in rows})), "curve")
    columns = "fit n_models lds_repeats lds_low lds_high ceiling predicted error predicted_double"
    return figure("How many models are enough", "how_many_models", caption, svg, rows, columns)


def counterfactuals(answers: Answers) -> Figure | None:
    """Predicted against observed drop of each target and size, and their correlation within each size."""
    removed = answers.rows("verified_removals", relative=True)
    points = [row for row in removed if row["method"] == "datamodel" and row["observed_drop"] is not None]
    rows = [row for row in answers.rows("counterfactual") if row["method"] == "datamodel"]
    if not points or not rows:
        return None
    every = rows[-1]
    sizes = ", ".join(f"{number(row['spearman'])} for {row['k']}" for row in rows if row["k"] is not None)
    caption = (
        f"{count(every['n_targets'])} test images, drops beyond those of random sets. Spearman over targets: {sizes} "
        f"removed images; pooled over all sizes {number(every['spearman'])}, within a target "
        f"{number(every['spearman_within'])}, and by each target's mean drop alone, which knows no set (bias only), "
        f"{number(every['spearman_bias_only'])}."
    )
    svg = charts.drawn(charts.scatter(points), "scatter")
    columns = "k spearman spearman_within spearman_bias_only pearson slope predicted_drop observed_drop flipped fit"
    table = [{**row, "k": row["k"] or "all"} for row in rows]
    return figure("Removed, and trained again", "counterfactual", caption, svg, table, columns)


def harm(answers: Answers) -> Figure | None:
    """Mean drop by method and number of removed images."""
    rows = [row for row in answers.rows("counterfactual") if row["k"] is not None and row["method"] != "random"]
    if not rows:
        return None
    most = [max(own, key=lambda row: row["observed_drop"] or 0) for own in grouped(rows, "k").values()]
    ahead = sum(row["method"] == "datamodel" for row in most)
    caption = (
        f"Drop beyond random sets of the same size. The datamodel's choice does most harm at {ahead} of {len(most)} sizes."
    )
    draw = charts.curves(rows, "k", "observed_drop", "method", ("training images removed", "mean drop (logits)"))
    columns = "method k observed_drop observed_error predicted_drop flipped fit"
    return figure("Whose choice does most harm", "counterfactual", caption, charts.drawn(draw, "harm"), rows, columns)


def support(answers: Answers) -> Figure | None:
    """The share of targets that flip when at most so many training images are removed or relabelled."""
    found = answers.rows("support_curve")
    if not found:
        return None
    widest = max(found, key=lambda row: (row["n_targets"], row["role"]))["role"]  # one plan: others' targets are not these
    rows = [{**row, "order": f"{row['method']}, {row['change']}"} for row in found if row["role"] == widest]
    half = min((row["size"] for row in rows if row["share"] >= 0.5 and row["change"] == "removal"), default=None)
    some = f"At least half flip without {half} training images or fewer" if half else "Fewer than half were seen to flip"
    caption = f"{count(rows[0]['n_targets'])} test images, right with everything. {some}: only sets that were tried count."
    draw = charts.curves(rows, "size", "share", "order", ("training images changed, at most", "share of targets that flip"))
    columns = "method change size share share_low share_high fit"
    return figure("How few images carry a prediction", "support_curve", caption, charts.drawn(draw, "support"), rows, columns)


def leaderboard(answers: Answers) -> Figure | None:
    """Every attribution method side by side."""
    rows = answers.rows("leaderboard")
    if not rows:
        return None
    caption = f"{rows[0]['method']} leads {len(rows)} methods, ours and imported ones, judged on the same subsets and removals."
    svg = charts.drawn(charts.intervals(rows, "method"), "leaderboard", 0.8 + 0.4 * len(rows))
    columns = (
        "method n_trainings lds_repeats ceiling counterfactual_within counterfactual_spearman counterfactual_bias_only "
        "label_auc pooled_spearman pooled_bias_only fit"
    )
    return figure("Methods side by side", "leaderboard", caption, svg, rows, columns)


def accuracy(answers: Answers) -> Figure | None:
    """Accuracy of the models by role."""
    rows = [row for row in answers.rows("accuracy") if row["test_accuracy"] is not None]
    if not rows:
        return None
    first = min(rows, key=lambda row: row["role"] != "fit")
    share = percent(first["test_accuracy"])
    caption = f"{count(first['n_models'])} models of role {first['role']} are right on {share} of the test images."
    draw = charts.bars([(row["role"], 100 * (1 - row["test_accuracy"])) for row in rows], "test error (%)")
    svg = charts.drawn(draw, "accuracy", 0.8 + 0.4 * len(rows))
    return figure(
        "How good the models are",
        "accuracy",
        caption,
        svg,
        rows,
        "role n_models n_ok test_accuracy test_accuracy_sd train_accuracy",
    )


def cost(answers: Answers) -> Figure | None:
    """Processor time by table."""
    tables = grouped(answers.rows("partitions"), "table_name")
    rows = [
        {
            "table": name,
            "files": len(own),
            "rows": sum(r["rows"] for r in own),
            "minutes": sum(r["cpu_seconds"] or 0 for r in own) / 60,
        }
        for name, own in tables.items()
    ]
    if not rows:
        return None
    caption = f"{number(sum(row['minutes'] for row in rows), 1)} processor minutes in all."
    svg = charts.drawn(
        charts.bars([(row["table"], row["minutes"]) for row in rows], "processor minutes"), "cost", 0.8 + 0.22 * len(rows)
    )
    return figure("What it cost", "partitions", caption, svg, rows, "table files rows minutes")


FIGURES: tuple[tuple[Callable[[Answers], Figure | None], str], ...] = (
    (prediction, "How well unseen models are predicted: no datamodel has predictions in this lake yet."),
    (learning_curve, "How many models are enough: no learning curve is in this lake yet."),
    (counterfactuals, "Removed, and trained again: no removal was verified in this lake yet."),
    (harm, "Whose choice does most harm: no removal was verified in this lake yet."),
    (support, "How few images carry a prediction: no data support was searched in this lake yet."),
    (leaderboard, "Methods side by side: no methods to compare are in this lake yet."),
    (accuracy, "How good the models are: no models are in this lake yet."),
    (cost, "What it cost: no files are in this lake yet."),
)
"""Figures in their order, and the line for each that the lake has no answer for."""
