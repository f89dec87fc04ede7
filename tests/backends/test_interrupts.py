"""Interrupts at the worst moment, and what an outage leaves behind."""

import gc
import socket
import weakref
from collections import deque

import pytest

from cachedeco.backends import server as servers
from cachedeco.backends.memcached_errors import MemcachedConnectionError, MemcachedTimeoutError
from cachedeco.backends.memcached_pool import MemcachedConnection, MemcachedPool
from cachedeco.backends.server import FIRST_PAUSE, LONGEST_PAUSE, Server
from tests.backends.asking import GONE, HANGS, Asked, Clock
from tests.backends.caches import cache_at
from tests.support.hanging import BRIEFLY
from tests.support.servers import HOST


def test_probe_that_was_never_made_is_not_waited_for(asked: Asked, advance: Clock) -> None:
    """Its caller was interrupted after it had been admitted, and before it asked."""
    asked.trouble = HANGS
    asked.run()
    asked.trouble = None
    advance(FIRST_PAUSE)
    outage = asked.server._outage
    assert outage
    assert "probe" == outage.allows_request(writes=False)

    during = asked.run()
    advance(LONGEST_PAUSE)
    after = asked.run()

    assert ("MemcachedTimeoutError", "answer") == (during, after)


@pytest.mark.parametrize("found", [GONE, HANGS])
def test_cache_may_be_used_by_who_interrupts(
    asked: Asked, advance: Clock, found: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The handler of a signal runs in the middle of anything, in the thread that may hold the lock."""
    nested: list[str] = []

    def interrupted(_least: float, most: float) -> float:
        if servers._lock.acquire(blocking=False):
            servers._lock.release()
            monkeypatch.setattr("cachedeco.backends.server.uniform", lambda _least, most: most)
            nested.append(asked.run())
        return most

    monkeypatch.setattr("cachedeco.backends.server.uniform", interrupted)
    asked.trouble = found
    asked.run()
    asked.trouble = None
    advance(2 * FIRST_PAUSE)

    kind = MemcachedTimeoutError if found is HANGS else MemcachedConnectionError
    assert ([kind.__name__], "answer") == (nested, asked.run())


# --- what is kept ---


def test_outage_keeps_nothing_of_who_found_it(asked: Asked) -> None:
    """An error leads to the frames of its caller, and these to all that they have: requests, rows, open files."""

    class Thing:
        """What a view may have."""

    asked.trouble = HANGS

    def view() -> weakref.ref[Thing]:
        thing = Thing()
        asked.trouble = type(HANGS)()
        asked.run()
        asked.trouble = None
        return weakref.ref(thing)

    seen = view()
    gc.collect()

    assert seen() is None


def test_idle_connections_go_with_the_server(asked: Asked) -> None:
    """Where its host is gone they look well, and each would lose the write that it is taken for."""
    here, there = socket.socketpair()
    connection = asked.server.pool.connection()
    connection.sock = here

    def failing(_connection: MemcachedConnection) -> None:
        asked.server.pool.idle.put(connection)  # which another caller has used meanwhile
        raise ConnectionResetError

    with pytest.raises(MemcachedConnectionError):
        asked.server.run("set", failing, writes=True)

    there.close()
    assert connection.sock is None


def test_write_that_failed_is_not_delivered_later() -> None:
    """What the network did not take in time must not arrive after what is written next."""
    with socket.socket() as listener:
        # Both before it listens: what does not fit in stays with the client.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listener.bind((HOST, 0))
        listener.listen()
        cache = cache_at(f"{HOST}:{listener.getsockname()[1]}", timeout=BRIEFLY)

        with pytest.raises(MemcachedTimeoutError):
            cache.set("key", b"x" * 200_000)

        with listener.accept()[0] as connection, pytest.raises(ConnectionResetError):
            deque(iter(lambda: connection.recv(65536), b""), maxlen=0)


def test_read_does_without_every_connection_that_is_lost() -> None:
    """All of them, where the server was started again: the second attempt is on a new one."""
    server = Server("there:1", MemcachedPool(("there", 1), {}, 2, 0))
    lost = [(server.pool.connection(), socket.socketpair()) for _ in range(2)]
    for connection, (here, _) in lost:
        connection.sock = here
        server.pool.idle.put(connection)

    def answer(connection: MemcachedConnection) -> str:
        if connection in [each for each, _ in lost]:
            raise ConnectionResetError
        return "answer"

    found = server.run("get", answer, writes=False)

    for _, (_, there) in lost:
        there.close()
    assert "answer" == found
