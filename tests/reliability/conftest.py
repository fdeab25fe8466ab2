"""Fixtures of the reliability suite; what its tests count goes to the closing line (closing_line.py)."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from world import audit

from lake.store import Lake


@pytest.fixture
def audited(tally) -> Callable[[Lake], list]:
    """The deep check of a lake; its bytes are counted."""
    return lambda lake: audit(lake, lambda size: tally(bytes_hashed=size))


@pytest.fixture
def disk(tmp_path) -> Iterator[Callable[[float], Path]]:
    """Mounts a file system of so many megabytes in memory; skipped where that is not allowed."""
    mounted = []

    def mount(megabytes: float) -> Path:
        folder = tmp_path / f"disk{len(mounted)}"
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={int(megabytes * 1_024)}k", "tmpfs", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"no file system in memory may be mounted here: {done.stderr.strip()}")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
