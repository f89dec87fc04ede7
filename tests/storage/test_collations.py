"""A database cache whose database takes two keys for one: cached functions tell them apart."""

from collections.abc import Iterator

import pytest
from django.core.cache import caches
from django.db import connection

from cachedeco import cached_query
from cachedeco.storage.cache_keys import LONGEST_KEY
from cachedeco.storage.keyspace import keyspace
from cachedeco.testing import capture_events, isolated
from tests.conftest import CacheConfig, UseCaches

pytestmark = pytest.mark.django_db

TABLE = "tests_cache_without_case"
PAIRS = [("anna", "Anna"), ("a" * 300, "A" * 300), ("é", "É")]


@cached_query(namespace="person:{name}", depends_on=())
def greeting(name: str) -> str:
    """Return what depends on the case of a name."""
    return f"Hello {name}"


@pytest.fixture(autouse=True)
def _without_case(use_caches: UseCaches, cache_config: CacheConfig) -> Iterator[None]:
    """Use a table that compares keys as MySQL does by default."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"CREATE TABLE {TABLE} (cache_key varchar(255) COLLATE NOCASE PRIMARY KEY, value text, expires datetime)"
        )
    use_caches(default={**cache_config("database"), "LOCATION": TABLE})
    yield
    with connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE {TABLE}")


@pytest.mark.parametrize(("one", "other"), PAIRS, ids=["case", "long", "accents"])
@pytest.mark.parametrize("is_isolated", [True, False])
def test_keys_that_differ_in_case_are_two(one: str, other: str, is_isolated: bool) -> None:
    """Each has an entry of its own, and its invalidation arrives, and leaves the other one."""
    with isolated() if is_isolated else capture_events() as _, capture_events() as events:
        values = [greeting(name) for name in (one, other, one, other)]
        greeting.invalidate(one)
        kept = greeting.peek(other), bool(greeting.peek(one))

    kinds = [event.kind for event in events]
    assert [f"Hello {name}" for name in (one, other, one, other)] == values
    assert (f"Hello {other}", False) == kept
    assert (2, 1) == (kinds.count("hit"), kinds.count("invalidated"))
    assert {"error", "invalidation_delayed"}.isdisjoint(kinds)


@pytest.mark.parametrize("name", ["x", "x" * 300, "é", "x y"])
def test_key_with_its_digest_is_a_valid_one(name: str) -> None:
    """It is as long as other keys may be, and the cache itself changes nothing of it."""
    key = keyspace("default").whole_key(greeting.key_for(name))

    assert len(key) <= LONGEST_KEY
    caches["default"].validate_key(key)
