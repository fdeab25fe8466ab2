"""The lake that storage and SQL are measured on: the digits study, built once a run in a temporary folder."""

import atexit
import shutil
import tempfile
from functools import lru_cache
from pathlib import Path

from builders import loop, study
from builders.progress import Progress
from lake.machine import cores
from lake.store import Lake

MODELS = 2_560


@lru_cache
def digits_lake() -> Lake:
    """A digits lake of MODELS fit models with its fits."""
    folder = Path(tempfile.mkdtemp(prefix="bench-lake-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    lake = Lake(folder)
    with Progress() as progress:
        loop.build_missing(lake, study.load("digits", models=MODELS), loop.Options(workers=cores()), progress)
    return lake
