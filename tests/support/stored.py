"""What a cache holds under whole keys, as its server gets them."""

import re
from collections.abc import Iterable

from django.core.cache.backends.base import BaseCache

from cachedeco.storage.connections import connection
from cachedeco.storage.keyspace import keyspace


def stored(alias: str = "default") -> BaseCache:
    """Return this thread's cache object that takes whole keys."""
    return connection(alias).cache


def whole(key: str, alias: str = "default") -> str:
    """Return the whole key of a token, for its key without what the cache puts before it."""
    return keyspace(alias).whole_key(key)


def bare(key: str) -> str:
    """Return a whole key without what the cache puts before it, and without the release in an entry's key."""
    found = re.sub(r"^.*?(?=cd:[a-z]+:)", "", key)
    return re.sub(r"\|[^|()]*\)$", ")", found) if found.startswith("cd:e:") else found


def bare_each(keys: Iterable[str]) -> list[str]:
    """Return whole keys as `bare()` does."""
    return [bare(key) for key in keys]
