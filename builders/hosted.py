"""Notebook services, whose disk is gone with the session: there a build says how much of the lake is nowhere else."""

import os
from collections.abc import Mapping
from pathlib import Path

from builders.progress import Progress
from lake import mirror_state
from lake.store import Lake
from lake.tables import TABLES

SERVICES = {"COLAB_RELEASE_TAG": "Colab", "KAGGLE_KERNEL_RUN_TYPE": "Kaggle"}
"""Environment variable that a service sets in each session, and its name."""


def service(environment: Mapping[str, str] = os.environ) -> str:
    """Name of the service that this process runs on; empty on a machine that keeps its disk, or that nobody knows."""
    return next((name for variable, name in SERVICES.items() if environment.get(variable)), "")


def warn(lake: Lake, progress: Progress) -> None:
    """On such a service, say at the start, and let `progress` say as it goes, how many partitions no mirror had last time."""
    name = service()
    if not name or not isinstance(lake.root, Path):
        return
    elsewhere = set().union(*mirror_state.mirrors(lake.files.cache).values())
    progress.unpushed = len({partition.path for table in TABLES for partition in lake.present(table)} - elsewhere)
    progress.say(
        f"{name} deletes this machine's disk with the session: {progress.unpushed} partition(s) here are nowhere else, and "
        "what is built will be; MIRROR=owner/name pushes while it builds, `make push REPO=owner/name` afterwards"
    )
