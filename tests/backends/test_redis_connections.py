"""Connections to Redis: kept across requests, and never used again after half an answer."""

import gc
import logging
import select
from collections.abc import Callable, Iterator
from socket import SO_LINGER, SOL_SOCKET
from threading import Event
from typing import Any

import pytest
from redis.exceptions import ConnectionError as Lost

from cachedeco.backends.redis import RedisCache, RedisCacheConnectionError
from cachedeco.backends.redis_servers import RedisServer
from cachedeco.backends.server import forget_servers
from cachedeco.backends.sockets import CLOSE_AT_ONCE
from cachedeco.storage.access import access_to
from tests.backends.redis_caches import WAITS, redis_at, redis_on
from tests.backends.scripted import Scripted
from tests.storage.places import Interrupt, SoftTimeLimit, Wire
from tests.support.servers import Redis
from tests.support.threads import PATIENCE_SECONDS, started

Operation = Callable[[RedisCache], object]

READS: dict[str, Operation] = {
    "get": lambda cache: cache.get("a"),
    "get_many": lambda cache: cache.get_many(["a", "b"]),
    "has_key": lambda cache: cache.has_key("a"),
    "reader": lambda cache: access_to(cache).read([cache.make_key("a"), cache.make_key("b")]),
}
WRITES: dict[str, Operation] = {
    "set": lambda cache: cache.set("a", 1),
    "add": lambda cache: cache.add("new", 1),
    "add for no time": lambda cache: cache.add("new", 1, 0),
    "touch": lambda cache: cache.touch("a"),
    "touch for ever": lambda cache: cache.touch("a", None),
    "delete": lambda cache: cache.delete("a"),
    "incr": lambda cache: cache.incr("number"),
    "set_many": lambda cache: cache.set_many({"a": 1, "new": 2}),
    "delete_many": lambda cache: cache.delete_many(["a", "new"]),
    "incr_version": lambda cache: cache.incr_version("a"),
    "writer": lambda cache: access_to(cache).writer.set_each([("x", b"1", None), ("y", b"2", 60)]),
}
OPERATIONS = READS | WRITES

every = pytest.mark.parametrize("operation", OPERATIONS)


def server_of(cache: RedisCache) -> RedisServer:
    """Return the only server of a cache."""
    return cache._cache.server_of(None, write=True)


def kept(cache: RedisCache) -> list[Any]:
    """Return the connections that are idle."""
    pool: Any = server_of(cache).pool
    return [connection for idle in pool.idle.values() for connection, _ in idle]


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    """Give the sockets of this process."""
    return Wire(monkeypatch)


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    """Leave no connection to a server that is gone."""
    yield
    forget_servers()


def test_caches_of_the_same_options_share_a_server(private_redis: Redis) -> None:
    """And redis-py's client, which a project may ask for; caches of other options share neither."""
    options: dict[str, Any] = {"socket_keepalive_options": {}}
    same = [redis_on(private_redis, **options) for _ in range(2)]
    other = [redis_on(private_redis, client_name="other"), redis_on(private_redis, socket_keepalive_options={})]

    assert 1 == len({server_of(cache) for cache in same})
    assert 3 == len({server_of(cache) for cache in (*same, *other)})
    assert same[0]._cache.get_client() is same[1]._cache.get_client(write=True)


def test_client_of_redis_py_sends_nothing_twice(private_redis: Redis) -> None:
    """That of `get_client()`, with any options."""
    cache = redis_on(private_redis, retry_on_timeout=True, retry=None, retry_on_error=[OSError])
    client = cache._cache.get_client()
    cache.set("key", 5)

    assert 6 == client.incr(cache.make_key("key"))
    assert 0 == client.connection_pool.connection_kwargs["retry"]._retries
    client.connection_pool.disconnect()


def test_burst_leaves_few_connections(private_redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many are open as callers are busy; some are kept, and those that are not needed end with a request."""
    now = [1000.0]
    monkeypatch.setattr("cachedeco.storage.idle_connections.monotonic", lambda: now[0])
    cache = redis_on(private_redis, max_pool_size=2, pool_idle_timeout=10)
    server = server_of(cache)

    def nested(depth: int, connection: Any) -> None:
        connection.connect()
        if depth:
            server.run("get", lambda inner: nested(depth - 1, inner), writes=False)

    server.run("get", lambda connection: nested(3, connection), writes=False)
    after_burst = kept(cache)
    now[0] += 6
    cache.get("key")
    now[0] += 6
    cache.close()
    after_request = kept(cache)
    now[0] += 11

    assert (2, 1) == (len(after_burst), len(after_request))
    assert None is cache.get("key")
    assert after_request != kept(cache)


@every
def test_restart_of_the_server_costs_nothing(operation: str, private_redis: Redis) -> None:
    """A read is asked for again, and a write is not sent where the server has closed the connection."""
    cache = redis_on(private_redis)
    cache.set("a", 1)
    private_redis.restart()

    if operation in {"incr", "incr_version"}:
        with pytest.raises(ValueError, match="not found"):
            OPERATIONS[operation](cache)
    else:
        OPERATIONS[operation](cache)
    assert cache.add("other", 1)


# A connection's first commands name the client; those after them are the cache's.
GREETED = [b"+OK\r\n", b"+OK\r\n"]


@pytest.mark.parametrize("operation", READS)
def test_read_whose_connection_is_lost_is_asked_for_once_more(operation: str) -> None:
    """On a new connection; what is lost there is a miss."""
    with Scripted([*GREETED, b"$-1\r\n", None], [*GREETED, None]) as server:
        cache = redis_at(f"redis://{server.location}", **WAITS, protocol=2)
        cache.get("a")

        found = OPERATIONS[operation](cache)

    assert found in (None, {}, False, [None, None])
    assert [4, 3] == [len(commands) for commands in server.heard]


@pytest.mark.parametrize("operation", [name for name in WRITES if name != "set_many"])
def test_write_whose_connection_is_lost_is_never_sent_again(operation: str) -> None:
    """It is unknown whether it was carried out, and between the two another process may have written."""
    with Scripted([*GREETED, b"$-1\r\n", None]) as server:
        cache = redis_at(f"redis://{server.location}", **WAITS, protocol=2)
        cache.get("a")

        with pytest.raises(RedisCacheConnectionError):
            OPERATIONS[operation](cache)

    assert [4] == [len(commands) for commands in server.heard]


@pytest.mark.parametrize("parser", ["redis.connection._RESP2Parser", "redis.connection._RESP3Parser"])
@pytest.mark.parametrize("answer", [b"nonsense\r\n", b"$x\r\n", b"*y\r\n", b":\r\n", b"%1\r\n*0\r\n+OK\r\n"])
@pytest.mark.parametrize("greeted", [GREETED, []], ids=["a command", "a greeting"])
@pytest.mark.parametrize("operation", ["get", "set"])
def test_answer_that_is_none_is_a_failure(operation: str, greeted: list[bytes], answer: bytes, parser: str) -> None:
    """As of memcached: a miss, or raised as the error of a server out of reach, for any exception of redis-py's."""
    with Scripted([*greeted, answer]) as server:
        cache = redis_at(f"redis://{server.location}", protocol=2, parser_class=parser)
        if operation == "get":
            assert cache.get("a") is None
        else:
            with pytest.raises(RedisCacheConnectionError):
                cache.set("a", 1)


@every
@pytest.mark.parametrize("interrupt", [Interrupt(), KeyboardInterrupt(), SoftTimeLimit()], ids=repr)
def test_interrupted_connection_is_never_used_again(
    operation: str, interrupt: BaseException, private_redis: Redis, wire: Wire
) -> None:
    """With any part read when the interrupt came; the next caller gets an answer of its own."""
    cache = redis_on(private_redis)
    cache.set_many({"a": "A", "b": "B", "number": 1})
    [before] = kept(cache)
    wire.interrupt(interrupt)

    with pytest.raises(type(interrupt)):
        OPERATIONS[operation](cache)

    assert ["B", {"b": "B"}] == [cache.get("b"), cache.get_many(["b", "x"])]
    assert before not in kept(cache)


def test_interrupts_cost_no_place(private_redis: Redis, wire: Wire) -> None:
    """redis-py's pool loses one at each, and refuses the hundred and first."""
    cache = redis_on(private_redis, max_connections=2)
    for _ in range(20):
        cache.get("a")
        wire.interrupt(Interrupt())
        with pytest.raises(Interrupt):
            cache.get("a")

    gc.collect()
    cache.set("a", 1)

    assert (1, 1) == (cache.get("a"), len(kept(cache)))
    assert int(private_redis.info()["connected_clients"]) <= 2


def test_connection_on_which_something_came_late_is_not_written_to(private_redis: Redis) -> None:
    """The rest of an answer would be taken for the next one."""
    cache = redis_on(private_redis)
    cache.set("a", 1)
    [late] = kept(cache)
    late.send_command("ECHO", "late")
    select.select([late._sock], [], [], 5)

    cache.set("a", 2)

    assert late not in kept(cache)
    assert 2 == cache.get("a")


def test_connection_that_is_closed_sends_no_more(private_redis: Redis) -> None:
    """What the network did not take in time must not arrive after what is written next."""
    cache = redis_on(private_redis)
    cache.set("a", 1)
    [connection] = kept(cache)

    assert CLOSE_AT_ONCE == connection._sock.getsockopt(SOL_SOCKET, SO_LINGER, len(CLOSE_AT_ONCE))


def test_connect_function_of_the_options_is_called(redis_server: Redis) -> None:
    """In the place of redis-py's own, as there."""
    seen: list[Any] = []

    def connect(connection: Any) -> None:
        seen.append(connection)
        if len(seen) > 1:
            raise Lost
        connection.on_connect()

    cache = redis_on(redis_server, redis_connect_func=connect)
    cache.set("key", 1)
    server_of(cache).pool.clear()

    assert (None, 2) == (cache.get("key"), len(seen))


def test_connection_begins_while_an_interrupt_has_left_the_lock_of_logging_locked(redis_server: Redis) -> None:
    """redis-py asks each server for notices of maintenance, and looks up a logger where the server knows none."""
    cache, is_locked = redis_on(redis_server, client_name="begun-while-locked"), Event()

    def write() -> None:
        is_locked.wait(PATIENCE_SECONDS)
        cache.set("key", 1)

    with started(write) as writing, logging._lock:  # type: ignore[attr-defined] # Python's own
        is_locked.set()
        writing.result(PATIENCE_SECONDS)

    assert 1 == cache.get("key")
