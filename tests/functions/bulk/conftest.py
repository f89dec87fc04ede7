"""Fixtures of the tests of bulk verbs: those of bulk look-ups."""
