"""`CachePolicy`: the options of one cached function, resolved against the settings in force."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from cachedeco.loading.advice import Advice
from cachedeco.loading.unstored import UnstoredReasons
from cachedeco.runtime.events import Event, Kind
from cachedeco.runtime.hooks import emit
from cachedeco.runtime.interrupts import is_interrupt
from cachedeco.storage.entries import Entry, EntryCodec, new_tuple
from cachedeco.storage.store import Store
from cachedeco.tracking.known_tables import KnownTables


@dataclass(frozen=True, kw_only=True)
class CachePolicy:
    """The options of one cached function, resolved against the settings in force. All times are in seconds."""

    function: str
    store: Store
    codec: EntryCodec
    using: str
    timeout: Callable[[Any], float | None]  #: takes the value; None for ever, 0 to not store
    cache_if: Callable[[Any], object]  #: takes the value; it is not asked of an id that is absent
    cache_exceptions: Mapping[type[Exception], float | None]  #: how long an exception is remembered, None for ever
    lifetime: float  #: how long a call's own token lives
    stale_while_revalidate: float  #: how long past its timeout an entry may be served while one caller refreshes it
    stale_if_error: float  #: how long past its timeout an entry may be served if the computation raises
    early: float  #: XFetch's beta
    jitter: float  #: the largest fraction by which a timeout is shortened at random
    wait: float  #: how long a follower waits for a leader
    nested: bool  #: whether an entry depends on the nested calls inside its computation
    refresh: Literal["caller", "thread", "task"]  #: what refreshes a stale entry while callers are served the old value
    declared: frozenset[str] = frozenset()  #: tables that *depends_on* names, by models and `rows()`
    tables: KnownTables | None = None  #: those that the function reads; None if it does not depend on them
    #: Whether what follows a computation is left to a thread: *cache_if* or *timeout* is code of the user's, which may
    #: ask its thread, or Django would query on an event loop.
    asks_thread: bool = False
    audit: float = 0.0  #: probability that a hit is audited
    advice: Advice = field(init=False, compare=False)
    unstored: UnstoredReasons = field(init=False, compare=False, default_factory=UnstoredReasons)
    inspects_hits: bool = field(init=False)  #: whether a fresh hit may be refreshed early, or audited

    def __post_init__(self) -> None:
        """Compute once what each hit reads."""
        object.__setattr__(self, "inspects_hits", bool(self.early or self.audit))
        object.__setattr__(self, "advice", Advice(lambda reason: self.emit("advice", "", reason=reason)))

    @property
    def max_stale(self) -> float:
        """How long past its timeout an entry may be served at all."""
        return max(self.stale_while_revalidate, self.stale_if_error)

    def remembers(self, error: BaseException) -> bool:
        """Tell whether an exception is stored, as a value is."""
        if not self.cache_exceptions or is_interrupt(error):
            return False
        return isinstance(error, tuple(self.cache_exceptions))

    def timeout_of_error(self, error: Exception) -> float | None:
        """Return the timeout of an exception that is stored: that of the nearest of its classes."""
        return next(self.cache_exceptions[kind] for kind in type(error).__mro__ if kind in self.cache_exceptions)

    def stale_until(self, entry: Entry) -> float:
        """Return the end of the time in which an entry may be served while it is refreshed."""
        return entry.expires + min(entry.stale, self.stale_while_revalidate)

    def fallback_until(self, entry: Entry) -> float:
        """Return the end of the time in which an entry may be served if the computation raises."""
        return max(self.stale_until(entry), entry.expires + self.stale_if_error)

    def emit(  # noqa: PLR0913 -- the fields of an event
        self,
        kind: Kind,
        key: str,
        *,
        seconds: float = 0.0,
        reason: str = "",
        error: BaseException | None = None,
        size: int = 0,
    ) -> None:
        """Emit an event about a call of this function."""
        emit(new_tuple(Event, (kind, self.function, key, self.store.alias, seconds, reason, error, size)))

    def emit_unstored(self, key: str, reason: str, error: Exception | None = None, *, fault: str = "") -> None:
        """
        Emit that a value was returned and not stored, and remember why, for `explain()`.

        A *fault* is what the developer has to mend: it is an error, and so in the log, at the first time.
        """
        self.unstored.add(key, reason)
        self.emit("error" if fault and self.advice.is_first(fault) else "unstored", key, reason=reason, error=error)
