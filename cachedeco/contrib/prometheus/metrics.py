"""
Metrics for Prometheus: the instruments of `measuring`, in a registry of prometheus_client.

They work in prometheus_client's multiprocess mode, as no collector of our own is needed. There the gauges are added up
over the processes that live: `cachedeco_breaker_open` is the number of processes that bypass the cache.
"""

from functools import cache

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from cachedeco.contrib.measuring import INSTRUMENTS, SECONDS, Add, Instrument, Labels, Measures
from cachedeco.runtime.hooks import add_hook


def install(registry: CollectorRegistry = REGISTRY) -> "PrometheusMeasures":
    """
    Count all events from now on, and return the hook that does, for `remove_hook()`.

    Twice with one registry is the same as once.
    """
    measures = _measures_of(registry)
    add_hook(measures)
    return measures


class PrometheusMeasures(Measures):
    """A hook that counts in a registry of prometheus_client. Thread-safe."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register the metrics."""
        self._metrics = {each.name: _metric(each, registry) for each in INSTRUMENTS}
        super().__init__()

    def series(self, instrument: Instrument, labels: Labels) -> Add:
        """Return what adds to one series, or sets it."""
        child = self._metrics[instrument.name].labels(*labels)
        if isinstance(child, Counter):
            return child.inc
        return child.set if isinstance(child, Gauge) else child.observe


@cache  # of all: one that was forgotten would be made, and count, a second time
def _measures_of(registry: CollectorRegistry) -> PrometheusMeasures:
    """Return the hook for a registry, the same one each time: a registry takes a metric once."""
    return PrometheusMeasures(registry)


def _metric(instrument: Instrument, registry: CollectorRegistry) -> Counter | Gauge | Histogram:
    name = "_".join(filter(None, ("cachedeco", instrument.name, instrument.unit)))
    if instrument.kind == "counter":
        return Counter(name, instrument.help, instrument.labels, registry=registry)
    if instrument.kind == "gauge":
        return Gauge(name, instrument.help, instrument.labels, registry=registry, multiprocess_mode="livesum")
    return Histogram(name, instrument.help, instrument.labels, registry=registry, buckets=SECONDS)
