"""
One memcached server, as this process knows it: its connections, and whether it is out of reach.

A server that fails is left alone for a pause: what is read from it counts as missing, at once. When the pause is over
the next command is sent, and one caller waits for it; a failure makes the next pause longer. So a server that hangs
costs one caller one timeout in each pause.

A write is tried during a pause, too, where the server refused connections, since that takes no time to find out: one
that was started again is used by others at once, and what is deleted or invalidated must be so there. Of one that
hangs, writes wait for the end of the pause, and fail until then.
"""

import logging
from collections.abc import Callable, Mapping
from random import uniform
from threading import RLock
from time import monotonic
from typing import Any, Final, Literal, TypeVar

from pymemcache.exceptions import MemcacheUnexpectedCloseError

from cachedeco.backends.errors import described, failure, is_failure, waited
from cachedeco.backends.pool import Connection, Pool

logger = logging.getLogger("cachedeco")

T = TypeVar("T")
Address = tuple[str, int] | str  # of a Unix socket: its path
Command = Callable[[Connection], T]

# Seconds. What was only slow, once, is asked again soon; one that stays away costs little after a while.
FIRST_PAUSE: Final = 0.25
GROWTH: Final = 2
# Short, as writes to a server that hung, and is well again, fail until it ends.
LONGEST_PAUSE: Final = 10.0
# Processes that saw one server die together must not all ask it together.
JITTER: Final = 0.25


class Outage:
    """The time from the failure that found a server out of reach to its next answer."""

    __slots__ = ("began", "pause", "probed_until", "reason", "until", "waits")

    def __init__(self, error: Exception) -> None:
        """Begin with a first pause."""
        self.began = monotonic()
        self.pause = FIRST_PAUSE / GROWTH
        self.probed_until = 0.0
        self.lengthen(error)

    def lengthen(self, error: Exception) -> None:
        """Begin a pause, longer than the last one."""
        # Not the error itself, in whose traceback is all that its caller had, for as long as the outage lasts.
        self.reason, self.waits = described(error), waited(error)
        self.pause = min(self.pause * GROWTH, LONGEST_PAUSE)
        self.until = monotonic() + self.pause * uniform(1 - JITTER, 1)

    def allows_request(self, *, writes: bool) -> Literal["probe", "try"] | None:
        """Tell whether a command may be sent, and whether others wait for what becomes of it."""
        with _lock:
            now = monotonic()
            if now >= max(self.until, self.probed_until):
                # Not for ever: an interrupt may come between this and the question.
                self.probed_until = now + LONGEST_PAUSE
                return "probe"
        return "try" if writes and not self.waits else None


class Server:
    """One server. Safe across threads, and after a fork."""

    def __init__(self, name: str, pool: Pool) -> None:
        """Believe it to be well; nothing is sent."""
        self.name = name
        self.pool = pool
        self._outage: Outage | None = None

    def run(self, operation: str, command: Command[T], *, writes: bool) -> T:
        """
        Carry out a command on a connection of its own.

        What is written is sent once; what is read is asked for again where the connection was lost.

        Raises:
            MemcachedError: The server can't be asked, or its answer did not come.
        """
        outage = self._outage
        way = None if outage is None else outage.allows_request(writes=writes)
        if outage is not None and way is None:
            raise failure(self.name, operation, outage.reason, waits=outage.waits)
        try:
            result = self._carried_out(command, again=not writes)
        except Exception as error:
            if not is_failure(error, writes=writes):
                raise
            self._failed(error, is_probe=way == "probe")
            raise failure(self.name, operation, described(error), waits=waited(error)) from error
        finally:
            if outage is not None and way == "probe":
                outage.probed_until = 0.0
        if outage is not None:
            self._check_progress(outage)
        return result

    def forget(self) -> None:
        """Close what nobody uses, and believe the server to be well again."""
        self.pool.clear()
        self._outage = None

    def _carried_out(self, command: Command[T], *, again: bool) -> T:
        known = self.pool.take()
        connection = known or self.pool.connection()
        try:
            result = command(connection)
        except BaseException as error:  # half an answer may be on it: also after a KeyboardInterrupt
            connection.close()
            # The server was started again just now: the answer of the new one is as good.
            if again and known and isinstance(error, ConnectionError | MemcacheUnexpectedCloseError):
                self.pool.clear()
                return self._carried_out(command, again=False)
            raise
        if connection.sock is not None:
            self.pool.put(connection)
        return result

    def _failed(self, error: Exception, *, is_probe: bool) -> None:
        with _lock:
            outage = self._outage
            if outage is None:
                self._outage = Outage(error)
            elif is_probe or (waited(error) and not outage.waits):
                outage.lengthen(error)
        if outage is None:
            # Where its host is gone the others are as dead, and look well: each would lose the write it is taken for.
            self.pool.clear()
            logger.warning(
                "memcached server %s is out of reach: %s. What is read from it counts as missing until it answers.",
                self.name,
                described(error),
            )

    def _check_progress(self, outage: Outage) -> None:
        with _lock:
            ends = self._outage is outage
            if ends:
                self._outage = None
        if ends:
            logger.info("memcached server %s answers again, after %.1f s.", self.name, monotonic() - outage.began)


# A signal's handler, and what garbage collection calls, may use the cache while their own thread holds it.
_lock = RLock()
# By address and options: the caches that Django makes for each thread, and each task, share them.
_servers: dict[tuple[object, ...], Server] = {}


def server_at(name: str, address: Address, options: Mapping[str, Any], *, most: int, seconds: float) -> Server:
    """Return the server at an address, the same for the same options; as `Pool` takes them."""
    given = [(option, _identity(value)) for option, value in sorted(options.items())]
    key = (address, most, seconds, *given)
    known = _servers.get(key)
    # Of two threads that make it at once, both get that of the first.
    return known or _servers.setdefault(key, Server(name, Pool(address, options, most, seconds)))


def forget_servers() -> None:
    """Close every connection that nobody is using, and forget what is known of any server."""
    servers = list(_servers.values())
    _servers.clear()
    for server in servers:
        server.forget()


def _identity(value: object) -> object:
    try:
        hash(value)
    except TypeError:
        return id(value)  # which stays its own: the pool keeps the options
    return value


def forget_in_child() -> None:
    """Close the parent's idle connections in a forked child, which says nothing to the servers."""
    for server in _servers.values():
        server.forget()
