"""The test kit: no test ever meets a cached value from outside it. Nothing inside the library imports this."""

from cachedeco.testing.isolation import fresh_scope, isolated
from cachedeco.testing.modes import cache_mode
from cachedeco.testing.prefix import fresh_prefix
from cachedeco.testing.runner import IsolatedCacheMixin, IsolatedCacheRunner

__all__ = [
    "IsolatedCacheMixin",
    "IsolatedCacheRunner",
    "cache_mode",
    "fresh_prefix",
    "fresh_scope",
    "isolated",
]
