"""Events: what a call, an invalidation or a circuit breaker has done, as named tuples."""

from typing import Literal, NamedTuple

Kind = Literal[
    "hit",  # an entry was served; `seconds` is the time that its computation took
    "miss",  # no entry could be served: it is absent, expired, invalidated or unreadable
    "stale",  # an entry past its timeout was served
    "shared",  # a follower got the value of a leader; `seconds` is the time that the computation took
    "bypassed",  # the call bypassed the cache, by its mode or because this transaction has invalidated the entry
    "computed",  # the function ran; `seconds` is the time that it took
    "stored",  # an entry was sent to the cache
    "unstored",  # a value was returned and not stored; `reason` says why
    "invalidated",  # the cache acknowledged an invalidation
    "invalidation_delayed",  # it did not; the retry queue delivers it before this process reads from that cache again
    "invalidation_lost",  # the retry queue has dropped an invalidation that the cache never acknowledged
    "unwatched",  # statements of a connection were not seen for a while, so its writes invalidated nothing; `reason`
    "advice",  # a function is cached in a way that does not help, or not as meant; `reason` says what to change
    "error",  # a cache's command or a value's (un)pickling failed, or an entry is too large; the call went on
    "breaker_opened",  # the circuit breaker of a cache opened: this process bypasses it; `reason` says why
    "breaker_closed",  # the cache answers again, and has acknowledged every delayed invalidation
    "audited",  # the auditor recomputed a hit, and it is right; if the values differ, `reason` has the explanation
    "inconsistent",  # the auditor recomputed a hit, and it had changed without an invalidation; see `reason`
]


class Event(NamedTuple):
    """
    One event: what happened, to which function, key and cache.

    A new field may be added at the end in any release: read fields by name.
    """

    kind: Kind
    function: str = ""  #: dotted name of the cached function; empty for a namespace
    key: str = ""  #: whole cache key, as the server gets it
    cache: str = ""  #: alias
    seconds: float = 0.0
    reason: str = ""
    error: BaseException | None = None
