"""The test kit: isolated caches for each test, assertions and property checks. A door: no other package imports it."""

from difflib import get_close_matches
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
    from cachedeco.testing.depending import assert_depends
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
    "assert_depends",
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
    "assert_depends": "depending",
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


def register() -> None:
    """Isolate or refuse, from now on, what switches the cache on in a test without isolated caches."""
    from cachedeco.testing.switching import start

    start()


def __getattr__(name: str) -> object:
    """
    Import a name at its first use.

    Settings for production may import `fresh_prefix()`, which must not import the modules for tests.
    """
    if name not in _MODULES:
        near = [] if name.startswith("_") else get_close_matches(name, __all__, n=3)
        remedy = f"; did you mean {' or '.join(near)}?" if near else ""
        msg = f"module {__name__!r} has no attribute {name!r}{remedy}"
        raise AttributeError(msg)
    try:
        found = globals()[name] = getattr(import_module(f"cachedeco.testing.{_MODULES[name]}"), name)
    except AttributeError as error:
        # As in `cachedeco`: Python would report a missing name, without the cause.
        msg = f"cachedeco.testing.{name} can't be imported: {error}"
        raise ImportError(msg, name=f"cachedeco.testing.{_MODULES[name]}") from error
    return found
