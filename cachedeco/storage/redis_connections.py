"""
Connections of our own to the servers of a Redis cache, in the place of redis-py's pool.

redis-py's pool counts a connection as taken until it is released: each interrupt between the two costs one for ever,
and a connection that is released with an answer to come gives that answer to the next command. Here a connection is
kept only after its whole answer has been read, and is forgotten otherwise.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from math import inf
from operator import methodcaller
from os import getpid
from typing import Any, Final, Never, TypeVar

from cachedeco.runtime.interrupts import pass_interrupt
from cachedeco.storage.idle_connections import IdleConnections

T = TypeVar("T")
RedisCommand = Callable[[Any], T]  # what is done with a connection of redis-py's
Part = bytes | str | int | float  # of a command
#: What redis-py's parsers raise for bytes that are no answer, beside its own InvalidResponse.
UNPARSED: Final = (ValueError, TypeError)
_NUMBERS: Final = (int, float)


class RedisConnections:
    """Runs commands on kept connections. Thread-safe."""

    def __init__(self, choose_pool: Callable[..., Any], *, most: float = inf, seconds: float = inf) -> None:
        """
        Open nothing yet.

        Args:
            choose_pool: Returns redis-py's pool of the primary (`write=True`), or of a server to read from. Its class
                and arguments of connections are used, not its connections.

            most: Number of idle connections to keep for each server; more are open while more callers need one at once.

            seconds: Seconds to keep an idle connection.
        """
        from redis.connection import HiredisRespSerializer
        from redis.exceptions import ConnectionError as Lost
        from redis.utils import HIREDIS_AVAILABLE

        self._choose_pool = choose_pool
        self._begin_idle = partial(IdleConnections, methodcaller("disconnect"), most=most, seconds=seconds)
        self.idle = defaultdict[Any, IdleConnections[Any]](self._begin_idle)  # by pool
        self._lost = Lost
        # Of connections, beside those of the pool.
        self._arguments = {"command_packer": _TextPacker(HiredisRespSerializer())} if HIREDIS_AVAILABLE else {}

    def run(self, command: RedisCommand[T], *, writes: bool, is_first: bool = True) -> T:
        """
        Run a command on a connection that no other caller uses.

        A write is sent once. A read is repeated, once, on a new connection if a kept one was lost, as after a restart
        of the server, so it needs no look at the connection before.
        """
        pool = self._choose_pool(write=writes)
        idle = self.idle[pool]
        kept = idle.take(_is_quiet if writes else _is_of_this_process) if is_first else None
        connection = kept or pool.connection_class(**self._arguments | pool.connection_kwargs)
        try:
            result = command(connection)
        except BaseException as error:
            connection.disconnect()  # its answer may come later
            if writes or kept is None or not isinstance(error, self._lost):
                raise
        else:
            idle.put(connection)
            return result
        self.clear()  # the others are dead as well
        return self.run(command, writes=writes, is_first=False)

    def prune(self) -> None:
        """Close connections that were idle for too long."""
        for idle in list(self.idle.values()):
            idle.prune()

    def clear(self) -> None:
        """Close the kept connections; those that are in use are closed after use."""
        before, self.idle = self.idle, defaultdict(self._begin_idle)
        for idle in list(before.values()):
            idle.clear()


class _TextPacker:
    """
    Packs commands by hiredis, which gets no number, not even of what redis-py sends when it connects.

    hiredis 3.5 turns a number into text without asking whether that succeeds: where a signal's handler raises in it,
    the process ends with a segmentation fault.
    """

    def __init__(self, packer: Any) -> None:
        """Pack by redis-py's packer for hiredis."""
        self._packer = packer

    def pack(self, *arguments: Any) -> Any:
        """Return the parts of a packed command."""
        return self._packer.pack(*[str(each) if type(each) in _NUMBERS else each for each in arguments])


def answers_to(sent: Iterable[bytes], count: int, connection: Any) -> list[Any]:
    """Send packed commands at once, and then return all answers."""
    connection.send_packed_command(sent)
    return [answer_of(connection) for _ in range(count)]


def pack(parts: Sequence[Part]) -> bytes:
    """Return a command as it is sent."""
    lines = [b"*%d" % len(parts)]
    for part in parts:
        data = part if isinstance(part, bytes) else str(part).encode()
        lines += b"$%d" % len(data), data
    return b"\r\n".join([*lines, b""])


def answer_of(connection: Any) -> Any:
    """
    Return the answer to one command, text as bytes; a refusal is returned as an error, as the answer was read whole.

    Raises:
        ResponseError: It tells of the server, and not of the command: see `is_of_server()`.

        InvalidResponse: This is no answer.
    """
    from redis.exceptions import ResponseError

    try:
        return connection.read_response(disable_decoding=True)
    except ResponseError as error:
        if is_of_server(error):
            raise
        return error
    except UNPARSED as error:
        raise_unparsed(error)


def is_of_server(error: Exception) -> bool:
    """
    Tell whether a refusal is one of the server, and not of the command.

    The server is a replica, though it was not chosen as one, so that what it says of others may be old; or one that has
    lost its primary, and answers no read until that is back; or it runs a script, and answers nothing else.
    """
    from redis.exceptions import MasterDownError, ReadOnlyError, ResponseError

    is_busy = isinstance(error, ResponseError) and str(error).startswith("BUSY ")  # redis-py has no class for it
    return is_busy or isinstance(error, ReadOnlyError | MasterDownError)


def raise_unparsed(error: Exception) -> Never:
    """
    Raise what redis-py raises for most answers that are none, in the place of one of `UNPARSED`.

    Raises:
        InvalidResponse: In any case but an interrupt.
    """
    from redis.exceptions import InvalidResponse

    pass_interrupt(error)
    msg = "redis-py can't parse the answer"
    raise InvalidResponse(msg) from error


def values_in(answer: Any, count: int) -> Any:
    """
    Return the answer to MGET, or its refusal.

    Raises:
        InvalidResponse: This has not one value for each key, so it may be the answer to another command.
    """
    if (type(answer) is list and len(answer) == count) or isinstance(answer, Exception):
        return answer
    from redis.exceptions import InvalidResponse

    msg = f"the answer to MGET of {count} keys has another number of values"
    raise InvalidResponse(msg)


def _is_of_this_process(connection: Any) -> bool:
    """Tell whether a kept connection is not that of the parent of a forked child, whose answers must not be read."""
    return bool(connection.pid == getpid())


def _is_quiet(connection: Any) -> bool:
    """Tell whether a kept connection, too, has no bytes to read, and was not closed by the server."""
    try:
        return _is_of_this_process(connection) and not connection.can_read()
    except Exception as error:  # noqa: BLE001 -- of the socket or redis-py: it is of no more use
        pass_interrupt(error)
        return False
