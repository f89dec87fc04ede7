"""
One memcached server: its connection pool, and a circuit breaker with exponential backoff.

After a failure the server gets no commands for a pause: reads are misses, at once. After the pause one caller sends a
probe, and waits for the answer; a failure makes the next pause longer. So a server that hangs costs one request one
timeout per backoff interval.

If the server refused connections, writes are tried during a pause too, since a refusal takes no time: other processes
use a restarted server at once, so deletions and invalidations must reach it. If the server hangs, writes fail until the
pause ends.
"""

import atexit
import logging
from collections.abc import Callable, Mapping
from random import uniform
from threading import RLock
from time import monotonic
from typing import Any, Final, Literal, TypeVar

from pymemcache.exceptions import MemcacheUnexpectedCloseError

from cachedeco.backends.errors import describe_error, is_failure, took_time, unreachable_error
from cachedeco.backends.pool import Connection, Pool
from cachedeco.runtime import state  # noqa: F401 -- its handlers renew what is here after a fork
from cachedeco.runtime.interrupts import pass_interrupt

logger = logging.getLogger("cachedeco")

T = TypeVar("T")
Address = tuple[str, int] | str  # a str is the path of a Unix socket
Command = Callable[[Connection], T]

# Seconds. A server that was slow once is probed soon; one that stays unreachable costs little after a while.
FIRST_PAUSE: Final = 0.25
GROWTH: Final = 2
# Short, since writes to a server that hung fail until the pause ends, even if it has recovered.
LONGEST_PAUSE: Final = 10.0
# Processes that saw a server die at the same moment must not all probe it at the same moment.
JITTER: Final = 0.25


class Outage:
    """The time from the first failure of a server to its next answer: the state of an open circuit breaker."""

    __slots__ = ("began", "pause", "probed_until", "reason", "until", "waits")

    def __init__(self, error: Exception) -> None:
        """Begin with a first pause."""
        self.began = monotonic()
        self.pause = FIRST_PAUSE / GROWTH
        self.probed_until = 0.0
        self.lengthen(error)

    def lengthen(self, error: Exception) -> None:
        """Begin a pause, longer than the last one: exponential backoff."""
        # Not the error itself: its traceback would keep the local variables of its caller alive during the outage.
        self.reason, self.waits = describe_error(error), took_time(error)
        self.pause = min(self.pause * GROWTH, LONGEST_PAUSE)
        self.until = monotonic() + self.pause * uniform(1 - JITTER, 1)

    def allows_request(self, *, writes: bool) -> Literal["probe", "try"] | None:
        """Return "probe" or "try" if a command may be sent; no other command is a probe before a probe ends."""
        with _lock:
            now = monotonic()
            if now >= max(self.until, self.probed_until):
                # Limited, since an interrupt may come between this and the probe.
                self.probed_until = now + LONGEST_PAUSE
                return "probe"
        return "try" if writes and not self.waits else None


class Server:
    """One server. Thread-safe, and usable after a fork."""

    def __init__(self, name: str, pool: Pool) -> None:
        """Create a server without an outage; nothing is sent."""
        self.name = name
        self.pool = pool
        self._outage: Outage | None = None

    def run(self, operation: str, command: Command[T], *, writes: bool) -> T:
        """
        Run a command on a connection that no other caller uses.

        A write is sent once; a read is repeated if the connection was lost.

        Raises:
            MemcachedError: The server is unreachable, or did not answer.
        """
        if self._outage is not None:
            return self._run_in_outage(self._outage, operation, command, writes=writes)
        try:
            return self._execute(command, again=not writes)
        except Exception as error:
            pass_interrupt(error)
            self._raise_if_unreachable(operation, error, writes=writes)
            raise

    def _run_in_outage(self, outage: Outage, operation: str, command: Command[T], *, writes: bool) -> T:
        permission = outage.allows_request(writes=writes)
        if permission is None:
            raise unreachable_error(self.name, operation, outage.reason, waits=outage.waits)
        try:
            result = self._execute(command, again=not writes)
        except Exception as error:
            pass_interrupt(error)
            self._raise_if_unreachable(operation, error, writes=writes, is_probe=permission == "probe")
            raise
        finally:
            if permission == "probe":
                outage.probed_until = 0.0
        self._end_outage(outage)
        return result

    def _raise_if_unreachable(self, operation: str, error: Exception, *, writes: bool, is_probe: bool = False) -> None:
        if is_failure(error, writes=writes):
            self._record_failure(error, is_probe=is_probe)
            raise unreachable_error(self.name, operation, describe_error(error), waits=took_time(error)) from error

    def forget(self) -> None:
        """Close the idle connections, and end the outage."""
        self.pool.clear()
        self._outage = None

    def _execute(self, command: Command[T], *, again: bool) -> T:
        known = self.pool.take(checked=not again)
        connection = known or self.pool.connection()
        try:
            result = command(connection)
        except BaseException as error:  # part of an answer may be unread, also after a KeyboardInterrupt
            connection.close()
            # The server was restarted: its new process gives a valid answer.
            if again and known and isinstance(error, ConnectionError | MemcacheUnexpectedCloseError):
                self.pool.clear()
                return self._execute(command, again=False)
            raise
        if connection.sock is not None:
            self.pool.put(connection)
        return result

    def _record_failure(self, error: Exception, *, is_probe: bool) -> None:
        with _lock:
            outage = self._outage
            if outage is None:
                self._outage = Outage(error)
            elif is_probe or (took_time(error) and not outage.waits):
                outage.lengthen(error)
        if outage is None:
            # If the host is gone, the idle connections are dead but look open: each would lose a write.
            self.pool.clear()
            logger.warning(
                "memcached server %s is out of reach: %s. What is read from it counts as missing until it answers.",
                self.name,
                describe_error(error),
            )

    def _end_outage(self, outage: Outage) -> None:
        with _lock:
            ends = self._outage is outage
            if ends:
                self._outage = None
        if ends:
            logger.info("memcached server %s answers again, after %.1f s.", self.name, monotonic() - outage.began)


# Reentrant: a signal handler or a finalizer may use the cache in the thread that holds the lock.
_lock = RLock()
# By address and options: shared by the cache objects that Django makes for each thread and task.
_servers: dict[tuple[object, ...], Server] = {}


def server_at(name: str, address: Address, options: Mapping[str, Any], *, most: int, seconds: float) -> Server:
    """Return the server at an address, the same object for the same options; the arguments are those of `Pool`."""
    given = [(option, _identity(value)) for option, value in sorted(options.items())]
    key = (address, most, seconds, *given)
    known = _servers.get(key)
    # If two threads create it at once, both get the first one.
    return known or _servers.setdefault(key, Server(name, Pool(address, options, most, seconds)))


def forget_servers() -> None:
    """Close all idle connections, and forget all servers."""
    servers = list(_servers.values())
    _servers.clear()
    for server in servers:
        server.forget()


def _identity(value: object) -> object:
    try:
        hash(value)
    except TypeError:
        return id(value)  # unique, since the pool keeps the options alive
    return value


@atexit.register
def close_idle_connections() -> None:
    """
    Close the idle connections, and end all outages; nothing is sent to the servers.

    Called in a forked child, where they are the parent's, and when the interpreter ends, or Python would warn of each
    socket that is left open.
    """
    for server in list(_servers.values()):
        server.forget()
