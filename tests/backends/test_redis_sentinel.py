"""Sentinel: the primary is the one that a Sentinel has named within the last second."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from cachedeco.backends.redis import RedisCache, RedisCacheConnectionError, RedisCacheTimeoutError
from cachedeco.backends.redis_pool import ASK_SECONDS
from cachedeco.backends.server import forget_servers
from cachedeco.storage.readers import reader_of
from tests.backends.redis_caches import BRIEFLY, WAITS, client_of, opened_at
from tests.support.servers import HOST, Redis, Sentinel

Clock = Callable[[float], None]


@pytest.fixture
def sentinel(tmp_path: Path) -> Iterator[Sentinel]:
    """Give a Sentinel that watches nothing yet."""
    with Sentinel(tmp_path / "sentinel.conf") as server:
        yield server
        forget_servers()


@pytest.fixture
def advance(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Give the function that lets time pass, for the Sentinels' answer."""
    now = [1000.0]
    monkeypatch.setattr("cachedeco.backends.redis_pool.monotonic", lambda: now[0])

    def pass_by(seconds: float) -> None:
        now[0] += seconds

    return pass_by


def cache_by(*sentinels: str, service: str = "Judo", **options: Any) -> RedisCache:
    """Return a cache on the primary of a service."""
    return RedisCache(f"redis://{service}/0", {"OPTIONS": {**WAITS, "sentinels": list(sentinels), **options}})


def address_of(server: Redis) -> str:
    """Return the URL of a Sentinel."""
    return f"redis://{HOST}:{server.port}"


def keys_on(server: Redis) -> list[bytes]:
    """Return the keys that a server holds."""
    with client_of(server) as client:
        found: list[bytes] = client.keys()
        return found


def test_primary_is_the_one_that_the_sentinel_names(
    sentinel: Sentinel, private_redis: Redis, redis_server: Redis
) -> None:
    """Its name has capitals and small letters; redis-py's own client finds it, too."""
    sentinel.monitor("Judo", private_redis)
    sentinel.monitor("judo", redis_server)
    cache = cache_by(address_of(sentinel))

    cache.set("key", 1)

    assert (1, [b":1:key"]) == (cache.get("key"), keys_on(private_redis))
    assert b"1" == cache._cache.get_client().get(":1:key")
    cache._cache.get_client().connection_pool.disconnect()


def test_idle_connection_to_a_former_primary_is_not_used(
    sentinel: Sentinel, private_redis: Redis, advance: Clock
) -> None:
    """It was frozen while another one was elected, and would go on as if it were the primary: for a second at most."""
    with Redis() as elected:
        sentinel.monitor("Judo", private_redis)
        cache = cache_by(address_of(sentinel))
        cache.set("key", "old")
        sentinel.monitor("Judo", elected)
        advance(ASK_SECONDS)
        before = cache.get("key")
        advance(0.01)

        after = [cache.get("key"), reader_of(cache)([cache.make_key("key")])]
        cache.set("key", "new")

        assert ("old", [None, [None]]) == (before, after)
        assert ("new", [b":1:key"]) == (cache.get("key"), keys_on(elected))
    with client_of(private_redis) as client:
        assert b"old" in client.get(":1:key")
        assert 1 == len(client.client_list())


def test_sentinel_is_asked_once_a_second(sentinel: Sentinel, private_redis: Redis, advance: Clock) -> None:
    """On a kept connection; all commands within a second believe its answer."""
    sentinel.monitor("Judo", private_redis)
    cache = cache_by(address_of(sentinel))
    cache.set("key", 1)
    opened = opened_at(sentinel)
    before = int(sentinel.info()["total_commands_processed"])
    for _ in range(3):
        advance(ASK_SECONDS + 0.01)
        assert [1] * 5 == [cache.get("key") for _ in range(5)]
    commands = int(sentinel.info()["total_commands_processed"]) - before
    cache.close()

    # The rest are the test's own looks: two commands and a connection each.
    assert (3, 0) == (commands - 2, opened_at(sentinel) - opened - 3)


def test_replica_that_a_late_sentinel_names_is_refused(
    sentinel: Sentinel, private_redis: Redis, redis_server: Redis
) -> None:
    """What it has may be old: its role is asked when a connection is made."""
    sentinel.monitor("Judo", private_redis)
    cache = cache_by(address_of(sentinel))
    with client_of(private_redis) as client:
        client.execute_command("REPLICAOF", HOST, redis_server.port)

    with pytest.raises(RedisCacheConnectionError, match="is a replica"):
        cache.set("key", 1)
    assert "default" == cache.get("key", "default")


def test_former_primary_that_refuses_a_write_is_left(
    sentinel: Sentinel, private_redis: Redis, redis_server: Redis
) -> None:
    """The next command asks again, within the second, too."""
    with Redis() as elected:
        sentinel.monitor("Judo", private_redis)
        cache = cache_by(address_of(sentinel))
        cache.set("key", 1)
        sentinel.monitor("Judo", elected)
        with client_of(private_redis) as client:
            client.execute_command("REPLICAOF", HOST, redis_server.port)

        with pytest.raises(RedisCacheConnectionError, match="ReadOnlyError"):
            cache.set("key", 2)
        cache.set("key", 3)

        assert (3, [b":1:key"]) == (cache.get("key"), keys_on(elected))


def test_sentinels_are_asked_in_turn(sentinel: Sentinel, private_redis: Redis, tmp_path: Path) -> None:
    """One that is gone, one that does not know the service, and what is no Sentinel: the next one is asked."""
    sentinel.monitor("Judo", private_redis)
    with Sentinel(tmp_path / "other.conf") as other:
        cache = cache_by("redis://127.0.0.1:1", address_of(other), address_of(private_redis), address_of(sentinel))

        cache.set("key", 1)

    assert 1 == cache.get("key")


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        (["redis://127.0.0.1:1"], "Connection refused"),
        (["sentinel"], "no Sentinel knows a primary 'Judo'"),
        (["server"], "unknown command"),
    ],
    ids=["nobody there", "unknown", "no Sentinel"],
)
def test_primary_that_nobody_names_is_out_of_reach(
    places: list[str], expected: str, sentinel: Sentinel, redis_server: Redis
) -> None:
    """A process that no Sentinel answers may be cut off with a former primary: it goes past the cache."""
    names = {"sentinel": address_of(sentinel), "server": address_of(redis_server)}
    cache = cache_by(*[names.get(place, place) for place in places])

    with pytest.raises(RedisCacheConnectionError, match=f"Redis server Judo .*{expected}"):
        cache.set("key", 1)
    assert cache.get("key") is None


def test_sentinel_that_hangs_takes_time(sentinel: Sentinel) -> None:
    """The timeouts of the options hold for it."""
    cache = cache_by(address_of(sentinel), **BRIEFLY)
    sentinel.pause()

    with pytest.raises(RedisCacheTimeoutError):
        cache.set("key", 1)
    sentinel.resume()


@pytest.mark.parametrize(
    ("location", "address", "expected"),
    [
        ("redis://Judo/2", ("10.0.0.1", 1), ("10.0.0.1", 1, None, None, 2)),
        ("redis://user:p%40ss@Judo/2", ("::1", 1), ("::1", 1, "user", "p@ss", 2)),
        ("rediss://:pass@Judo", ("there", 1), ("there", 1, None, "pass", 0)),
    ],
)
def test_address_takes_the_place_of_the_service(location: str, address: Any, expected: tuple[Any, ...]) -> None:
    """User, password, database, TLS and options of the URL hold for whichever server is the primary."""
    cache = RedisCache(location, {"OPTIONS": {"sentinels": ["redis://there"], "socket_timeout": 3}})
    pool: Any = cache._cache.server_of(None, write=True).pool

    made = pool._pool_at(*address)
    arguments = made.connection_kwargs

    names = ("host", "port", "username", "password", "db")
    assert expected == tuple(arguments.get(name) or (0 if name == "db" else None) for name in names)
    assert (3, location.startswith("rediss")) == (
        arguments["socket_timeout"],
        issubclass(made.connection_class, redis.SSLConnection),
    )
