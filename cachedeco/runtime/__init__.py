"""The state of the process: settings, modes, events, statistics, background work."""
