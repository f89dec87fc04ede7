"""Sentinel: the primary is the one that a Sentinel has named within the last second."""

import asyncio
import logging
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from cachedeco.backends.redis import RedisCache, RedisCacheConnectionError, RedisCacheTimeoutError
from cachedeco.backends.redis_pool import ASK_SECONDS, SentinelPool, _failure_in
from cachedeco.backends.server import forget_servers
from cachedeco.storage.access import access_to
from tests.backends.on_loops import raw_of
from tests.backends.redis_caches import WAITS, client_of, opened_at
from tests.support.hops import hops
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


# Commands of one look at how many there were.
LOOK = 2


def commands_of(server: Redis) -> int:
    """Return how many commands a server has got, with this look."""
    return int(server.info()["total_commands_processed"])


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

        after = [cache.get("key"), access_to(cache).read([cache.make_key("key")])]
        cache.set("key", "new")

        assert ("old", [None, [None]]) == (before, after)
        assert ("new", [b":1:key"]) == (cache.get("key"), keys_on(elected))
    with client_of(private_redis) as client:
        assert b"old" in client.get(":1:key")
        assert 1 == len(client.client_list())


def test_failover_is_told(
    sentinel: Sentinel,
    private_redis: Redis,
    redis_server: Redis,
    advance: Clock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Once, in sync and async code together: what it has lost leaves no other trace. The end of an outage is none."""
    cache = cache_by(address_of(sentinel))
    for primary in (private_redis, private_redis, redis_server):
        sentinel.monitor("Judo", primary)
        cache.get("key")
        advance(ASK_SECONDS + 0.01)
        asyncio.run(cache.aget("key"))
        cache._cache.server_of(None, write=True).pool.clear()

    [told] = [record.getMessage() for record in caplog.records]
    former, elected = (f"{HOST}:{each.port}" for each in (private_redis, redis_server))
    assert f"{elected} is the primary of the Redis service Judo now, after {former}. " == told.partition("Writes")[0]


def test_failover_is_told_by_handlers_that_use_the_cache(
    sentinel: Sentinel,
    private_redis: Redis,
    redis_server: Redis,
    advance: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The new primary is noted before: a handler that limits its mails by the cache would be called by itself."""
    cache, told = cache_by(address_of(sentinel)), []
    handler = logging.Handler()
    monkeypatch.setattr(handler, "emit", lambda record: told.append((record.levelname, cache.get("sent_mails"))))
    monkeypatch.setattr(logging.getLogger("cachedeco"), "handlers", [handler])
    for primary in (private_redis, redis_server):
        sentinel.monitor("Judo", primary)
        cache.get("sent_mails")
        advance(ASK_SECONDS + 0.01)

    assert [("WARNING", None)] == told


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
def test_primary_that_no_sentinel_names_is_out_of_reach(
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
    cache = cache_by(address_of(sentinel))
    sentinel.pause()

    with pytest.raises(RedisCacheTimeoutError):
        cache.set("key", 1)
    sentinel.resume()


# --- on event loops ---


def test_loop_goes_to_the_primary_without_a_change_of_threads(sentinel: Sentinel, private_redis: Redis) -> None:
    """What threads have asked it knows, and the other way round; the connections end with it."""
    sentinel.monitor("Judo", private_redis)
    cache = cache_by(address_of(sentinel))
    cache.set("key", 1)
    asked = commands_of(sentinel)
    raw = raw_of(cache)

    async def scene() -> list[Any]:
        with hops() as counted:
            found = [await cache.aget("key"), await raw.aread([cache.make_key("other")])]
            found += [await raw.aset_each([(cache.make_key("other"), b"x", 9)]), await cache.aget("other")]
        return [*found, len(counted)]

    found = asyncio.run(scene())

    assert [1, [None], [True], b"x", 0] == found
    assert LOOK == commands_of(sentinel) - asked
    with client_of(private_redis) as client:
        ours = [each for each in client.client_list() if not each["name"].startswith("sentinel")]
    assert 2 == len(ours)  # this one, and that of the thread


def test_idle_connection_of_a_loop_to_a_former_primary_is_not_used(
    sentinel: Sentinel, private_redis: Redis, advance: Clock
) -> None:
    """Within a second it goes on; then a Sentinel is asked, once for all tasks that follow, and it is closed."""
    with Redis() as elected:
        sentinel.monitor("Judo", private_redis)
        cache = cache_by(address_of(sentinel))
        raw, key = raw_of(cache), cache.make_key("key")

        async def scene() -> list[Any]:
            await raw.aset_each([(key, b"old", None)])
            sentinel.monitor("Judo", elected)
            advance(ASK_SECONDS)
            before = await raw.aread([key])
            advance(0.01)
            after = await asyncio.gather(*[raw.aread([key]) for _ in range(5)])
            stored = await raw.aset_each([(key, b"new", None)])
            asked = commands_of(sentinel)
            found = [before, after, stored, await raw.aread([key]), cache.get("key")]
            with client_of(private_redis) as client:
                assert 1 == len(client.client_list())
            return [*found, commands_of(sentinel) - asked - LOOK]

        found = asyncio.run(scene())

        assert [[b"old"], [[None]] * 5, [True], [b"new"], b"new", 0] == found
        assert [b":1:key"] == keys_on(elected)


def test_loop_refuses_a_replica_that_a_late_sentinel_names(
    sentinel: Sentinel, private_redis: Redis, redis_server: Redis
) -> None:
    """A new connection asks for the role first, and no command is sent."""
    sentinel.monitor("Judo", private_redis)
    cache = cache_by(address_of(sentinel))
    with client_of(private_redis) as client:
        client.execute_command("REPLICAOF", HOST, redis_server.port)

    async def scene() -> object:
        with pytest.raises(RedisCacheConnectionError, match="is a replica"):
            await cache.aset("key", 1)
        return await cache.aget("key", "default")

    assert "default" == asyncio.run(scene())


def test_loop_leaves_a_former_primary_that_refuses_a_write(
    sentinel: Sentinel, private_redis: Redis, redis_server: Redis
) -> None:
    """The next command asks again, within the second, too."""
    with Redis() as elected:
        sentinel.monitor("Judo", private_redis)
        cache = cache_by(address_of(sentinel))

        async def scene() -> object:
            await cache.aset("key", 1)
            sentinel.monitor("Judo", elected)
            with client_of(private_redis) as client:
                client.execute_command("REPLICAOF", HOST, redis_server.port)
            with pytest.raises(RedisCacheConnectionError, match="ReadOnlyError"):
                await cache.aset("key", 2)
            await cache.aset("key", 3)
            return await cache.aget("key")

        assert (3, [b":1:key"]) == (asyncio.run(scene()), keys_on(elected))


def test_read_of_a_loop_whose_connection_was_lost_asks_again(sentinel: Sentinel, private_redis: Redis) -> None:
    """It is repeated, once, and goes to the server that is the primary by now; a write is not."""
    with Redis() as elected:
        sentinel.monitor("Judo", private_redis)
        cache = cache_by(address_of(sentinel))
        raw, key = raw_of(cache), cache.make_key("key")

        async def scene() -> list[Any]:
            await raw.aset_each([(key, b"old", None)])
            sentinel.monitor("Judo", elected)
            private_redis.kill()  # while this loop stands still, and sees nothing of it
            found = [await raw.aread([key])]
            with client_of(elected) as client:
                client.set(key, pickle.dumps(b"new"))
            return [*found, await raw.aread([key])]

        assert [[None], [b"new"]] == asyncio.run(scene())


def test_write_of_a_loop_whose_connection_was_lost_is_not_repeated(sentinel: Sentinel, private_redis: Redis) -> None:
    """It raises, as of one server."""
    sentinel.monitor("Judo", private_redis)
    cache = cache_by(address_of(sentinel))

    async def scene() -> None:
        await cache.aset("key", 1)
        private_redis.kill()
        with pytest.raises(RedisCacheConnectionError):
            await cache.aset("key", 2)

    asyncio.run(scene())


def test_answer_that_comes_late_counts_for_nothing() -> None:
    """Where several ask at once, the one who asked last knows who is the primary."""
    pool: Any = cache_by("redis://there")._cache.server_of(None, write=True).pool
    pool._note(("10.0.0.2", 2), 7.0)

    late = pool._note(("10.0.0.1", 1), 6.0)

    assert (("10.0.0.2", 2), 7.0) == (late.address, late.asked_at)


def test_loop_asks_sentinels_in_turn(sentinel: Sentinel, private_redis: Redis, tmp_path: Path, advance: Clock) -> None:
    """As threads do; the one that has answered is asked first from then on."""
    sentinel.monitor("Judo", private_redis)
    with Sentinel(tmp_path / "other.conf") as other:
        cache = cache_by("redis://127.0.0.1:1", address_of(other), address_of(private_redis), address_of(sentinel))
        asyncio.run(cache.aset("key", 1))
        asked = commands_of(other)
        advance(2 * ASK_SECONDS)

        assert 1 == asyncio.run(cache.aget("key"))

        assert LOOK == commands_of(other) - asked


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("redis://127.0.0.1:1", "ConnectionRefusedError"),
        ("sentinel", "no Sentinel knows"),
        ("server", "unknown command"),
    ],
    ids=["nobody there", "unknown", "no Sentinel"],
)
def test_primary_that_no_sentinel_names_to_a_loop_is_out_of_reach(
    place: str, expected: str, sentinel: Sentinel, redis_server: Redis
) -> None:
    """Reads find nothing, writes raise."""
    cache = cache_by({"sentinel": address_of(sentinel), "server": address_of(redis_server)}.get(place, place))

    async def scene() -> object:
        with pytest.raises(RedisCacheConnectionError, match=f"Redis server Judo .*{expected}"):
            await cache.aset("key", 1)
        return await cache.aget("key")

    assert asyncio.run(scene()) is None


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

    made, _ = pool._ways_to(*address)
    arguments = made.connection_kwargs

    names = ("host", "port", "username", "password", "db")
    assert expected == tuple(arguments.get(name) or (0 if name == "db" else None) for name in names)
    assert (3, location.startswith("rediss")) == (
        arguments["socket_timeout"],
        issubclass(made.connection_class, redis.SSLConnection),
    )


@pytest.mark.parametrize(
    "answer", [[], [b"host"], [b"host", b"port"], [None, None], b"host", redis.exceptions.ResponseError()], ids=repr
)
def test_answer_of_a_sentinel_that_names_no_address_is_a_failure(answer: object) -> None:
    """What is there is no Sentinel."""
    pool = SentinelPool("primary", [], lambda *_: (None, None), most=1, seconds=1)

    with pytest.raises(redis.exceptions.ConnectionError):
        pool._address_in(answer)


@pytest.mark.parametrize("answer", [[], [b"slave"], [None], b"master"], ids=repr)
def test_role_that_is_none_of_a_primary_is_a_failure(answer: object) -> None:
    """Nor is what is no role."""
    assert isinstance(_failure_in(answer), redis.exceptions.ConnectionError)
