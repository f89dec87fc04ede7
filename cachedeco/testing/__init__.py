"""The test kit: isolated caches for each test, assertions and property checks. A door: no other package imports it."""

from typing import TYPE_CHECKING

from cachedeco.lazy_names import fetch

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
    "assertions": (
        "CacheAssertions",
        "assert_computations",
        "assert_hits",
        "assert_invalidates",
        "assert_keeps",
        "assert_misses",
        "capture_events",
    ),
    "depending": ("assert_depends",),
    "isolation": ("fresh_scope", "isolated"),
    "modes": ("cache_mode",),
    "prefix": ("fresh_prefix",),
    "properties": ("call", "check_key", "check_transparent"),
    "races": ("paused",),
    "runner": ("IsolatedCacheMixin", "IsolatedCacheRunner"),
}


def register() -> None:
    """Isolate or refuse, from now on, what switches the cache on in a test without isolated caches."""
    from cachedeco.testing.switching import start

    start()


def __getattr__(name: str) -> object:
    """Fetch a name when it is first asked for."""
    return fetch(__name__, name, _MODULES)
