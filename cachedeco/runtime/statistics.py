"""Statistics hook: counters of events, per cached function and process."""

from dataclasses import dataclass, fields
from threading import Lock

from cachedeco.runtime.events import Event


@dataclass(frozen=True, slots=True)
class Stats:
    """
    Counters of one cached function, in this process, since it started.

    They are not shared between processes, and not persistent.
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

_counts: dict[str, dict[str, float]] = {}
_lock = Lock()


def count(event: Event) -> None:
    """Count an event for its function."""
    field = _COUNTED.get(event.kind)
    if field is None:
        return
    # `+=` reads and writes: without the lock two threads would lose counts.
    with _lock:
        counts = _counts.get(event.function)
        if counts is None:
            counts = _counts[event.function] = dict.fromkeys((f.name for f in fields(Stats)), 0)
        counts[field] += 1
        if event.kind == "hit":
            counts["seconds_saved"] += event.seconds


def statistics(function: str) -> Stats:
    """Return the counters of one function; those of namespaces if *function* is empty."""
    with _lock:
        counts = dict(_counts.get(function, {}))
    seconds = float(counts.pop("seconds_saved", 0))
    return Stats(**{name: int(number) for name, number in counts.items()}, seconds_saved=seconds)
