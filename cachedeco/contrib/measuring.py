"""
What is measured: the instruments, and what each event adds to them; for Prometheus and OpenTelemetry alike.

The labels of a measurement are names of functions, caches and tables, the first parts of namespaces, and words of
closed lists: never a key, an argument or an id. However many a project has, each label has at most `MOST_VALUES` values
in a process; all further ones are counted as `OTHERS`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final, Literal, NamedTuple

from django.core.exceptions import ImproperlyConfigured

from cachedeco.runtime import conf
from cachedeco.runtime.events import Event
from cachedeco.runtime.statistics import OTHERS
from cachedeco.storage.breaker import breakers

MOST_VALUES: Final = 1000
#: Bounds of the buckets of histograms: what is worth a cache takes a millisecond at least.
SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Instrument(NamedTuple):
    """One metric."""

    name: str  #: without the prefix and suffix that a system gives it
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...]
    unit: str = ""


CALLS: Final = Instrument(
    "calls", "counter", "Calls of cached functions, by outcome and reason.", ("function", "outcome", "reason")
)
COMPUTATION: Final = Instrument(
    "computation", "histogram", "Time that computations of cached functions took.", ("function",), "seconds"
)
SAVED: Final = Instrument(
    "saved", "counter", "Time that the computations of the entries took which were served.", ("function",), "seconds"
)
ENTRIES: Final = Instrument(
    "entries", "counter", "Values that were stored, or returned and not stored.", ("function", "outcome")
)
INVALIDATIONS: Final = Instrument(
    "invalidations",
    "counter",
    "Acknowledged invalidations, by the kind of the token and what it stands for.",
    ("cache", "kind", "name"),
)
UNACKNOWLEDGED: Final = Instrument(
    "unacknowledged_invalidations",
    "counter",
    "Invalidations that a cache did not acknowledge: delayed ones, and those that were lost in the end.",
    ("cache", "outcome"),
)
ERRORS: Final = Instrument(
    "errors", "counter", "Failed commands, and values that could not be handled.", ("function", "cache")
)
AUDITS: Final = Instrument(
    "audits", "counter", "Hits that the auditor has recomputed: right or inconsistent.", ("function", "outcome")
)
BREAKER: Final = Instrument(
    "breaker_open", "gauge", "1 while this process bypasses a cache: its circuit breaker is open.", ("cache",)
)
OWED: Final = Instrument(
    "owed_invalidations", "gauge", "Invalidations in the retry queue of this process, by cache.", ("cache",)
)
INSTRUMENTS: Final = (
    CALLS,
    COMPUTATION,
    SAVED,
    ENTRIES,
    INVALIDATIONS,
    UNACKNOWLEDGED,
    ERRORS,
    AUDITS,
    BREAKER,
    OWED,
)

Labels = tuple[str, ...]
Measurement = tuple[Instrument, Labels, float]
Add = Callable[[float], object]


def measure(event: Event) -> Iterator[Measurement]:  # noqa: C901 -- one case for each kind of event
    """Yield what an event adds to the instruments, or sets them to."""
    function, cache = event.function, event.cache
    match event.kind:
        case "hit":
            yield CALLS, (function, "hit", ""), 1
            yield SAVED, (function,), event.seconds
        case "miss" | "stale" | "shared" | "bypassed":
            yield CALLS, (function, event.kind, event.reason.partition(":")[0]), 1
        case "computed":
            yield COMPUTATION, (function,), event.seconds
        case "stored" | "unstored":
            yield ENTRIES, (function, event.kind), 1
        case "audited" | "inconsistent":
            yield AUDITS, (function, event.kind), 1
        case "error":
            yield ERRORS, (function, cache), 1
        case "invalidated":
            yield INVALIDATIONS, (cache, event.subject.kind, event.subject.name), 1
            if cache in breakers:
                yield _owed(cache)
        case "invalidation_delayed" | "invalidation_lost":
            yield UNACKNOWLEDGED, (cache, event.kind.removeprefix("invalidation_")), 1
            yield _owed(cache)
        case "breaker_opened" | "breaker_closed":
            yield BREAKER, (cache,), float(event.kind == "breaker_opened")
            yield _owed(cache)


def _owed(alias: str) -> Measurement:
    breaker = breakers.get(alias)
    return OWED, (alias,), 0 if breaker is None else len(breaker.queue)


class Measures(ABC):
    """
    A hook that adds up what `measure()` says, by instruments of some system. Thread-safe.

    A subclass makes what adds to one series of an instrument.
    """

    cachedeco_runs_anywhere = True

    def __init__(self) -> None:
        """Begin without series."""
        self._series: dict[tuple[str, Labels], Add] = {}
        self._values: dict[str, set[str]] = {"function": set(), "name": set()}
        with suppress(ImproperlyConfigured):  # the system check E001 reports it
            for alias in conf.settings().ALIASES:  # an alert needs a gauge before there is trouble
                self._add(BREAKER, (alias,), 0)
                self._add(OWED, (alias,), 0)

    def __call__(self, event: Event) -> None:
        """Add up an event."""
        for measurement in measure(event):
            self._add(*measurement)

    @abstractmethod
    def series(self, instrument: Instrument, labels: Labels) -> Add:
        """Return what adds to one series, or sets it."""
        ...

    def _add(self, instrument: Instrument, labels: Labels, value: float) -> None:
        add = self._series.get((instrument.name, labels))
        if add is None:
            bounded = tuple([self._bound(*each) for each in zip(instrument.labels, labels, strict=True)])
            add = self.series(instrument, bounded)
            if bounded == labels:  # else there may be any number of them
                self._series[instrument.name, labels] = add
        add(value)

    def _bound(self, label: str, value: str) -> str:
        """Return the value of a label, or `OTHERS` where it has too many: a name may contain an id."""
        values = self._values.get(label)
        if values is None or value in values:
            return value
        if len(values) >= MOST_VALUES:
            return OTHERS
        values.add(value)
        return value
