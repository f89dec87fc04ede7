"""
Connections of our own to the servers of a RedisCache, kept by its cache object.

redis-py's pool counts a connection as taken until it is released: each interrupt between the two costs one for ever,
and a connection that is released with an answer to come gives that answer to the next command. Here a connection is
kept only after its whole answer has been read, and is forgotten otherwise.
"""

from collections import defaultdict
from collections.abc import Callable
from os import getpid
from typing import Any, TypeVar

from cachedeco.runtime.interrupts import pass_interrupt

T = TypeVar("T")


class RedisConnections:
    """Runs commands on kept connections; thread-safe, since appending to and popping from a list are atomic."""

    def __init__(self, choose_pool: Callable[..., Any]) -> None:
        """
        Open nothing yet.

        Args:
            choose_pool: Returns redis-py's pool of the primary (`write=True`), or of a server to read from. Its class
                and arguments of connections are used, not its connections.
        """
        from redis.exceptions import ConnectionError as Lost

        self._choose_pool = choose_pool
        self._idle: defaultdict[Any, list[Any]] = defaultdict(list)
        self._lost = Lost

    def run(self, command: Callable[[Any], T], *, writes: bool) -> T:
        """
        Run a command on a connection that no other caller uses.

        A write is sent once. A read is repeated on a new connection if a kept one was lost, as after a restart of the
        server, so it needs no look at the connection before.
        """
        pool = self._choose_pool(write=writes)
        idle = self._idle[pool]
        while True:
            kept = self._take(idle, checked=writes)
            connection = kept or pool.connection_class(**pool.connection_kwargs)
            try:
                result = command(connection)
            except self._lost:
                connection.disconnect()
                if kept is None or writes:
                    raise
            except BaseException:
                connection.disconnect()  # its answer may come later
                raise
            else:
                idle.append(connection)
                return result

    def close(self) -> None:
        """Close the kept connections."""
        for idle in self._idle.values():
            while idle:
                idle.pop().disconnect()

    @staticmethod
    def _take(idle: list[Any], *, checked: bool) -> Any | None:
        while idle:
            connection = idle.pop()
            # In a forked child it is the parent's, whose answers must not be read here.
            if connection.pid == getpid() and not (checked and _is_readable(connection)):
                return connection
            connection.disconnect()
        return None


def _is_readable(connection: Any) -> bool:
    """Tell whether a kept connection has bytes to read, or was closed by the server."""
    try:
        return bool(connection.can_read())
    except Exception as error:  # noqa: BLE001 -- of the socket or redis-py: it is of no more use
        pass_interrupt(error)
        return True
