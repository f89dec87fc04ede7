"""Fixtures of the tests of races: a truth that changes, and a cached function that reads it."""

from tests.support.sources import read, source  # noqa: F401 -- fixtures
