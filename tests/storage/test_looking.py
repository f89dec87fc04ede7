"""To look at a cache changes nothing, and emits no event."""

import pytest
from django.core.cache import caches
from redis import Redis as RedisClient

from cachedeco import Event, cached_query, listening
from cachedeco.storage.looking import LookingStore
from tests.conftest import CacheConfig, UseCaches
from tests.support.backends import Kind


def test_looking_writes_nothing() -> None:
    """A write is one that the cache has not acknowledged."""
    store = LookingStore("default")

    assert [False] == store.set_each([("cd:looking", b"value", 60)])
    assert [None] == store.read(["cd:looking"])
    assert [None] * 2001 == store.read_each(["cd:looking"] * 2001)


def test_failure_is_noted_and_no_event() -> None:
    """A failure without an exception leaves nothing to note."""
    store, error = LookingStore("default"), ValueError("no entry")
    events: list[Event] = []

    with listening(events.append):
        store.emit_failure("Reading failed", "key")
        store.emit_failure("The entry can't be unpickled", "key", error)

    assert ([error], []) == (store.failures, events)


@pytest.mark.parametrize("kind", ["redis", "our redis"])
def test_list_under_a_key_is_as_absent_as_to_the_call(
    kind: Kind, use_caches: UseCaches, cache_config: CacheConfig
) -> None:
    """Redis gives no value for it among others, and the call writes over it: no failure of the cache."""
    use_caches(default=cache_config(kind))

    @cached_query(name="looking.number")
    def number() -> int:
        return 1

    with RedisClient.from_url(caches.settings["default"]["LOCATION"]) as client:
        client.rpush(number.key_for(), "item")
    explained = number.explain()
    number()

    assert ("absent", "hit") == (explained.reason, number.explain().outcome)
