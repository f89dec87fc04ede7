"""Events: what happened to one call of a cached function, or to one invalidation."""

from typing import Literal, NamedTuple

Kind = Literal[
    "hit",  # a value was served; `seconds` is the time that it saved
    "miss",  # nothing could be served: absent, expired, invalidated or unreadable
    "stale",  # a value past its timeout was served
    "shared",  # what another caller computed meanwhile was served; `seconds` is the time that it took
    "bypassed",  # the mode, or this transaction's own invalidation, went past the cache
    "computed",  # the function ran; `seconds` is the time that it took
    "stored",  # an entry was sent to the cache
    "unstored",  # a value was returned and not stored; `reason` says why
    "invalidated",  # the cache acknowledged an invalidation
    "invalidation_delayed",  # the cache did not acknowledge an invalidation; it is delivered before this process trusts it again
    "invalidation_lost",  # an invalidation that was delayed, and that nobody will deliver any more
    "error",  # the cache, or a value, failed; the call went on without it
    "breaker_opened",  # a cache failed too often: this process goes past it from now on; `reason` says why
    "breaker_closed",  # the cache answers again, and has every invalidation that was delayed
    "audited",  # a hit was computed anew, and is what it should be; `reason` says why where the values differ
    "inconsistent",  # ... and is not: the value has changed, and nobody has invalidated the call; `reason` says how
]


class Event(NamedTuple):
    """
    Tell one thing that happened to one call.

    A new field may be added at the end in any release: read fields by name.
    """

    kind: Kind
    function: str = ""  #: dotted name of the cached function; empty for a namespace
    key: str = ""  #: cache key, without the prefix that Django adds
    cache: str = ""  #: alias
    seconds: float = 0.0
    reason: str = ""
    error: BaseException | None = None
