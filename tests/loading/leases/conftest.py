"""Fixtures of the tests of leases: a clock."""

from tests.support.clocks import clock  # noqa: F401 -- a fixture
