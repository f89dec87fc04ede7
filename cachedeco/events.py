"""What happened, and who is told: one Event, many hooks."""

import logging
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from threading import Lock
from typing import Literal, NamedTuple

from cachedeco.forks import in_each_child

logger = logging.getLogger("cachedeco")

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
    "delayed",  # the cache did not acknowledge an invalidation; it is delivered before this process trusts it again
    "lost",  # an invalidation that was delayed, and that nobody will deliver any more
    "error",  # the cache, or a value, failed; the call went on without it
    "opened",  # a cache failed too often: this process goes past it from now on; `reason` says why
    "closed",  # the cache answers again, and has every invalidation that was delayed
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


@dataclass(frozen=True, slots=True)
class Stats:
    """
    Sum up what happened to a function in this process since it started.

    Not shared between processes, and not persistent.
    """

    hits: int = 0
    misses: int = 0
    stale: int = 0
    bypassed: int = 0
    errors: int = 0  #: failed commands, unreadable or unpicklable values, invalidations delayed or lost
    computations: int = 0
    seconds_saved: float = 0.0  #: what the computations behind the hits took when they ran
    audited: int = 0  #: hits that were computed anew, and are what they should be
    inconsistent: int = 0  #: hits that were computed anew, and are not


Hook = Callable[[Event], object]

_COUNTED: dict[str, str] = {
    "hit": "hits",
    "miss": "misses",
    "stale": "stale",
    "bypassed": "bypassed",
    "error": "errors",
    "delayed": "errors",
    "lost": "errors",
    "computed": "computations",
    "audited": "audited",
    "inconsistent": "inconsistent",
}

_lock = Lock()
_counts: dict[str, dict[str, float]] = {}


@in_each_child
def _renew_lock() -> None:
    """Give a forked child a lock of its own: another thread may have held ours, and is not there to release it."""
    global _lock  # noqa: PLW0603 -- only here
    _lock = Lock()


def count(event: Event) -> None:
    """Add an event to the statistics of its function."""
    field = _COUNTED.get(event.kind)
    if field is None:
        return
    # `+=` on a shared number is a read and a write: two threads would lose counts without the lock.
    with _lock:
        counts = _counts.get(event.function)
        if counts is None:
            counts = _counts[event.function] = dict.fromkeys((f.name for f in fields(Stats)), 0)
        counts[field] += 1
        if event.kind == "hit":
            counts["seconds_saved"] += event.seconds


# What is said of an invalidation that was not acknowledged: its key, its cache, and what depends on it.
_UNACKNOWLEDGED: dict[str, str] = {
    "delayed": "Invalidation of %s in cache %r was not acknowledged: other processes may serve old values of %s"
    " until this one has delivered it.",
    "lost": "Invalidation of %s in cache %r was never acknowledged, and is given up: old values of %s may be served"
    " until they time out.",
}


def log(event: Event) -> None:
    """Log what somebody should look at: failures as warnings, invalidations delayed or lost as errors."""
    if event.kind in _UNACKNOWLEDGED:
        whose = event.function or "the functions under this namespace"
        logger.error(_UNACKNOWLEDGED[event.kind], event.key, event.cache, whose, exc_info=event.error)
    elif event.kind == "inconsistent":
        logger.error(
            "A call of %r was served what has changed, and was not invalidated: %s (key %r, cache %r).",
            event.function,
            event.reason,
            event.key,
            event.cache,
        )
    elif event.kind == "opened":
        logger.warning("Going past cache %r from now on: %s.", event.cache, event.reason)
    elif event.kind == "closed":
        logger.info("Cache %r answers again, and is used.", event.cache)
    elif event.kind == "error":
        # Both name and text, as some errors have no text, and redis-py's have no telling repr.
        why = f": {type(event.error).__name__}: {event.error}" if event.error else ""
        logger.warning(
            "%s (function %r, key %r, cache %r)%s", event.reason, event.function, event.key, event.cache, why
        )


# Added by users, as often as they are to be removed; and all that are told, each once, in a tuple that is swapped
# whole, so that emit() needs no lock.
_added: list[Hook] = []
_hooks: tuple[Hook, ...] = (count, log)


def emit(event: Event) -> None:
    """Tell every hook. A hook that fails is logged: it can't break a call."""
    for hook in _hooks:
        try:
            hook(event)
        except Exception:
            logger.exception("The hook %r failed on %r.", hook, event)


def add_hook(hook: Hook) -> None:
    """
    Call *hook* with every event of this process from now on.

    It runs in the thread of the call that caused the event, between that call and its caller: keep it quick.
    Adding a hook twice is the same as adding it once.
    """
    with _lock:
        _rearrange([hook] if hook not in _added else [], [])


def remove_hook(hook: Hook) -> None:
    """Stop calling *hook*. Removing one that is not there does nothing."""
    with _lock:
        _rearrange([], [each for each in _added if each == hook])


@contextmanager
def listening(hook: Hook) -> Generator[None]:
    """Call *hook* with every event of this process until the block ends; blocks with the same hook nest."""
    with _lock:
        _rearrange([hook], [])
    try:
        yield
    finally:
        with _lock:
            _rearrange([], [hook] if hook in _added else [])


def _rearrange(more: list[Hook], less: list[Hook]) -> None:
    global _hooks  # noqa: PLW0603 -- swapped whole, as said above
    _added.extend(more)
    for hook in less:
        _added.remove(hook)
    _hooks = (count, log, *(each for n, each in enumerate(_added) if each not in _added[:n]))


def statistics(function: str) -> Stats:
    """Return the counts of one function; of namespaces where *function* is empty."""
    with _lock:
        counts = dict(_counts.get(function, {}))
    seconds = float(counts.pop("seconds_saved", 0))
    return Stats(**{name: int(number) for name, number in counts.items()}, seconds_saved=seconds)
