"""The state of the process: settings, modes, events, statistics, background work."""

from cachedeco.runtime import state  # noqa: F401 -- a fork and a change of settings reset what any module keeps
