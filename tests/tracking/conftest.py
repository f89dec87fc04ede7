"""Fixtures of the tests of tracking: those of single flight."""

from tests.loading.single_flight.conftest import (  # noqa: F401 -- fixtures
    _nothing_left,
    boarding,
    clock,
    read,
    source,
)
