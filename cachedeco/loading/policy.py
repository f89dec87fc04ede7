"""The policy of one cached function: its options, resolved against the current settings."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from cachedeco.runtime.events import Event, Kind
from cachedeco.runtime.hooks import emit
from cachedeco.storage.entries import EntryCodec
from cachedeco.storage.store import Store

V = TypeVar("V")


@dataclass(frozen=True, kw_only=True)
class CachePolicy:
    """On what terms the values of one function are kept: its options, under the settings in force. Times in seconds."""

    function: str
    store: Store
    codec: EntryCodec
    using: str
    timeout: Callable[[Any], float | None]  #: takes the value; None = for ever, 0 = do not store
    cache_if: Callable[[Any], object]
    lifetime: float | None  #: how long a call's own token lives, None for ever
    stale_while_revalidate: float  #: how long past its timeout an entry may be served while one caller refreshes it
    stale_if_error: float  #: ... and when the computation raises
    early: float  #: XFetch's beta
    jitter: float  #: by which fraction a timeout may be shortened
    wait: float  #: how long a caller waits for another one's computation
    nested: bool  #: whether an entry depends on the cached calls inside its computation
    refresh: Literal["caller", "thread", "task"]  #: who refreshes an entry while others are served the old value
    audit: float = 0.0  #: how likely a hit is to be audited
    inspects_hits: bool = field(init=False)  #: whether a fresh hit may be refreshed early, or audited

    def __post_init__(self) -> None:
        """Work out once what each hit asks."""
        object.__setattr__(self, "inspects_hits", bool(self.early or self.audit))

    @property
    def max_stale(self) -> float:
        """How long past its timeout an entry may be served at all."""
        return max(self.stale_while_revalidate, self.stale_if_error)

    def tell(
        self, kind: Kind, key: str, *, seconds: float = 0.0, reason: str = "", error: BaseException | None = None
    ) -> None:
        """Emit an event about a call of this function."""
        emit(Event(kind, self.function, key, self.store.alias, seconds, reason, error))
