"""`LookingStore`: access to one Django cache for those who only look: nothing is written, counted or told."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import chain

from cachedeco.storage.breaker import breakers
from cachedeco.storage.connections import connection
from cachedeco.storage.store import Item, Store
from cachedeco.storage.writers import Acknowledged


@dataclass(frozen=True, slots=True)
class LookingStore(Store):
    """
    A store whose failures are no events, and none to the circuit breaker.

    While that is open it reads nothing. After its pause it reads as the command would that probes: the cache may be
    back. But not while invalidations are owed, which that command would deliver first.
    """

    failures: list[Exception] = field(default_factory=list, compare=False)  #: of reads, and of what was read

    def read(self, keys: Sequence[str]) -> list[bytes | None] | None:
        """Return the values, in the order of the keys; None if the cache failed, or the breaker is open."""
        return self._look(keys, lambda: connection(self.alias).read(keys))

    def read_chunks(self, chunks: Sequence[Sequence[str]]) -> list[bytes | None] | None:
        """Do as `read()`, for chunks of keys."""
        return self._look([*chain(*chunks)], lambda: connection(self.alias).read_chunks(chunks))

    def _look(self, keys: Sequence[str], read: Callable[[], list[bytes | None]]) -> list[bytes | None] | None:
        breaker = breakers.get(self.alias)
        if breaker is not None and breaker.retry_at is not None and not breaker.would_probe():
            return None
        try:
            return self._check_reach(keys, read())
        except Exception as error:  # noqa: BLE001 -- any failure of the cache
            self.pass_on(error)
            return self.read_decodable(keys, error)

    def record_failed_read(self, keys: Sequence[str], error: Exception) -> None:
        """Note the error."""
        self.emit_failure("", keys[0], error)

    def _check_reach(self, keys: Sequence[str], values: list[bytes | None]) -> list[bytes | None]:
        """Return the values; raise if a server is unreachable, of which our own backends read all as missing."""
        get_or_raise = getattr(connection(self.alias).cache, "get_or_raise", None)
        if get_or_raise is not None and None in values:
            get_or_raise(keys[values.index(None)])
        return values

    def set_each(self, items: Sequence[Item]) -> Acknowledged:
        """Write nothing."""
        return Acknowledged([False] * len(items))

    def emit_failure(self, what: str, key: str, error: Exception | None = None) -> None:  # noqa: ARG002 -- an override
        """Note the error."""
        if error is not None:
            self.failures.append(error)
