"""What the tests of a failing cache are given: a breaker whose clock they turn, and whose pauses are the longest."""

import pytest

from cachedeco import breaker
from tests.failing.clocks import Clock, longest


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Give the breaker's clock, which stands still."""
    clock = Clock()
    monkeypatch.setattr(breaker, "monotonic", clock)
    monkeypatch.setattr(breaker, "uniform", longest)
    return clock
