"""Fixtures of the tests of leases: a clock."""

from tests.support.clocks import clock
