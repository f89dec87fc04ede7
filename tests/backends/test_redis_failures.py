"""What each method of our Redis backend does where its server is out of reach, and where the server refuses."""

import asyncio
from contextlib import suppress
from socket import gaierror
from typing import Any

import pytest
import redis.exceptions

from cachedeco.backends.redis import (
    RedisCache,
    RedisCacheConnectionError,
    RedisCacheError,
    RedisCacheTimeoutError,
)
from cachedeco.backends.redis_errors import describe_error, is_failure, took_time
from cachedeco.storage.access import access_to
from tests.backends.calls import READS, called
from tests.backends.on_loops import raw_of
from tests.backends.redis_caches import client_of, opened_at, redis_apart, redis_on
from tests.support.servers import HOST, Redis, free_port
from tests.support.sides import Side, both

ERRORS = {"kill": RedisCacheConnectionError, "pause": RedisCacheTimeoutError}

out_of_reach = pytest.mark.parametrize("way", ERRORS)


@pytest.fixture
def cache(private_redis: Redis, request: pytest.FixtureRequest) -> RedisCache:
    """Give a cache whose server was used, and is out of reach."""
    cache = redis_on(private_redis, **getattr(request, "param", {}))
    cache.set_many({"key": 1, "other": 2})
    getattr(private_redis, request.getfixturevalue("way"))()
    return cache


@out_of_reach
def test_reader_has_nothing_and_the_writer_raises(cache: RedisCache, way: str) -> None:
    """Those of cached functions, too."""
    assert [None] == access_to(cache).read(["key"])
    with pytest.raises(ERRORS[way]):
        access_to(cache).writer.set_each([("key", b"", None)])


@out_of_reach
def test_error_is_one_of_redis_py(cache: RedisCache, way: str) -> None:
    """Code that catches redis-py's errors goes on."""
    theirs = redis.exceptions.ConnectionError if way == "kill" else redis.exceptions.TimeoutError

    with pytest.raises(RedisCacheError, match=r"set failed, as Redis server .*Start it") as caught:
        cache.set("key", 1)

    assert isinstance(caught.value, theirs)


def test_refusals_are_no_failures(private_redis: Redis) -> None:
    """They are raised as redis-py raises them, or told; the connection is used again, as each answer was read whole."""
    cache = redis_on(private_redis)
    cache.set("text", "x")
    with client_of(private_redis) as client:
        client.rpush(cache.make_key("queue"), 1)
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", 1)
        before = opened_at(private_redis)

        for call in (lambda: cache.get("queue"), lambda: cache.incr("text"), lambda: cache.set("key", 1)):
            with pytest.raises(redis.exceptions.ResponseError):
                call()
        failed: Any = cache.set_many({"a": 1, "b": 2})

        assert (["a", "b"], "maxmemory") == (failed, str(failed.error)[-11:].strip("'. "))
        assert {"text": "x"} == cache.get_many(["text", "queue"])
        assert 1 == opened_at(private_redis) - before


@both
def test_count_of_a_key_that_may_be_missing_is_not_begun(private_redis: Redis, side: Side) -> None:
    """A server that refuses to say whether there is one is not told to count: that would make one, and for ever."""
    cache = redis_on(private_redis)
    with client_of(private_redis) as client:
        client.execute_command("ACL", "SETUSER", "default", "-exists")

        with pytest.raises(redis.exceptions.NoPermissionError):
            side.call(cache.incr, "missing")

        assert [] == client.keys()


def test_value_that_is_too_large_is_not_sent(redis_server: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis would close the connection, as if it were out of reach."""
    monkeypatch.setattr("cachedeco.backends.redis_client.LARGEST_IN_REDIS", 1000)
    cache = redis_apart(redis_server)

    calls: list[Any] = [
        lambda: cache.set("a", "x" * 1000),
        lambda: cache.set_many({"a": "x" * 1000, "b": 1}),
        lambda: asyncio.run(cache.aset("a", "x" * 1000)),
    ]

    for call in calls:
        with pytest.raises(redis.exceptions.DataError, match=r"too large for Redis, with 10.. bytes; it takes 1000"):
            call()
    assert {} == cache.get_many(["a", "b"])


@both
def test_entry_that_is_too_large_is_not_sent(redis_server: Redis, monkeypatch: pytest.MonkeyPatch, side: Side) -> None:
    """The writer of cached functions says so, as for a refusal of the server, and asks the server nothing."""
    monkeypatch.setattr("cachedeco.storage.writers.LARGEST_IN_REDIS", 1000)
    raw = raw_of(redis_apart(redis_server))
    items = [("a", b"x" * 1001, 1)]

    results = asyncio.run(raw.aset_each(items)) if side.is_async else raw.set_each(items)

    assert ([False], "the value is too large for Redis") == (results, str(results.error))
    assert [None] == raw.read(["a"])


def test_replica_that_was_taken_for_the_primary_is_out_of_reach(private_redis: Redis, redis_server: Redis) -> None:
    """It refuses writes, what it has may be old, and the primary is elsewhere: no connection is kept."""
    cache = redis_on(private_redis)
    cache.set("key", 1)
    with client_of(private_redis) as client:
        client.execute_command("REPLICAOF", "127.0.0.1", redis_server.port)
        before = opened_at(private_redis)

        for write in (lambda: cache.set("key", 2), lambda: asyncio.run(raw_of(cache).aset_each([("key", b"", 1)]))):
            with pytest.raises(RedisCacheConnectionError, match="ReadOnlyError"):
                write()
        client.execute_command("REPLICAOF", "NO", "ONE")

    cache.set("key", 3)
    assert (3, 3) == (cache.get("key"), opened_at(private_redis) - before)


@both
def test_replica_that_has_lost_its_primary_has_nothing(private_redis: Redis, redis_server: Redis, side: Side) -> None:
    """It refuses reads where it is told not to answer from what may be old: that is a failure, as an outage is."""
    reads = {name: READS[name] for name in ("get", "get_many", "has_key")}
    with client_of(private_redis) as client:
        client.config_set("replica-serve-stale-data", "no")
        client.execute_command("REPLICAOF", HOST, free_port())
    cache = redis_on(redis_server, private_redis)

    found = {name: called(cache, side, name, arguments) for name, (arguments, _) in reads.items()}

    assert {name: expected for name, (_, expected) in reads.items()} == found


@both
def test_server_that_runs_a_script_is_out_of_reach(private_redis: Redis, side: Side) -> None:
    """It refuses all that it is asked, until the script ends: reads find nothing."""
    reads = {name: READS[name] for name in ("get", "get_many", "has_key")}
    cache = redis_on(private_redis)
    with client_of(private_redis) as client, client_of(private_redis) as busy:
        client.config_set("lua-time-limit", 1)
        connection: Any = busy.connection_pool.get_connection()
        connection.send_command("EVAL", "while true do end", 0)
        with suppress(redis.exceptions.ResponseError):
            while client.ping():
                pass

        found = {name: called(cache, side, name, arguments) for name, (arguments, _) in reads.items()}

        with pytest.raises(RedisCacheConnectionError, match="BUSY"):
            side.call(cache.set, "key", 1)
        client.script_kill()
        connection.disconnect()
    assert {name: expected for name, (_, expected) in reads.items()} == found


@pytest.mark.parametrize(
    ("error", "failure", "waited", "text"),
    [
        (redis.exceptions.ConnectionError("gone."), True, False, "ConnectionError: gone"),
        (redis.exceptions.TimeoutError("late"), True, True, "TimeoutError: late"),
        (redis.exceptions.BusyLoadingError(), True, False, "BusyLoadingError"),
        (redis.exceptions.InvalidResponse("Protocol error: b'a key'"), True, False, "InvalidResponse"),
        (OSError("no"), True, False, "OSError: no"),
        (redis.exceptions.ReadOnlyError("no"), True, False, "ReadOnlyError: no"),
        (redis.exceptions.MasterDownError("no"), True, False, "MasterDownError: no"),
        (redis.exceptions.ResponseError("BUSY no"), True, False, "ResponseError: BUSY no"),
        (redis.exceptions.ResponseError("no"), False, False, "ResponseError: no"),
        (redis.exceptions.DataError("no"), False, False, "DataError: no"),
        (ValueError("no"), False, False, "ValueError: no"),
    ],
    ids=lambda each: type(each).__name__ if isinstance(each, Exception) else "",
)
def test_errors_are_told_apart(error: Exception, failure: bool, waited: bool, text: str) -> None:
    """The server's failure, whether it took time, and a text without keys."""
    assert (failure, failure) == (is_failure(error, writes=True), is_failure(error, writes=False))
    assert (waited, text) == (took_time(error), describe_error(error))


def test_name_that_no_server_knows_took_time() -> None:
    """redis-py raises a ConnectionError for it: what it comes from tells."""

    def connect() -> None:
        try:
            raise gaierror(-3, "Temporary failure in name resolution")
        except OSError as error:
            raise redis.exceptions.ConnectionError(str(error)) from None

    with pytest.raises(redis.exceptions.ConnectionError) as caught:
        connect()

    assert took_time(caught.value)
