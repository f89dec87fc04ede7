"""Connections: kept across requests, looked at before they are used, and never used again after half an answer."""

import select
import socket
import struct
from collections.abc import Iterator
from contextlib import closing
from socket import SO_RCVTIMEO, SO_SNDTIMEO, SOL_SOCKET
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import Mock

import pytest
from pymemcache.client.base import Client

from cachedeco.backends.memcached import MemcachedConnectionError, MemcachedTimeoutError
from cachedeco.backends.memcached_pool import MemcachedConnection, MemcachedPool, is_quiet
from cachedeco.backends.server import forget_servers
from tests.backends.caches import WAITS, cache_on
from tests.backends.interrupts import INTERRUPTIBLE, InterruptibleSocket
from tests.backends.scripted import Scripted
from tests.support.hanging import BRIEFLY
from tests.support.servers import HOST, Memcached

OPERATIONS: dict[str, tuple[object, ...]] = {
    "get": ("a",),
    "get_many": (["a", "b"],),
    "set": ("a", 1),
    "add": ("new", 1),
    "touch": ("a",),
    "delete": ("a",),
    "incr": ("number",),
    "set_many": ({"a": 1, "new": 2},),
    "delete_many": (["a", "new"],),
    "incr_version": ("a",),
}


class Killed(BaseException):
    """As gevent's Timeout and GreenletExit are: no Exception."""


def opened(server: Memcached) -> int:
    """Return how many connections a server has seen, this one excluded."""
    count = int(server.stats()["total_connections"])
    asked[server] = asked.get(server, 0) + 1
    return count - asked[server]


asked: dict[Memcached, int] = {}


@pytest.fixture
def pool(memcached_server: Memcached) -> Iterator[MemcachedPool]:
    """Give connections of which two are kept, each for ten seconds."""
    pool = MemcachedPool((HOST, memcached_server.port), {"timeout": 1}, 2, 10)
    yield pool
    pool.clear()


def connected(pool: MemcachedPool) -> MemcachedConnection:
    """Return a connection that is open."""
    connection = pool.connection()
    connection.version()
    return connection


# --- waiting ---


class GreenSocket:
    """A socket that is none to the operating system, as one of gevent."""

    def __init__(self, *args: Any) -> None:
        """Make the real one."""
        self._real = socket.socket(*args)

    def __getattr__(self, name: str) -> Any:
        """Do as the real one."""
        return getattr(self._real, name)


@pytest.mark.parametrize(("seconds", "kept"), [(0.5, (0, 500_000)), (2, (2, 0)), (1e-9, (0, 1))])
def test_kernel_keeps_the_timeout(memcached_server: Memcached, seconds: float, kept: tuple[int, int]) -> None:
    """A hit does not poll its socket before it sends and receives; no timeout is rounded to none."""
    connection = MemcachedPool((HOST, memcached_server.port), {"timeout": seconds}, 1, 1).connection()
    connection._connect()  # asks the server for nothing, which may take it longer
    sock: Any = connection.sock

    with closing(connection):
        found = [struct.unpack("ll", sock.getsockopt(SOL_SOCKET, each, 16)) for each in (SO_RCVTIMEO, SO_SNDTIMEO)]
        assert sock.gettimeout() is None

    # The kernel rounds up to a tick of its clock.
    assert all((kept[0], kept[1]) <= each <= (kept[0], kept[1] + 10_000) for each in found)


def test_python_keeps_the_timeout_of_other_sockets(memcached_server: Memcached) -> None:
    """A socket that is not the operating system's own, as gevent's, would wait for ever."""
    green = SimpleNamespace(**{**vars(socket), "socket": GreenSocket})
    connection = connected(MemcachedPool((HOST, memcached_server.port), {"timeout": 0.5, "socket_module": green}, 1, 1))

    with closing(connection):
        assert 0.5 == cast("socket.socket", connection.sock).gettimeout()


# --- kept ---


def test_caches_of_the_same_options_share_connections(private_memcached: Memcached) -> None:
    """For any options: what can't be compared is the same where it is the same object."""
    serde, before = type("", (), {"__hash__": None, "__bool__": lambda _: False})(), opened(private_memcached)
    for _ in range(3):
        cache_on(private_memcached, tls_context=serde).set("key", 1)
        cache_on(private_memcached, key_prefix="other").set("key", 1)

    assert 2 == opened(private_memcached) - before


def test_caches_of_other_options_share_nothing(private_memcached: Memcached) -> None:
    """What can't be compared is another where it is another object."""
    unhashable, before = type("", (), {"__hash__": None, "__bool__": lambda _: False}), opened(private_memcached)

    for context in (unhashable(), unhashable()):
        cache_on(private_memcached, tls_context=context).set("key", 1)

    assert 2 == opened(private_memcached) - before


def test_connections_are_taken_last_in_first_out(pool: MemcachedPool) -> None:
    """So that those which a burst needed can be closed."""
    first, second = connected(pool), connected(pool)
    pool.idle.put(first)
    pool.idle.put(second)

    assert [second, first, None] == [pool.idle.take(is_quiet), pool.idle.take(is_quiet), pool.idle.take(is_quiet)]
    first.close()
    second.close()


def test_more_connections_than_are_kept_are_closed(pool: MemcachedPool) -> None:
    """As many are open as callers are busy; two are kept."""
    connections = [connected(pool) for _ in range(3)]

    for each in connections:
        pool.idle.put(each)

    assert [True, True, False] == [each.sock is not None for each in connections]


@pytest.mark.parametrize(("seconds", "is_kept"), [(10, True), (10.1, False)])
def test_connection_that_was_idle_for_long_is_not_used(
    pool: MemcachedPool,
    seconds: float,
    is_kept: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A firewall may have forgotten it, and does not tell."""
    now = [1000.0]
    monkeypatch.setattr("cachedeco.storage.idle_connections.monotonic", lambda: now[0])
    connection = connected(pool)
    pool.idle.put(connection)
    now[0] += seconds

    taken = pool.idle.take(is_quiet)

    assert (connection if is_kept else None) is taken
    assert is_kept is (connection.sock is not None)
    connection.close()


def test_end_of_a_request_closes_what_is_not_needed(
    memcached_server: Memcached, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a burst fewer callers need fewer connections; what is needed now and then is kept."""
    now = [1000.0]
    monkeypatch.setattr("cachedeco.storage.idle_connections.monotonic", lambda: now[0])
    cache = cache_on(memcached_server, pool_idle_timeout=10)
    [server] = cache._cache._servers.values()
    old, new = connected(server.pool), connected(server.pool)
    server.pool.idle.put(old)
    now[0] += 11
    server.pool.idle.put(new)

    cache.close()

    assert [False, True] == [each.sock is not None for each in (old, new)]
    assert new is server.pool.idle.take(is_quiet)
    cache.close()
    new.close()


def test_connections_kept_for_ever(memcached_server: Memcached, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a `pool_idle_timeout` of 0, as pymemcache has it."""
    now = [1000.0]
    monkeypatch.setattr("cachedeco.storage.idle_connections.monotonic", lambda: now[0])
    pool = MemcachedPool((HOST, memcached_server.port), {}, 2, 0)
    connection = connected(pool)
    pool.idle.put(connection)
    now[0] += 10**9

    pool.prune()

    assert connection is pool.idle.take(is_quiet)
    connection.close()


# --- looked at before use ---


@pytest.mark.parametrize("has_poll", [True, False])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_restart_of_the_server_is_seen_before_anything_is_sent(
    operation: str,
    has_poll: bool,
    private_memcached: Memcached,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """So no command fails because of it, and none is sent a second time."""
    if not has_poll:
        monkeypatch.delattr(select, "poll")
    cache = cache_on(private_memcached)
    cache.set("a", 1)
    private_memcached.restart()

    if operation in {"incr", "incr_version"}:
        with pytest.raises(ValueError, match="not found"):
            getattr(cache, operation)(*OPERATIONS[operation])
    else:
        getattr(cache, operation)(*OPERATIONS[operation])
    assert cache.add("other", 1)


def test_connection_on_which_something_came_late_is_not_used(memcached_server: Memcached) -> None:
    """The rest of an answer would be taken for the next one."""
    pool = MemcachedPool((HOST, memcached_server.port), {"timeout": 1}, 2, 10)
    connection = connected(pool)
    assert connection.sock
    connection.sock.sendall(b"version\r\n")
    select.select([connection.sock], [], [], 5)
    pool.idle.put(connection)

    assert pool.idle.take(is_quiet) is None
    assert connection.sock is None


@pytest.mark.parametrize("operation", ["get", "get_many"])
def test_read_whose_connection_is_lost_is_asked_for_again(operation: str) -> None:
    """On a new connection; once, as what it found there is no old connection's fault."""
    found = b"VALUE :1:a 16 1\r\nA\r\nEND\r\n"

    with Scripted([b"END\r\n", None], [found]) as server:
        cache = cache_on(server)
        cache.get("a")
        answer = getattr(cache, operation)(*OPERATIONS[operation])
        forget_servers()

    assert ("A" if operation == "get" else {"a": "A"}) == answer
    assert [2, 1] == [len(commands) for commands in server.heard]


def test_read_whose_second_connection_is_lost_is_a_miss() -> None:
    """It is not asked for a third time."""
    with Scripted([b"END\r\n", None], [None]) as server:
        cache = cache_on(server)

        found = [cache.get("a", "missing"), cache.get("a", "missing")]

    assert ["missing"] * 2 == found
    assert [2, 1] == [len(commands) for commands in server.heard]


@pytest.mark.parametrize("operation", [name for name in OPERATIONS if not name.startswith(("get", "set_many"))])
def test_write_whose_connection_is_lost_is_never_sent_again(operation: str) -> None:
    """It is unknown whether it was carried out, and between the two another process may have written."""
    with Scripted([b"END\r\n", None]) as server:
        cache = cache_on(server)
        cache.get("a")

        with pytest.raises(MemcachedConnectionError):
            getattr(cache, operation)(*OPERATIONS[operation])

    assert [2] == [len(commands) for commands in server.heard]


def test_connection_that_is_interrupted_while_it_is_checked_is_closed(
    pool: MemcachedPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To ask a socket of gevent whether it was closed lets other greenlets run, and a Timeout fall."""
    connection = connected(pool)
    pool.idle.put(connection)
    monkeypatch.setattr(connection, "has_unread", Mock(side_effect=Killed))

    with pytest.raises(Killed):
        pool.idle.take(is_quiet)

    assert connection.sock is None


# --- never used again ---


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit, Killed])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_interrupted_connection_is_never_used_again(
    operation: str, interrupt: type[BaseException], private_memcached: Memcached
) -> None:
    """With any part read when the interrupt came; the next caller gets an answer of its own."""
    cache = cache_on(private_memcached, socket_module=INTERRUPTIBLE)
    cache.set_many({"a": "A", "b": "B", "number": 1})
    before = opened(private_memcached)
    InterruptibleSocket.interrupt = interrupt()
    InterruptibleSocket.used_again = 0

    with pytest.raises(interrupt):
        getattr(cache, operation)(*OPERATIONS[operation])

    assert ["B", {"b": "B"}] == [cache.get("b"), cache.get_many(["b", "x"])]
    assert (0, 1) == (InterruptibleSocket.used_again, opened(private_memcached) - before)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(
    "answer",
    [b"nonsense\r\n", b"VALUE", b"VALUE :1:x 0 1\r\nX\r\n", b"VALUE :1:a 0\r\n"],
    ids=["nonsense", "a beginning", "another key", "too short"],
)
def test_answer_that_is_none_is_a_failure(operation: str, answer: bytes) -> None:
    """Half of one, one to another question, and what can't be read: a miss, or raised; the connection is closed."""
    well = b"END\r\n"

    with Scripted([answer], [well]) as server:
        cache = cache_on(server, timeout=BRIEFLY)
        if operation == "set_many":
            assert ["a", "new"] == cache.set_many({"a": 1, "new": 2})
        elif operation.startswith("get"):
            assert not getattr(cache, operation)(*OPERATIONS[operation])
        else:
            with pytest.raises((MemcachedConnectionError, MemcachedTimeoutError)):
                getattr(cache, operation)(*OPERATIONS[operation])
        forget_servers()
        cache_on(server).get("a")
        forget_servers()

    assert [1, 1] == [len(commands) for commands in server.heard]


def test_connection_is_open_after_a_value_that_cannot_be_read(private_memcached: Memcached) -> None:
    """Its answer was read to the end: what it means is no fault of the connection."""
    cache = cache_on(private_memcached)
    cache.set("key", 1)
    before = opened(private_memcached)
    client = Client((HOST, private_memcached.port), **WAITS)
    client.set(cache.make_key("broken"), b"no pickle", flags=1, noreply=False)
    client.close()

    assert [None, 1] == [cache.get("broken"), cache.get("key")]
    assert 1 == opened(private_memcached) - before
