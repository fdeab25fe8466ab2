"""Build with other machines through a mirror on the Hub: pull, build a turn, push, until nothing is missing.

On a machine that may be gone at any moment only what is pushed is safe, so a turn is short, and a stop signal still leads to a
last push. A mirror that does not answer does not stop the building: what is built is pushed with the next turn.
"""

import time
from collections.abc import Callable
from dataclasses import replace

from builders.loop import Options, Report, build_missing
from builders.progress import Progress
from builders.study import Study
from lake.errors import IncompleteError
from lake.hub import Hub
from lake.mirror import Outcome, Request
from lake.pull import pull
from lake.push import push
from lake.store import Lake


def build_shared(
    lake: Lake, study: Study, options: Options, hub: Hub, progress: Progress, say: Callable[[str], None] = lambda line: None
) -> tuple[Report, Outcome]:
    """Build what is missing from lake and mirror, and push it; what was built here, and how the last push ended.

    Raises as `build_missing`, `pull` and `push` do; IncompleteError of a push in between is told and made up for.
    """
    total, started = Report(), time.monotonic()
    while True:
        pull(lake, hub, Request(), _nothing).finish()
        spent = time.monotonic() - started
        left = None if options.seconds is None else max(0.0, options.seconds - spent)
        report, last = Report(), False
        try:
            report = build_missing(lake, study, replace(options, seconds=left, turn=True), progress)
            last = bool(report.failures) or not report.left or not report.added
        finally:
            outcome = _push(lake, hub, last, say)
        total = _together(total, report)
        if last:
            return replace(total, seconds=time.monotonic() - started), outcome


def _push(lake: Lake, hub: Hub, last: bool, say: Callable[[str], None]) -> Outcome:
    try:
        outcome = push(lake, hub, Request(), _nothing)
    except IncompleteError as error:
        if last:
            raise
        say(f"the push is put off to the next turn: {error}")
        return Outcome("push")
    say(f"pushed {len(outcome.moved)} partition(s) to {hub.name}")
    return outcome


def _together(total: Report, report: Report) -> Report:
    added = {table: total.added.get(table, 0) + report.added.get(table, 0) for table in total.added | report.added}
    predicted = total.predicted or report.predicted
    return Report(added, total.models + report.models, 0.0, predicted, total.failures + report.failures, report.left)


def _nothing(line: str) -> None:
    """The lines of each turn's push and pull: only their outcome is of interest here."""
