"""Fixtures of the tests of flights: a look at the flights, a clock without waiting, and no memory of other tests."""

from collections.abc import Iterator

import pytest

from cachedeco.loading import flights
from cachedeco.tracking import nested_names
from tests.loading.single_flight.callers import Boarding, Clock
from tests.support.sources import read, source  # noqa: F401 -- fixtures


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    """Begin without remembered names; fail a test after which a flight is still under way."""
    nested_names.forget()
    yield
    left = [*flights._flights]
    flights._flights.clear()
    assert [] == left


@pytest.fixture
def boarding(monkeypatch: pytest.MonkeyPatch) -> Boarding:
    """Count those who board."""
    return Boarding(monkeypatch)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Stop the time of flights and leases."""
    return Clock(monkeypatch)
