"""What the tests of check_key and check_transparent try these on, how often, and what a write changes."""

import hypothesis
import pytest
from hypothesis import strategies as st

numbers = st.integers(0, 5)
# Enough to try each step in each place, where every example costs a transaction.
quickly = hypothesis.settings(max_examples=20, derandomize=True, database=None, deadline=None)
source = {"value": 0}


@pytest.fixture(autouse=True)
def fresh_source() -> None:
    """Begin each test of a module that imports this with a source that nothing has written to."""
    source["value"] = 0


def increase() -> None:
    """Write to the source."""
    source["value"] += 1
