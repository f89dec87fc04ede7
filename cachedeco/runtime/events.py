"""Events: one for each step of a call of a cached function, of an invalidation, and of the circuit breaker."""

from typing import Literal, NamedTuple

Kind = Literal[
    "hit",  # an entry was served; `seconds` is the time that its computation took
    "miss",  # no entry could be served: it is absent, expired, invalidated or unreadable
    "stale",  # an entry past its timeout was served
    "shared",  # a follower got the value of a leader; `seconds` is the time that the computation took
    "bypassed",  # the call went past the cache: the mode says so, or this transaction has invalidated the entry
    "computed",  # the function ran; `seconds` is the time that it took
    "stored",  # an entry was sent to the cache
    "unstored",  # a value was returned and not stored; `reason` says why
    "invalidated",  # the cache acknowledged an invalidation
    "invalidation_delayed",  # it did not; the retry queue delivers it before this process reads from that cache again
    "invalidation_lost",  # a delayed invalidation was given up
    "error",  # the cache, or a value, failed; the call went on without it
    "breaker_opened",  # the circuit breaker of a cache opened: this process bypasses it; `reason` says why
    "breaker_closed",  # the cache answers again, and has every delayed invalidation
    "audited",  # a hit was computed again, and is right; if the values differ, `reason` says what explains it
    "inconsistent",  # a hit was computed again, and is wrong: no invalidation came; `reason` says what differs
]


class Event(NamedTuple):
    """
    One event: what happened, to which function, key and cache.

    A new field may be added at the end in any release: read fields by name.
    """

    kind: Kind
    function: str = ""  #: dotted name of the cached function; empty for a namespace
    key: str = ""  #: cache key, without the prefix that Django adds
    cache: str = ""  #: alias
    seconds: float = 0.0
    reason: str = ""
    error: BaseException | None = None
