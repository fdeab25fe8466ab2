"""Fixtures of the reliability suite; what its tests count goes to the closing line (closing_line.py)."""

from collections.abc import Callable

import pytest
from world import audit

from lake.store import Lake


@pytest.fixture
def audited(tally) -> Callable[[Lake], list]:
    """The deep check of a lake; its bytes are counted."""
    return lambda lake: audit(lake, lambda size: tally(bytes_hashed=size))
