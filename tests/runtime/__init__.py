"""Tests of the state of the process: settings, modes, events, background work."""
