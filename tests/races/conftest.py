"""Fixtures of the tests of races: a truth that changes, and a cached function that reads it."""
