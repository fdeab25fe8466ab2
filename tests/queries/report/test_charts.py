"""Charts: labels that would stand in each other's way are left out."""

import pytest

from queries.report.charts import curves, drawn, logarithmic


@pytest.mark.parametrize(
    ("numbers", "shown"),
    [
        ([250, 500, 1_000, 2_000, 5_000], ["250", "500", "1,000", "2,000", "5,000"]),
        ([2, 4, 16, 250, 500, 1_000, 2_000, 5_000], ["4", "16", "250", "1,000", "5,000"]),
        ([96], ["96"]),
    ],
)
def test_ticks_of_a_logarithmic_axis_have_room(numbers, shown):
    seen = []
    rows = [{"n": n, "lds": 0.5, "fit": "lasso"} for n in numbers]

    def draw(axes) -> None:
        curves(rows, "n", "lds", "fit", ("models", "LDS"))(axes)

    def watched(axes) -> None:
        logarithmic(draw, numbers)(axes)
        seen.extend(label.get_text() for label in axes.get_xticklabels())

    assert drawn(watched, "curve").startswith("<svg")
    assert seen == shown
