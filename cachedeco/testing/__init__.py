"""The test kit: no test ever meets a cached value from outside it. Nothing inside the library imports this."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cachedeco.testing.assertions import (
        CacheAssertions,
        assert_computations,
        assert_hits,
        assert_invalidates,
        assert_keeps,
        assert_misses,
        capture_events,
    )
    from cachedeco.testing.isolation import fresh_scope, isolated
    from cachedeco.testing.modes import cache_mode
    from cachedeco.testing.prefix import fresh_prefix
    from cachedeco.testing.properties import call, check_key, check_transparent
    from cachedeco.testing.races import paused
    from cachedeco.testing.runner import IsolatedCacheMixin, IsolatedCacheRunner

__all__ = [
    "CacheAssertions",
    "IsolatedCacheMixin",
    "IsolatedCacheRunner",
    "assert_computations",
    "assert_hits",
    "assert_invalidates",
    "assert_keeps",
    "assert_misses",
    "cache_mode",
    "call",
    "capture_events",
    "check_key",
    "check_transparent",
    "fresh_prefix",
    "fresh_scope",
    "isolated",
    "paused",
]

_MODULES = {
    "CacheAssertions": "assertions",
    "IsolatedCacheMixin": "runner",
    "IsolatedCacheRunner": "runner",
    "assert_computations": "assertions",
    "assert_hits": "assertions",
    "assert_invalidates": "assertions",
    "assert_keeps": "assertions",
    "assert_misses": "assertions",
    "cache_mode": "modes",
    "call": "properties",
    "capture_events": "assertions",
    "check_key": "properties",
    "check_transparent": "properties",
    "fresh_prefix": "prefix",
    "fresh_scope": "isolation",
    "isolated": "isolation",
    "paused": "races",
}


def __getattr__(name: str) -> object:
    """
    Fetch a name when it is first asked for.

    Settings that import `fresh_prefix()` are those of production too: that must not import what tests need.
    """
    if name not in _MODULES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    try:
        found = globals()[name] = getattr(import_module(f"cachedeco.testing.{_MODULES[name]}"), name)
    except AttributeError as error:
        # As in the package itself: Python would say "no such name", without the cause.
        msg = f"cachedeco.testing.{name} can't be imported: {error}"
        raise ImportError(msg, name=f"cachedeco.testing.{_MODULES[name]}") from error
    return found
