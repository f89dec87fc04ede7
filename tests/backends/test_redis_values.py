"""What our Redis backend stores: the same bytes as Django's, whichever of the two has written them."""

import asyncio
import json
import logging
from typing import Any

import pytest
from django.core.cache import BaseCache
from django.core.cache.backends.redis import RedisCache as DjangoRedisCache
from redis.exceptions import ResponseError

from cachedeco.backends.redis import RedisCache
from cachedeco.backends.serializers import SignedSerializer
from cachedeco.storage.access import access_to
from cachedeco.storage.replies import UNDECODABLE
from tests.backends.contract_of_values import VALUES
from tests.backends.on_loops import raw_of
from tests.backends.redis_caches import WAITS, client_of, redis_apart
from tests.support.servers import Redis


class Words:
    """A serializer that stores JSON as text."""

    def dumps(self, value: object) -> str:
        """Return JSON."""
        return json.dumps(value)

    def loads(self, data: bytes) -> Any:
        """Read JSON."""
        return json.loads(data)


@pytest.fixture
def ours(redis_server: Redis) -> RedisCache:
    """Give our cache."""
    return redis_apart(redis_server)


@pytest.fixture
def theirs(redis_server: Redis, ours: RedisCache) -> Any:
    """Give Django's, in the same place."""
    made: Any = DjangoRedisCache(redis_server.location, {"KEY_PREFIX": ours.key_prefix, "OPTIONS": WAITS})
    yield made
    for pool in made._cache._pools.values():
        pool.disconnect()


def stored_by(cache: BaseCache, server: Redis) -> dict[str, tuple[object, bool]]:
    """Return the bytes that a cache stores for each value, by each way, and whether they live for ever."""
    for name, value in VALUES.items():
        cache.set(f"set-{name}", value, 100)
        cache.add(f"add-{name}", value, None)
    cache.set_many({f"many-{name}": value for name, value in VALUES.items()}, 100)
    keys = [f"{way}-{name}" for way in ("set", "add", "many") for name in VALUES]
    made = [cache.make_key(key) for key in keys]
    with client_of(server) as client:
        found = dict(zip(keys, client.mget(made), strict=True))
        lasting = [client.ttl(key) == -1 for key in made]
        client.delete(*made)
    return dict(zip(keys, zip(found.values(), lasting, strict=True), strict=True))


def test_each_value_is_stored_as_django_stores_it(ours: RedisCache, theirs: BaseCache, redis_server: Redis) -> None:
    """Byte for byte, and for as long: each backend reads what the other one has written."""
    assert stored_by(theirs, redis_server) == stored_by(ours, redis_server)


@pytest.mark.parametrize("timeout", [None, 0, -1, 100, 100.9])
def test_timeouts_are_those_of_django(
    ours: RedisCache, theirs: BaseCache, redis_server: Redis, timeout: float | None
) -> None:
    """For each command that takes one, of a key that is there, and of one that is not."""

    def seconds(cache: Any) -> list[object]:
        results: list[object] = []
        with client_of(redis_server) as client:
            for command in ("set", "add", "set_many"):
                for before in (True, False):
                    client.delete(cache.make_key("key"))
                    if before:
                        cache.set("key", 1, 50)
                    arguments = ({"key": 2},) if command == "set_many" else ("key", 2)
                    results += [getattr(cache, command)(*arguments, timeout), client.ttl(cache.make_key("key"))]
        return results

    assert seconds(theirs) == seconds(ours)


def test_numbers_are_counted_by_the_server(ours: RedisCache, theirs: BaseCache, redis_server: Redis) -> None:
    """Integers are stored as digits, and what is no number is refused by redis-py's error, as on Django's."""
    ours.set_many({"number": 41, "text": "x"})

    assert (42, 43, 33, 33) == (
        ours.incr("number"),
        theirs.incr("number"),
        ours.decr("number", 10),
        theirs.get("number"),
    )
    for cache in (ours, theirs):
        with pytest.raises(ResponseError, match="not an integer"):
            cache.incr("text")
        with pytest.raises(ValueError, match="missing' not found"):
            cache.incr("missing")
    with client_of(redis_server) as client:
        assert b"33" == client.get(ours.make_key("number"))


@pytest.mark.parametrize(
    "serializer",
    [SignedSerializer(["only for the tests"]), Words, f"{__name__}.Words"],
    ids=["object", "class", "path"],
)
def test_serializer_of_the_options_is_used(redis_server: Redis, serializer: Any) -> None:
    """An object, a class, or its path, as on Django's; for cached functions in the trips of any other."""
    cache = redis_apart(redis_server, serializer=serializer)
    cache.set_many({"list": [1, "two"], "number": 1})
    pair: Any = RedisCache(redis_server.location, {"OPTIONS": {**WAITS, "serializer": serializer}})

    assert {"list": [1, "two"], "number": 1} == cache.get_many(["list", "number"])
    assert (2, 2) == (cache.incr("number"), cache.get("number"))
    if not isinstance(serializer, SignedSerializer):
        return
    key = cache.make_key("bytes")
    assert [True] == access_to(pair).writer.set_each([(key, b"sealed", 100)])
    keys = [key, cache.make_key("list"), key + "x"]

    async def on_loop() -> list[list[bytes | None]]:
        raw = raw_of(pair)
        return [await raw.aread(keys), await raw.aread_chunks([keys[:1], keys[1:]])]

    assert [[b"sealed", UNDECODABLE, None]] * 3 == [access_to(pair).read(keys), *asyncio.run(on_loop())]
    assert b"sealed" == cache.get("bytes")


def test_signed_values_are_not_read_by_who_has_no_key(
    redis_server: Redis, ours: RedisCache, caplog: pytest.LogCaptureFixture
) -> None:
    """What a cache without the serializer has stored is not unpickled: it is no value, for cached functions too."""
    signing = redis_apart(redis_server, serializer=SignedSerializer(["only for the tests"]))
    caplog.set_level(logging.ERROR, "cachedeco")
    signing.key_prefix = ours.key_prefix
    ours.set("planted", {"a": 1})

    assert (None, [UNDECODABLE]) == (signing.get("planted"), access_to(signing).read([ours.make_key("planted")]))
    assert "was not signed" in caplog.text


@pytest.mark.parametrize(("most", "size"), [(2, 10**9), (10**9, 60)])
def test_many_values_are_sent_in_parts(ours: RedisCache, most: int, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """By number, and by size: the timeout holds for each part. What names no keys is not sent."""
    monkeypatch.setattr("cachedeco.backends.writes.MOST_AT_ONCE", most)
    monkeypatch.setattr("cachedeco.backends.writes.MOST_BYTES_AT_ONCE", size)
    values = {str(number): "x" * 30 for number in range(7)}

    assert ([], values) == (ours.set_many(values), ours.get_many(values))
    assert (None, [], {}) == (ours.delete_many(iter(())), ours.set_many({}), ours.get_many(iter(())))
    assert values == ours.get_many(values)
