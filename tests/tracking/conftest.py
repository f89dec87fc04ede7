"""Fixtures of the tests of tracking: those of single flight."""
