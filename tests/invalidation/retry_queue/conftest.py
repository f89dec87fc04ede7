"""Fixtures of the tests of the retry queue: those of a failing cache."""

from tests.storage.failing.conftest import clock, server  # noqa: F401 -- fixtures
