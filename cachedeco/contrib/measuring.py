"""
What is measured: the instruments, and what each event adds to them; for Prometheus and OpenTelemetry alike.

The labels of a measurement are names of functions, caches and tables, the first parts of namespaces, and words of
closed lists: never a key, an argument or an id. However many a project has, each label has at most `MOST_VALUES` values
in a process; all further ones are counted as `OTHERS`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final, Literal, NamedTuple

from django.core.exceptions import ImproperlyConfigured

from cachedeco.runtime import conf
from cachedeco.runtime.events import Event, Kind
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


def measure(event: Event) -> tuple[Measurement, ...]:
    """Return what an event adds to the instruments, or sets them to."""
    find = _MEASURES.get(event.kind)
    return () if find is None else find(event)


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


def _measure_call(event: Event) -> tuple[Measurement, ...]:
    return ((CALLS, (event.function, event.kind, event.reason.partition(":")[0]), 1),)


def _measure_hit(event: Event) -> tuple[Measurement, ...]:
    return (CALLS, (event.function, "hit", ""), 1), (SAVED, (event.function,), event.seconds)


def _measure_computation(event: Event) -> tuple[Measurement, ...]:
    return ((COMPUTATION, (event.function,), event.seconds),)


def _measure_entry(event: Event) -> tuple[Measurement, ...]:
    return ((ENTRIES, (event.function, event.kind), 1),)


def _measure_invalidation(event: Event) -> tuple[Measurement, ...]:
    subject = event.subject
    measured = (INVALIDATIONS, (event.cache, subject.kind, subject.name), 1.0)
    return (measured, _measure_owed(event.cache)) if event.cache in breakers else (measured,)


def _measure_unacknowledged(event: Event) -> tuple[Measurement, ...]:
    outcome = event.kind.removeprefix("invalidation_")
    return (UNACKNOWLEDGED, (event.cache, outcome), 1), _measure_owed(event.cache)


def _measure_owed(alias: str) -> Measurement:
    breaker = breakers.get(alias)
    return OWED, (alias,), 0 if breaker is None else len(breaker.queue)


def _measure_error(event: Event) -> tuple[Measurement, ...]:
    return ((ERRORS, (event.function, event.cache), 1),)


def _measure_audit(event: Event) -> tuple[Measurement, ...]:
    return ((AUDITS, (event.function, event.kind), 1),)


def _measure_breaker(event: Event) -> tuple[Measurement, ...]:
    return (BREAKER, (event.cache,), float(event.kind == "breaker_opened")), _measure_owed(event.cache)


_MEASURES: Final[Mapping[Kind, Callable[[Event], tuple[Measurement, ...]]]] = {
    "hit": _measure_hit,
    "miss": _measure_call,
    "stale": _measure_call,
    "shared": _measure_call,
    "bypassed": _measure_call,
    "computed": _measure_computation,
    "stored": _measure_entry,
    "unstored": _measure_entry,
    "invalidated": _measure_invalidation,
    "invalidation_delayed": _measure_unacknowledged,
    "invalidation_lost": _measure_unacknowledged,
    "error": _measure_error,
    "audited": _measure_audit,
    "inconsistent": _measure_audit,
    "breaker_opened": _measure_breaker,
    "breaker_closed": _measure_breaker,
}
