"""The keys of isolated caches: what the project makes of them, with a scope before."""

import warnings

import pytest
from django.core.cache import cache, caches
from django.core.cache.backends.base import BaseCache, CacheKeyWarning, InvalidCacheKey
from django.core.cache.backends.locmem import LocMemCache

from cachedeco import cached_query
from cachedeco.testing import fresh_prefix, isolated
from tests.conftest import CacheConfig, UseCaches


def tagged_key(key: str, _prefix: str, _version: int) -> str:
    """Make a key that knows neither prefix nor version."""
    return f"tag|{key}"


class ClientKeys(LocMemCache):
    """A cache whose client makes the keys itself from what the cache object holds, as django-redis's does."""

    def make_key(self, key: str, version: int | None = None) -> str:
        """Make a key."""
        return self.key_func(key, self.key_prefix, version or self.version)


class OwnKeys(LocMemCache):
    """A cache that makes its keys in a way of its own."""

    def make_key(self, key: str, version: int | None = None) -> str:
        """Make a key."""
        return f"own|{version}|{key}"


def keys_of(alias: str = "default") -> list[str]:
    """Return the keys that lie in a cache in memory."""
    return list(caches[alias]._cache)


def test_prefix_version_and_key_function_stay_in_force(use_caches: UseCaches, cache_config: CacheConfig) -> None:
    """A key is what the project makes of it, dotted or callable, with the scope before."""
    use_caches(
        default=cache_config("locmem", KEY_PREFIX="site", VERSION=3),
        dotted=cache_config("locmem", KEY_FUNCTION=f"{__name__}.tagged_key", LOCATION="dotted"),
        callable=cache_config("locmem", KEY_FUNCTION=tagged_key, LOCATION="callable"),
    )

    with isolated():
        cache.set("a", 1)
        cache.set("a", 1, version=4)
        caches["dotted"].set("a", 1)
        caches["callable"].set("a", 1)
        stored = sorted(key.partition("/")[2] for key in keys_of())
        scopes = {key.partition("/")[0] for alias in caches for key in keys_of(alias)}

        assert ["site:3:a", "site:4:a"] == stored
        assert ["tag|a", "tag|a"] == [keys_of(alias)[0].partition("/")[2] for alias in ("dotted", "callable")]
        assert 1 == len(scopes)


@pytest.mark.parametrize("backend_class", [ClientKeys, OwnKeys])
def test_backends_that_make_keys_their_own_way_are_isolated(
    backend_class: type[BaseCache], use_caches: UseCaches, cache_config: CacheConfig
) -> None:
    """The scope is there, once, wherever a backend takes its keys from."""
    use_caches(default=cache_config("locmem", BACKEND=f"{__name__}.{backend_class.__name__}"))
    cache.set("key", "theirs")

    with isolated():
        assert cache.get("key") is None
        cache.set("key", "mine")
        assert 1 == keys_of()[0].count("/")

    assert "theirs" == cache.get("key")


@pytest.mark.parametrize("letters", ["k", "é", "漢"])  # one, two and three bytes each in UTF-8
@pytest.mark.parametrize("size", [1, 60, 82, 115, 116, 120, 228, 229, 245, 246, 247, 300])
def test_keys_are_refused_as_without_isolation(letters: str, size: int, use_caches: UseCaches) -> None:
    """Memcached takes a key with the scope if and only if it takes it without."""
    use_caches(default={"BACKEND": "tests.support.backends.RecordingMemcached", "LOCATION": "127.0.0.1:1"})

    def complaint() -> tuple[type, bool] | None:
        made = cache.make_key(letters * size)
        try:
            cache.validate_key(made)
        except InvalidCacheKey as error:
            return type(error), False
        return None if len(made.encode()) <= 250 else (ValueError, True)  # the client's own limit

    outside = complaint()
    with isolated():
        inside = complaint()

    assert outside == inside


def test_long_keys_that_differ_stay_different(use_caches: UseCaches) -> None:
    """Keys that differ at the beginning only, which a digest replaces, are two."""
    use_caches(default="locmem")

    with isolated():
        made = {cache.make_key(first + "k" * 230) for first in "abc"}

    assert 3 == len(made)
    assert {len(cache.make_key("k" * 231))} == {len(key) for key in made}


def test_warning_about_a_key_is_still_given(use_caches: UseCaches) -> None:
    """A key that memcached would refuse is warned of on other caches, as without isolation."""
    use_caches(default="locmem")

    with isolated(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        cache.get("a key")

    assert [CacheKeyWarning] == [each.category for each in caught]


def test_cached_functions_follow_into_and_out_of_isolation(use_caches: UseCaches, cache_config: CacheConfig) -> None:
    """What a cached function has worked out of the settings is worked out anew: the scope leaves less room for keys."""
    use_caches(default=cache_config("locmem", KEY_PREFIX="p" * 80))
    function = cached_query(name="kit.long", key="{text}")(lambda text: text)
    text = "x" * (245 - len(function.key_for("")))
    plain = function.key_for(text)

    with isolated():
        shortened = function.key_for(text)
        length = len(shortened)

    assert plain != shortened
    assert length <= 250
    assert plain == function.key_for(text)


def test_fresh_prefixes_differ() -> None:
    """Each start of a process gets a prefix that is new, and that says what it is for."""
    first, second = fresh_prefix(), fresh_prefix("club")

    assert first.startswith("dev-")
    assert second.startswith("club-")
    assert fresh_prefix() != first


def test_fresh_prefix_makes_a_cold_start(use_caches: UseCaches, cache_config: CacheConfig) -> None:
    """With a fresh prefix in the settings, nothing of an earlier start is met, on the same server."""
    seen = []
    for _start in range(2):
        use_caches(default=cache_config("memcached", KEY_PREFIX=fresh_prefix()))
        seen.append(cache.get("key"))
        cache.set("key", "from this start")

    assert [None, None] == seen
