"""Isolation and the place where a cache is: aliases that share one, and caches that count what everybody has there."""

from typing import Any

import pytest
from django.core.cache import cache, caches
from django.core.cache.backends.base import BaseCache
from django.test import override_settings
from pytest_django import Settings

from cachedeco.testing import fresh_scope, isolated
from tests.conftest import CacheConfig, UseCaches

MOST = 10


# --- clear() ---


def test_clear_leaves_the_other_alias(use_caches: UseCaches) -> None:
    """clear() on one alias is no concern of another, in another place."""
    use_caches(default="locmem", other="memcached")

    with isolated():
        cache.set("key", 1)
        caches["other"].set("key", 2)
        cache.clear()

        assert (None, 2) == (cache.get("key"), caches["other"].get("key"))


@pytest.mark.parametrize(
    ("more", "found"),
    [({"LOCATION": "elsewhere"}, 1), ({"OPTIONS": {"db": 1}}, 1), ({"OPTIONS": {"MAX_ENTRIES": 9}}, None)],
    ids=str,
)
@pytest.mark.parametrize("made", ["before", "inside"])
def test_clear_reaches_what_is_in_the_same_place(
    more: dict[str, Any], found: int | None, made: str, use_caches: UseCaches, cache_config: CacheConfig
) -> None:
    """clear() empties another alias if that is in the same place, one made before the isolation or inside it."""
    entry = cache_config("locmem")
    use_caches(default=entry, other={**entry, **more})
    if made == "before":
        assert caches["other"].get("key") is caches["default"].get("key") is None

    with isolated():
        caches["other"].set("key", 1)
        cache.clear()

        assert found == caches["other"].get("key")


def test_two_aliases_of_one_place_share_values_as_in_production(
    use_caches: UseCaches, cache_config: CacheConfig
) -> None:
    """Where two aliases name one cache, isolation does not tear them apart, and neither does clear()."""
    entry = cache_config("locmem")
    use_caches(default=entry, brief={**entry, "TIMEOUT": 1})

    with isolated():
        cache.set("key", "shared")
        before = caches["brief"].get("key")
        caches["brief"].clear()

        assert ("shared", None) == (before, cache.get("key"))
        cache.set("key", "shared again")
        assert "shared again" == caches["brief"].get("key")


def test_clear_of_one_alias_leaves_the_other_backend(use_caches: UseCaches, cache_config: CacheConfig) -> None:
    """Two backends of one LOCATION, as of none, are two places."""
    file = cache_config("file")
    use_caches(default=cache_config("locmem", LOCATION=file["LOCATION"]), other=file)

    with isolated():
        caches["other"].set("key", 1)
        cache.clear()

        assert 1 == caches["other"].get("key")


# --- MAX_ENTRIES ---


def full(kind: str, config: CacheConfig, use_caches: UseCaches, **options: int) -> None:
    """Use a small cache that is full of values of others."""
    use_caches(default=config(kind, TIMEOUT=None, OPTIONS={"MAX_ENTRIES": MOST, **options}))
    for number in range(MOST):
        cache.set(f"theirs-{number}", number)


def kept(store: BaseCache, whose: str) -> int:
    """Return how many of the entries of others are there."""
    return len(store.get_many([f"{whose}-{number}" for number in range(MOST)]))


@pytest.mark.parametrize("frequency", [0, 1, 3])
@pytest.mark.parametrize("kind", ["file", "database"])
@pytest.mark.django_db
def test_full_cache_takes_nothing_from_a_test_nor_from_others(
    kind: str, frequency: int, use_caches: UseCaches, cache_config: CacheConfig
) -> None:
    """In a cache that others, or earlier tests, have filled, what a test stores stays, and so does what they have."""
    full(kind, cache_config, use_caches, CULL_FREQUENCY=frequency)

    with isolated():
        for _ in range(3):
            fresh_scope()
            for number in range(MOST):
                cache.set(f"mine-{number}", number)
            assert MOST == kept(cache, "mine")

    assert MOST == kept(cache, "theirs")


@pytest.mark.parametrize("kind", ["file", "database"])
@pytest.mark.django_db
def test_cache_that_outlives_the_isolation_culls(
    kind: str, use_caches: UseCaches, cache_config: CacheConfig, settings: Settings
) -> None:
    """A cache object kept from inside the block holds to MAX_ENTRIES again."""
    full(kind, cache_config, use_caches, CULL_FREQUENCY=2)
    with isolated(), override_settings(CACHES=settings.CACHES):  # which makes it anew
        store = caches["default"]

    for number in range(MOST):
        store.set(f"more-{number}", number)

    assert kept(store, "more") + kept(store, "theirs") <= MOST + 1
