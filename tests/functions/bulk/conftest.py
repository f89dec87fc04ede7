"""Fixtures of the tests of bulk verbs: those of bulk look-ups."""

from tests.loading.bulk.conftest import clock, many, table  # noqa: F401 -- fixtures
