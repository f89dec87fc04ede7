"""Events: what a call, an invalidation or a circuit breaker has done, as named tuples."""

from typing import Final, Literal, NamedTuple

from cachedeco.runtime.reprs import shorten, shorten_reason, text_of_error
from cachedeco.runtime.subjects import Subject, subject_of

Kind = Literal[
    "hit",  # an entry was served; `seconds` is the time that its computation took
    # No entry could be served; `reason` is a `MissReason`, and perhaps ": " and a detail. If it is "invalidated",
    # `seconds` is how long ago that was.
    "miss",
    "stale",  # an entry past its timeout was served
    "shared",  # a follower got the value of a leader; `seconds` is the time that the computation took
    "bypassed",  # the call bypassed the cache; `reason` is a `BypassReason`, and perhaps ": " and a detail
    "computed",  # the function ran; `seconds` is the time that it took
    "stored",  # the cache has taken an entry; `size` is that of the entry
    "unstored",  # a value was returned and not stored; `reason` says why
    "invalidated",  # the cache acknowledged an invalidation; `subject` says of what
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

#: Why an entry was not served, in the order in which it is looked for.
MissReason = Literal[
    "cache not read",  # the cache failed, or its circuit breaker is open
    "absent",  # nothing lies under the key: never stored, past its timeout, evicted, or of another release
    "unreadable",  # what lies there is no entry of this key, is not signed, or can't be decoded
    "lost token",  # the cache has lost a token that the entry depends on; the detail names it
    "invalidated",  # a token is another one now; the detail names the first that is
    "other dependencies",  # the call depends on other tokens now than the entry does
    "other models",  # models among the values have other fields here
    "expired",  # past its timeout, and its stale window
    "refresh",  # stale, or to be refreshed early: this caller computes it while others are served
]


#: Why a call bypassed the cache, in the order in which it is looked for.
BypassReason = Literal[
    "mode bypass",  # by bypass(), mode("bypass") or the setting MODE
    "mode off",  # by mode("off") or the setting MODE
    "no key",  # its key can't be made, and the setting KEY_ERRORS lets it bypass the cache; an event "error" has more
    "key function failed",  # the KEY_FUNCTION of the cache has raised; an event "error" has more
    "invalidated in this transaction",  # which is open; the detail names the first such token
]


#: Calls that the cache has not served: their reason is of a closed list, and may name a token behind ": ".
UNSERVED: Final = frozenset[Kind]({"miss", "bypassed"})

#: The reason of "stored" where the value is that of the entry which it replaces: the computation was needless.
UNCHANGED: Final = "unchanged"

#: What the reason of an "error" begins with, where the setting KEY_ERRORS lets a call bypass the cache.
NO_KEY: Final = "The key of a call can't be made, and the call bypassed the cache"


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
    size: int = 0  #: bytes

    @property
    def subject(self) -> Subject:
        """What the token under the key stands for, of an invalidation: this call, a namespace, a table ..."""
        return subject_of(self.key, self.function)

    def __repr__(self) -> str:
        """Show the fields that are set: short, and without secrets."""
        shown = self._asdict()
        shown["key"] = shorten(self.key)
        shown["reason"] = (shorten_reason if self.kind in UNSERVED else shorten)(self.reason)
        texts = [
            f"{name}={value!r}" for name, value in shown.items() if value not in {"", 0.0, None} and name != "error"
        ]
        if self.error is not None:
            texts.append(f"error={type(self.error).__name__}({shorten(text_of_error(self.error))!r})")
        return f"Event({', '.join(texts)})"
