"""Connections to one Redis: to one address, or to the primary that Sentinels name at the moment."""

from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any, ClassVar, Final, NamedTuple

import redis.exceptions

from cachedeco.backends import redis_errors
from cachedeco.backends.loops import Loops
from cachedeco.backends.server import Failures
from cachedeco.runtime.interrupts import pass_interrupt
from cachedeco.storage.redis_connections import RedisConnections, answer_of, ask

# Seconds for which the Sentinels' answer is believed. A primary that was frozen or cut off goes on as a primary for
# some seconds after another one has been elected, and whoever keeps a connection to it does not learn of that.
ASK_SECONDS: Final = 1.0


class RedisPool(RedisConnections):
    """The connections to one server, for `Server`. Thread-safe."""

    failures: ClassVar[Failures] = redis_errors
    #: Those of event loops; None where these can have none of their own.
    loops: Loops | None = None

    def clear(self) -> None:
        """See `RedisConnections`; and use no connection of event loops any more that is open now."""
        super().clear()
        if self.loops is not None:
            self.loops.clear()


class Primary(NamedTuple):
    """The primary, as a Sentinel has named it."""

    address: tuple[str, int]
    pool: Any  #: redis-py's, whose connections go there
    asked_at: float


class SentinelPool(RedisPool):
    """
    The connections to the primary of a service.

    No connection is used, kept or new, unless a Sentinel has named its server within the last second. A new one is
    asked for its role, too, as a Sentinel may be late itself.
    """

    def __init__(
        self,
        service: str,
        sentinels: Sequence[RedisPool],
        pool_at: Callable[[str, int], Any],
        *,
        most: float,
        seconds: float,
    ) -> None:
        """
        Ask nothing yet.

        Args:
            service: The name that the Sentinels have for the primary.

            sentinels: Connections to each of them.

            pool_at: Returns redis-py's pool for a host and port.

            most: See `RedisConnections`.

            seconds: See `RedisConnections`.
        """
        super().__init__(self._pool_of_primary, most=most, seconds=seconds)
        self._service = service
        self._sentinels = list(sentinels)
        self._pool_at = pool_at
        self._primary: Primary | None = None

    def prune(self) -> None:
        """Close connections that were idle for too long, those to the Sentinels too."""
        super().prune()
        for each in self._sentinels:
            each.prune()

    def clear(self) -> None:
        """Close all idle connections, and ask again before the next command: the primary may be another one."""
        self._primary = None
        super().clear()
        for each in self._sentinels:
            each.clear()

    def _pool_of_primary(self, *, write: bool) -> Any:  # noqa: ARG002 -- reads may not be older than writes
        primary = self._primary
        if primary is None or monotonic() - primary.asked_at > ASK_SECONDS:
            primary = self._ask(primary)
        return primary.pool

    def _ask(self, before: Primary | None) -> Primary:
        asked_at = monotonic()
        address = self._address_of_primary()
        if before is not None and before.address == address:
            primary = before._replace(asked_at=asked_at)
        else:
            super().clear()
            primary = Primary(address, self._pool_at(*address), asked_at)
        self._primary = primary
        return primary

    def _address_of_primary(self) -> tuple[str, int]:
        """Return what the first Sentinel says that answers."""
        question = ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._service)
        failure: Exception = redis.exceptions.ConnectionError(f"no Sentinel knows a primary {self._service!r}")
        for each in list(self._sentinels):
            try:
                answer = each.run(question, writes=False)
            except (OSError, redis.exceptions.RedisError) as error:
                pass_interrupt(error)
                failure = error
                # The others are asked first from now on.
                self._sentinels = [*(other for other in self._sentinels if other is not each), each]
                continue
            if isinstance(answer, list):
                host, port = answer
                return host.decode(), int(port)
            if answer is not None:  # it is no Sentinel, or refuses
                failure = redis.exceptions.ConnectionError(str(answer))
        raise failure


def refuse_replica(connection: Any) -> None:
    """
    Close a new connection to a server that is no primary: a Sentinel may have been late.

    Raises:
        ConnectionError: redis-py's: the server is a replica.
    """
    connection.send_command("ROLE")
    answer = answer_of(connection)
    if not (isinstance(answer, list) and answer[0] == b"master"):
        msg = "the server that the Sentinels name as primary is a replica"
        raise redis.exceptions.ConnectionError(msg)
