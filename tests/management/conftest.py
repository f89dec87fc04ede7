"""Fixtures of the tests of the management commands: those of the outbox."""
