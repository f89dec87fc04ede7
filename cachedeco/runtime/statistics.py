"""Statistics: counters of events, for each cached function of this process."""

from dataclasses import dataclass, fields
from threading import Lock

from cachedeco.runtime.events import Event


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


_counts: dict[str, dict[str, float]] = {}


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


def statistics(function: str) -> Stats:
    """Return the counts of one function; of namespaces where *function* is empty."""
    with _lock:
        counts = dict(_counts.get(function, {}))
    seconds = float(counts.pop("seconds_saved", 0))
    return Stats(**{name: int(number) for name, number in counts.items()}, seconds_saved=seconds)
