"""Fixtures of the tests of leases: a clock."""
