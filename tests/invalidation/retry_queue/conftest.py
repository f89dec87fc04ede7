"""Fixtures of the tests of the retry queue: those of a failing cache."""
