"""
One server of memcached or Redis: its connection pool, and a circuit breaker with exponential backoff.

After a failure the server gets no commands for a pause: reads are misses, at once. After the pause one caller sends a
probe, and waits for the answer; a failure makes the next pause longer. So a server that hangs costs one request one
timeout per backoff interval.

If the server refused connections, writes are tried during a pause too, since a refusal takes no time: other processes
use a restarted server at once, so deletions and invalidations must reach it. If the server hangs, writes fail until the
pause ends.
"""

import atexit
import logging
from collections.abc import Callable, Iterable
from random import uniform
from time import monotonic
from typing import Any, ClassVar, Final, Literal, Protocol, TypeVar, cast

from cachedeco.backends.exchange import Exchange
from cachedeco.runtime import state  # noqa: F401 -- its handlers renew what is here after a fork
from cachedeco.runtime.interrupts import pass_interrupt
from cachedeco.runtime.locks import RLock

logger = logging.getLogger("cachedeco")

T = TypeVar("T")
OnConnection = Callable[[Any], T]  # what is done with a connection

# Seconds. A server that was slow once is probed soon; one that stays unreachable costs little after a while.
FIRST_PAUSE: Final = 0.25
GROWTH: Final = 2
# Short, since writes to a server that hung fail until the pause ends, even if it has recovered.
LONGEST_PAUSE: Final = 10.0
# Processes that saw a server die at the same moment must not all probe it at the same moment.
JITTER: Final = 0.25

_lock = RLock()  # guards the outages of all servers


class UnreachableError(OSError):
    """A cache server is unreachable; it is unknown whether a write was carried out."""

    server: str = ""  #: as `LOCATION` names it, with its port
    operation: str = ""  #: `"set"`, `"delete_many"` ...


Unreachable = TypeVar("Unreachable", bound=UnreachableError)


class Failures(Protocol):
    """What the errors of one client library mean: a module of this package."""

    @property
    def PRODUCT(self) -> str:  # noqa: N802 -- a constant of the module
        """The name of the server's product."""
        ...

    def is_failure(self, error: Exception, /, *, writes: bool) -> bool:
        """Tell whether an error means that the server failed, and not that it refused the command."""
        ...

    def took_time(self, error: Exception, /) -> bool:
        """Tell whether a failure took time."""
        ...

    def describe_error(self, error: Exception, /) -> str:
        """Return an error as text, without keys and values."""
        ...

    def unreachable_error(self, server: str, operation: str, reason: str, /, *, waits: bool) -> UnreachableError:
        """Return the exception for a failed command."""
        ...


class ServerLoops(Protocol):
    """The connections of event loops to one server."""

    def choose(self, *, writes: bool) -> Any:
        """Return what sends the next command of the running loop; see `Loops`."""
        ...

    def clear(self) -> None:
        """Use no connection any more that is open now, from any thread."""
        ...


class Pool(Protocol):
    """The connections to one server."""

    failures: ClassVar[Failures]  #: what the errors of its connections mean

    @property
    def loops(self) -> ServerLoops | None:
        """Those of event loops; None where these have none of their own."""
        ...

    def run(self, command: OnConnection[T], /, *, writes: bool) -> T:
        """Run a command on a connection of its own: a write once, a read again if a kept connection was dead."""
        ...

    def prune(self) -> None:
        """Close connections that were idle for too long."""
        ...

    def clear(self) -> None:
        """Close all idle connections; nothing is sent to the server, also in a forked child."""
        ...


class Outage:
    """The time from the first failure of a server to its next answer: the state of an open circuit breaker."""

    __slots__ = ("_failures", "began", "pause", "probed_until", "reason", "until", "waits")

    def __init__(self, error: Exception, failures: Failures) -> None:
        """Begin with a first pause."""
        self._failures = failures
        self.began = monotonic()
        self.pause = FIRST_PAUSE / GROWTH
        self.probed_until = 0.0
        self.lengthen(error)

    def lengthen(self, error: Exception) -> None:
        """Begin a pause, longer than the last one: exponential backoff."""
        # Not the error itself: its traceback would keep the local variables of its caller alive during the outage.
        self.reason, self.waits = self._failures.describe_error(error), self._failures.took_time(error)
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


def unreachable(kind: type[Unreachable], product: str, server: str, operation: str, reason: str) -> Unreachable:
    """Return the exception of a kind for a failed command."""
    error = kind(
        f"{operation} failed, as {product} server {server} is out of reach ({reason}). Start it, or repair the network."
    )
    error.server, error.operation = server, operation
    return error


class Server:
    """One server. Thread-safe, and usable after a fork."""

    def __init__(self, name: str, pool: Pool) -> None:
        """Create a server without an outage; nothing is sent."""
        self.name = name
        self.pool = pool
        self._failures = pool.failures
        self._outage: Outage | None = None

    @property
    def is_out_of_reach(self) -> bool:
        """Whether its last command failed: nothing is sent to find out."""
        return self._outage is not None

    def run(self, operation: str, command: OnConnection[T], *, writes: bool, insists: bool = False) -> T:
        """
        Run a command on a connection that no other caller uses; a write is sent once.

        A caller that *insists* has a circuit breaker of its own: its command is sent in a pause, too. In the error
        *operation* says what is done.

        Raises:
            UnreachableError: The server is unreachable, or did not answer.
        """
        if self._outage is not None:
            return self._run_in_outage(self._outage, operation, command, writes=writes, insists=insists)
        try:
            return self.pool.run(command, writes=writes)
        except Exception as error:
            pass_interrupt(error)
            self._raise_if_unreachable(operation, error, writes=writes)
            raise

    def _run_in_outage(
        self, outage: Outage, operation: str, command: OnConnection[T], *, writes: bool, insists: bool
    ) -> T:
        permission = self._permission(outage, operation, writes=writes, insists=insists)
        try:
            result = self.pool.run(command, writes=writes)
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
        failures = self._failures
        if failures.is_failure(error, writes=writes):
            self._record_failure(error, is_probe=is_probe)
            raise failures.unreachable_error(
                self.name, operation, failures.describe_error(error), waits=failures.took_time(error)
            ) from error

    def _permission(self, outage: Outage, operation: str, *, writes: bool, insists: bool) -> Literal["probe", "try"]:
        permission = outage.allows_request(writes=writes) or ("try" if insists else None)
        if permission is None:
            raise self._failures.unreachable_error(self.name, operation, outage.reason, waits=outage.waits)
        return permission

    async def arun(  # noqa: PLR0913 -- a wrapper with fewer would be one coroutine more at each hit
        self,
        operation: str,
        exchange: Exchange[T],
        *,
        writes: bool,
        insists: bool = False,
        ignored: tuple[type[Exception], ...] = (),
        lost: Any = None,
    ) -> T:
        """
        Do as `run()` on a connection of the running loop, which other tasks use; return *lost* for an ignored error.

        Raises:
            UnreachableError: The server is unreachable, or did not answer.
        """
        outage, permission = self._outage, None
        loops: Any = self.pool.loops
        try:
            if outage is not None:
                permission = self._permission(outage, operation, writes=writes, insists=insists)
            try:
                connection = loops.choose(writes=writes)
                was_open = connection.is_open
                try:
                    result: T = await connection.send(exchange)
                except ConnectionError:
                    if writes or not was_open:
                        raise
                    result = await loops.choose(writes=False).send(exchange)
            except Exception as error:
                pass_interrupt(error)
                self._raise_if_unreachable(operation, error, writes=writes, is_probe=permission == "probe")
                raise
            finally:
                if outage is not None and permission == "probe":
                    outage.probed_until = 0.0
        except ignored:
            return cast("T", lost)
        if outage is not None:
            self._end_outage(outage)
        return result

    def forget(self) -> None:
        """Close the idle connections, and end the outage."""
        self.pool.clear()
        self._outage = None

    def _record_failure(self, error: Exception, *, is_probe: bool) -> None:
        with _lock:
            outage = self._outage
            if outage is None:
                self._outage = Outage(error, self._failures)
            elif is_probe or (self._failures.took_time(error) and not outage.waits):
                outage.lengthen(error)
        if outage is None:
            # If the host is gone, the idle connections are dead but look open: each would lose a write.
            self.pool.clear()
            logger.warning(
                "%s server %s is out of reach: %s. What is read from it counts as missing until it answers.",
                self._failures.PRODUCT,
                self.name,
                self._failures.describe_error(error),
            )

    def _end_outage(self, outage: Outage) -> None:
        with _lock:
            ends = self._outage is outage
            if ends:
                self._outage = None
        if ends:
            seconds = monotonic() - outage.began
            logger.info("%s server %s answers again, after %.1f s.", self._failures.PRODUCT, self.name, seconds)


AnyServer = TypeVar("AnyServer", bound=Server)

# By address and options: shared by the cache objects that Django makes for each thread and task.
_servers: dict[tuple[object, ...], Server] = {}


def kept_server(
    place: Iterable[object], options: Iterable[tuple[str, object]], make: Callable[[], AnyServer]
) -> AnyServer:
    """
    Return a server of the process, the same object for the same place and options; *make* keeps the options alive.

    Options that have no hash are the same if they are one object.
    """
    key = (*place, *((option, _identity(value)) for option, value in options))
    known = _servers.get(key)
    # If two threads create it at once, both get the first one.
    return cast("AnyServer", known or _servers.setdefault(key, make()))


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
        return id(value)  # unique, since the server keeps the options alive
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
