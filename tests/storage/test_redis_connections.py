"""Connections to a RedisCache's servers: which are kept, and which are used again."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.cache.backends.redis import RedisCache
from redis.exceptions import ConnectionError as Lost

from cachedeco.storage.access import access_to
from cachedeco.storage.connections import connection
from cachedeco.storage.direct_access import redis_connections_of
from cachedeco.storage.redis_connections import RedisConnections
from cachedeco.storage.store import Store
from tests.conftest import CacheConfig, UseCaches
from tests.storage.places import cache_of, release
from tests.support.servers import Redis
from tests.support.threads import in_thread

Key = Callable[[object], str]


def ask(connection: Any) -> Any:
    """Send a command, and read its answer."""
    connection.send_command("PING")
    return connection.read_response()


def kept(connections: RedisConnections) -> list[Any]:
    """Return the kept connections to all servers."""
    return [connection for idle in connections.idle.values() for connection, _ in idle]


@pytest.fixture
def cache(private_redis: Redis) -> Iterator[Any]:
    """Give a cache on a server of the test's own."""
    made = cache_of("redis", private_redis.location)
    yield made
    release(made)


@pytest.fixture
def connections(cache: Any) -> RedisConnections:
    """Give the connections of the cache."""
    found = redis_connections_of(cache)
    assert found
    return found


@pytest.mark.slow  # it needs a server
def test_connections_of_a_thread_are_closed_when_it_ends(use_caches: UseCaches, cache_config: CacheConfig) -> None:
    """Django's RedisCache closes none, and Python would say so of a socket that it frees by itself."""
    use_caches(default=cache_config("redis") | {"BACKEND": "django.core.cache.backends.redis.RedisCache"})

    def opened() -> list[Any]:
        Store("default").read(["key"])
        connections = redis_connections_of(connection("default").cache)
        assert connections
        return kept(connections)

    [found] = in_thread(opened)

    assert found._sock is None


@pytest.mark.parametrize("writes", [True, False])
def test_connection_is_used_again(connections: RedisConnections, writes: bool) -> None:
    """One after the other, all commands of one thread need one."""
    used: list[Any] = []

    for _ in range(3):
        connections.run(lambda connection: (used.append(connection), ask(connection)), writes=writes)

    assert [used[0]] * 3 == used
    assert [used[0]] == kept(connections)


def test_command_inside_a_command_has_a_connection_of_its_own(connections: RedisConnections) -> None:
    """As the handler of a signal, which may use the cache: no caller reads the answer of another."""

    def nested(connection: Any) -> tuple[Any, Any]:
        connection.send_command("ECHO", "outer")
        inner = connections.run(ask, writes=False)
        return connection.read_response(), inner

    outer, inner = connections.run(nested, writes=False)

    assert (b"outer", True) == (outer, inner in {b"PONG", "PONG"})
    assert 2 == len(kept(connections))


def test_reader_and_writer_share_connections(cache: Any, connections: RedisConnections, key: Key) -> None:
    """One for each thread is enough; they end with the cache object."""
    access_to(cache).writer.set_each([(key(1), b"1", None)])

    assert [b"1"] == access_to(cache).read([key(1)])
    assert 1 == len(kept(connections))
    assert connections is redis_connections_of(cache)


def test_write_does_not_meet_a_dead_connection(cache: Any, private_redis: Redis, key: Key) -> None:
    """It is sent once, so it is not sent where the server was restarted meanwhile."""
    writer = access_to(cache).writer
    writer.set_each([(key(1), b"1", None)])
    private_redis.restart()

    assert [True] == writer.set_each([(key(1), b"2", None)])


def test_lost_connection_costs_a_read_nothing(connections: RedisConnections) -> None:
    """It is repeated on a new connection, for any number of dead kept ones; and then no more: one may be wrong."""
    seen: list[Any] = []

    def lose(connection: Any) -> None:
        seen.append(connection)
        raise Lost

    connections.run(lambda _: connections.run(ask, writes=False), writes=False)
    with pytest.raises(Lost):
        connections.run(lose, writes=False)

    assert 2 == len(seen) == len({id(each) for each in seen})
    assert [] == kept(connections)


def test_lost_connection_of_a_write_raises(connections: RedisConnections) -> None:
    """It may have been carried out."""
    seen: list[Any] = []

    def lose(connection: Any) -> None:
        seen.append(connection)
        raise Lost

    connections.run(ask, writes=True)
    with pytest.raises(Lost):
        connections.run(lose, writes=True)

    assert 1 == len(seen)


def test_connection_of_the_parent_is_not_used_in_a_child(connections: RedisConnections) -> None:
    """Both would read from one socket."""
    connections.run(ask, writes=False)
    [parents] = kept(connections)
    parents.pid -= 1

    connections.run(ask, writes=False)

    [own] = kept(connections)
    assert own is not parents


def test_connection_that_cannot_be_looked_at_is_left(
    connections: RedisConnections, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a write: for each fault of it, a new one is better."""
    connections.run(ask, writes=True)
    [old] = kept(connections)
    monkeypatch.setattr(old, "can_read", lambda: 1 / 0)

    connections.run(ask, writes=True)

    [new] = kept(connections)
    assert new is not old


class OtherPool:
    """A pool that may make its connections in any way."""


def test_pool_of_another_kind_is_left_to_django() -> None:
    """Its connections may need more than a class and arguments."""
    assert redis_connections_of(RedisCache("redis://there:1", {"OPTIONS": {"pool_class": OtherPool}})) is None
