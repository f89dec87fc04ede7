"""Fixtures of the tests of tracking: those of single flight."""

from tests.loading.single_flight.conftest import _nothing_left, boarding, clock, read, source
