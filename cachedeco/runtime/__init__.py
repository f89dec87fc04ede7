"""Process state: settings, modes, events, hooks, statistics, background work."""

from cachedeco.runtime import state  # noqa: F401 -- a fork and a change of settings reset what any module keeps
