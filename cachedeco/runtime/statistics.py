"""Statistics hook: counters of events, per cached function and process."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, fields
from threading import Lock
from typing import Final

from cachedeco.runtime.events import Event


@dataclass(frozen=True, slots=True)
class Stats:
    """
    Counters of one cached function, in this process, since it started.

    They are not shared between processes, and not persistent. Functions of one name share them, also one after the
    other: a function inside another one is a new one at each call. Those of many names that are gone are forgotten.
    """

    hits: int = 0
    misses: int = 0
    stale: int = 0
    bypassed: int = 0
    errors: int = 0  #: failed commands, values that can't be (un)pickled, invalidations delayed or lost
    computations: int = 0
    seconds_saved: float = 0.0  #: the time that the computations of the served entries took
    audited: int = 0  #: hits that the auditor recomputed, and that are right
    inconsistent: int = 0  #: hits that the auditor recomputed, and that had changed without an invalidation


_COUNTED: dict[str, str] = {
    "hit": "hits",
    "miss": "misses",
    "stale": "stale",
    "bypassed": "bypassed",
    "error": "errors",
    "invalidation_delayed": "errors",
    "invalidation_lost": "errors",
    "computed": "computations",
    "audited": "audited",
    "inconsistent": "inconsistent",
}

# Seconds of the hits that are not counted yet, by function: a hit appends, which needs no lock.
MOST_UNCOUNTED: Final = 1000

_counts: dict[str, dict[str, float]] = {}
_hits: defaultdict[str, list[float]] = defaultdict(list)
_lock = Lock()


def count_hit(function: str, seconds: float) -> None:
    """Count a hit of a function, as `count()` does its event, and sooner."""
    uncounted = _hits[function]
    uncounted.append(seconds)
    if len(uncounted) >= MOST_UNCOUNTED:
        with _lock:
            _count_up(function)


def count_hits(function: str, seconds: Sequence[float]) -> None:
    """Count several hits of a function."""
    if seconds:
        _hits[function] += seconds[:-1]
        count_hit(function, seconds[-1])


def _count_up(function: str) -> None:
    """Add the hits that are not counted yet. The caller holds the lock."""
    uncounted = _hits.get(function)
    if uncounted:
        seconds = uncounted[:]
        del uncounted[: len(seconds)]  # other threads append meanwhile
        counts = _counts_of(function)
        counts["hits"] += len(seconds)
        counts["seconds_saved"] += sum(seconds)


def _counts_of(function: str) -> dict[str, float]:
    counts = _counts.get(function)
    if counts is None:
        counts = _counts[function] = dict.fromkeys((f.name for f in fields(Stats)), 0)
    return counts


def count(event: Event) -> None:
    """Count an event for its function."""
    field = _COUNTED.get(event.kind)
    if field is None:
        return
    # `+=` reads and writes: without the lock two threads would lose counts.
    with _lock:
        counts = _counts_of(event.function)
        counts[field] += 1
        if event.kind == "hit":
            counts["seconds_saved"] += event.seconds


def forget(function: str) -> None:
    """Forget the counters of a function that is gone."""
    with _lock:
        _hits.pop(function, None)
        _counts.pop(function, None)


def statistics(function: str) -> Stats:
    """Return the counters of one function; those of namespaces if *function* is empty."""
    with _lock:
        _count_up(function)
        counts = dict(_counts.get(function, {}))
    seconds = float(counts.pop("seconds_saved", 0))
    return Stats(**{name: int(number) for name, number in counts.items()}, seconds_saved=seconds)
