"""The test kit: no test ever meets a cached value from outside it. Nothing inside the library imports this."""

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
