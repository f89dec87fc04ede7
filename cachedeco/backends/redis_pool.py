"""Connections to one Redis: to one address, or to the primary that Sentinels name at the moment."""

import logging
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any, ClassVar, Final, NamedTuple, TypeVar, cast

import redis.exceptions

from cachedeco.backends import redis_errors
from cachedeco.backends.exchange import Exchange
from cachedeco.backends.loops import Loops
from cachedeco.backends.redis_exchanges import Command
from cachedeco.backends.server import Failures, ServerLoops
from cachedeco.runtime.interrupts import pass_interrupt
from cachedeco.storage.redis_connections import RedisConnections, answer_of
from cachedeco.storage.replies import ReplyParser

logger = logging.getLogger("cachedeco")

T = TypeVar("T")

# Seconds for which the Sentinels' answer is believed. A primary that was frozen or cut off goes on as a primary for
# some seconds after another one has been elected, and a client that keeps a connection to it does not learn of that.
ASK_SECONDS: Final = 1.0


class RedisPool(RedisConnections):
    """The connections to one server, for `Server`. Thread-safe."""

    failures: ClassVar[Failures] = redis_errors
    #: Those of event loops; None where these can have none of their own.
    loops: ServerLoops | None = None

    def clear(self) -> None:
        """See `RedisConnections`; and use no connection of event loops any more that is open now."""
        super().clear()
        if self.loops is not None:
            self.loops.clear()


class Primary(NamedTuple):
    """The primary, as a Sentinel has named it."""

    address: tuple[str, int]
    pool: Any  #: redis-py's, whose connections go there
    loops: Loops | None  #: the connections of event loops that go there
    asked_at: float
    epoch: object = None  #: that of these connections when a Sentinel was asked


class SentinelPool(RedisPool):
    """
    The connections to the primary of a service.

    No connection is used, kept or new, unless a Sentinel has named its server within the last second, to this process:
    what threads have asked, event loops know. A new one is asked for its role, too, as a Sentinel may be late itself.
    """

    def __init__(
        self,
        service: str,
        sentinels: Sequence[RedisPool],
        ways_to: Callable[[str, int], tuple[Any, Loops | None]],
        *,
        most: float,
        seconds: float,
    ) -> None:
        """
        Ask nothing yet; the Sentinels know the primary by the name of a service. For the others see `RedisConnections`.

        *ways_to* returns redis-py's pool for a host and port, and the connections of event loops; None if these can
        have none.
        """
        super().__init__(self._pool_of_primary, most=most, seconds=seconds)
        self._service = service
        self._sentinels = list(sentinels)
        self._ways_to = ways_to
        self._primary: Primary | None = None
        self._last_address: tuple[str, int] | None = None

    def prune(self) -> None:
        """Close connections that were idle for too long, those to the Sentinels too."""
        super().prune()
        for each in self._sentinels:
            each.prune()

    def clear(self) -> None:
        """Close all idle connections, and ask again before the next command: the primary may be another one."""
        self._leave()
        for each in self._sentinels:
            each.clear()

    def _leave(self) -> None:
        """Close all connections to the primary."""
        primary, self._primary = self._primary, None
        super().clear()
        if primary is not None and primary.loops is not None:
            primary.loops.clear()

    def _pool_of_primary(self, *, write: bool) -> Any:  # noqa: ARG002 -- reads may not be older than writes
        primary, asked_at = self._believed(), monotonic()
        return (primary or self._note(self._address_of_primary(), asked_at)).pool

    def believed_loops(self) -> Loops | None:
        """Return the connections of event loops; None if a Sentinel has to be asked: after a loss, or some time."""
        primary = self._believed()
        if primary is None or primary.loops is None or primary.loops.epoch is not primary.epoch:
            return None
        return primary.loops

    async def ask_on_loop(self) -> Loops:
        """Ask a Sentinel, and return the connections of event loops."""
        asked_at = monotonic()
        return cast("Loops", self._note(await self._aaddress_of_primary(), asked_at).loops)

    def _believed(self) -> Primary | None:
        primary = self._primary
        return None if primary is None or monotonic() - primary.asked_at > ASK_SECONDS else primary

    def _note(self, address: tuple[str, int], asked_at: float) -> Primary:
        """Take an answer, unless that to a later question is there."""
        before = self._primary
        if before is not None and before.asked_at > asked_at:
            return before
        if before is not None and before.address == address:
            primary = before._replace(asked_at=asked_at)
        else:
            self._leave()
            primary = Primary(address, *self._ways_to(*address), asked_at)
        self._primary = primary = primary._replace(epoch=primary.loops and primary.loops.epoch)
        former, self._last_address = self._last_address, address
        if former is not None and former != address:
            logger.warning(  # the one trace of what the failover has lost; last, as a handler may use the cache
                "%s:%d is the primary of the Redis service %s now, after %s:%d. Writes that it has not received "
                "are lost, invalidations among them.",
                *address,
                self._service,
                *former,
            )
        return primary

    def _address_of_primary(self) -> tuple[str, int]:
        """Return what the first Sentinel says that answers."""
        failure: Exception | None = None
        for each in list(self._sentinels):
            try:
                return self._address_in(each.run(Command(*self._question).over, writes=False))
            except (OSError, redis.exceptions.RedisError) as error:
                pass_interrupt(error)
                failure = self._put_last(each, error)
        raise failure or self._unknown()

    async def _aaddress_of_primary(self) -> tuple[str, int]:
        failure: Exception | None = None
        for each in list(self._sentinels):
            try:
                asking = cast("ServerLoops", each.loops).choose(writes=True)  # which looks if the connection is alive
                return self._address_in(await asking.send(Command(*self._question)))
            except (OSError, redis.exceptions.RedisError) as error:
                pass_interrupt(error)
                failure = self._put_last(each, error)
        raise failure or self._unknown()

    def _put_last(self, sentinel: RedisPool, error: Exception) -> Exception:
        """Ask the others before this one from now on; return why. To an event loop a refusal is an error, too."""
        self._sentinels = [*(other for other in self._sentinels if other is not sentinel), sentinel]
        is_refusal = isinstance(error, redis.exceptions.ResponseError)
        return redis.exceptions.ConnectionError(str(error)) if is_refusal else error

    @property
    def _question(self) -> tuple[str, ...]:
        return "SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._service

    def _address_in(self, answer: Any) -> tuple[str, int]:
        """
        Return the address in an answer.

        Raises:
            ConnectionError: redis-py's: there is none. It is no Sentinel, or refuses, or does not know the service.
        """
        match answer:
            case [bytes() as host, bytes() as port] if port.isdigit():
                return host.decode(errors="replace"), int(port)
            case None:
                raise self._unknown()
        raise redis.exceptions.ConnectionError(str(answer))

    def _unknown(self) -> Exception:
        return redis.exceptions.ConnectionError(f"no Sentinel knows a primary {self._service!r}")


class LoopsOfPrimary:
    """The connections of event loops to the primary of a service; see `Loops`."""

    def __init__(self, pool: SentinelPool) -> None:
        """Go where a pool says."""
        self._pool = pool

    def choose(self, *, writes: bool) -> Any:
        """Return what sends the next command: a connection, or what asks a Sentinel first."""
        loops = self._pool.believed_loops()
        return _Question(self._pool) if loops is None else loops.choose(writes=writes)

    def clear(self) -> None:
        """Nothing: the pool, which is cleared, has these connections."""


class _Question:
    """In the place of a connection: a question to a Sentinel, and then a command."""

    is_open = False  # what has failed is not sent again

    def __init__(self, pool: SentinelPool) -> None:
        self._pool = pool

    async def send(self, exchange: Exchange[T]) -> T:
        """Send a command to the primary that a Sentinel names now."""
        loops = await self._pool.ask_on_loop()
        return await loops.choose(writes=True).send(exchange)  # as above


class AskRole(Command):
    """Ask a new connection of an event loop for the role of its server, as `refuse_replica()` does."""

    __slots__ = ()

    def __init__(self) -> None:
        """Pack it."""
        super().__init__("ROLE")

    def parse(self, data: bytes) -> ReplyParser[tuple[Any, bytes]]:
        """See `Exchange`."""
        answer, rest = yield from super().parse(data)
        return _failure_in(answer), rest


def refuse_replica(connection: Any) -> None:
    """
    Close a new connection to a server that is no primary: a Sentinel may have been late.

    Raises:
        ConnectionError: redis-py's: the server is a replica.
    """
    connection.send_command("ROLE")
    failure = _failure_in(answer_of(connection))
    if failure is not None:
        raise failure


def _failure_in(answer: Any) -> Exception | None:
    """Return an error unless this is the role of a primary."""
    if isinstance(answer, list) and answer[:1] == [b"master"]:
        return None
    return redis.exceptions.ConnectionError("the server that the Sentinels name as primary is a replica")
