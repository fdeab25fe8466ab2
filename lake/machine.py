"""What this process may use of the machine it runs on."""

import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup/memory.max")
"""Where a container or a cluster's job finds how much memory it may take, on Linux."""

UNKNOWN_MEMORY = 8_000_000_000
"""Bytes, where the system does not tell."""


def cores() -> int:
    """Cores."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory() -> int:
    """Bytes of memory."""
    if "SC_PHYS_PAGES" not in os.sysconf_names:
        return UNKNOWN_MEMORY
    whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = CGROUP.read_text("ascii").strip() if CGROUP.is_file() else "max"
    return min(whole, int(limit)) if limit.isdecimal() else whole
