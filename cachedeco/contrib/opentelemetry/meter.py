"""Metrics for OpenTelemetry: the instruments of `measuring`, made by a meter."""

from collections.abc import Iterable
from typing import Any

from opentelemetry.metrics import CallbackOptions, Histogram, Meter, Observation

from cachedeco.contrib.measuring import INSTRUMENTS, SECONDS, Add, Instrument, Labels, Measures
from cachedeco.runtime.locks import RLock


class MeterMeasures(Measures):
    """
    A hook that adds up what the instruments of a meter observe. Thread-safe.

    Counters and gauges are observed when metrics are collected: to tell the SDK of each hit costs ten times as much.
    """

    def __init__(self, meter: Meter) -> None:
        """Make the instruments."""
        self._series_of: dict[str, list[_Number]] = {each.name: [] for each in INSTRUMENTS}
        self._histograms: dict[str, Histogram] = {}
        for each in INSTRUMENTS:
            self._make(each, meter)
        super().__init__()

    def series(self, instrument: Instrument, labels: Labels) -> Add:
        """Return what adds to one series, or sets it."""
        attributes = {
            f"cachedeco.{label}": value for label, value in zip(instrument.labels, labels, strict=True) if value
        }
        if (histogram := self._histograms.get(instrument.name)) is not None:
            return lambda value: histogram.record(value, attributes)
        others = self._series_of[instrument.name]
        number = next((each for each in others if each.attributes == attributes), None)
        if number is None:
            number = _Number(attributes)
            others.append(number)
        return number.set if instrument.kind == "gauge" else number.add

    def _make(self, instrument: Instrument, meter: Meter) -> None:
        name, unit = f"cachedeco.{instrument.name}", "s" if instrument.unit else ""

        def observe(_: CallbackOptions) -> Iterable[Observation]:
            return [Observation(each.value, each.attributes) for each in self._series_of[instrument.name]]

        if instrument.kind == "histogram":
            self._histograms[instrument.name] = meter.create_histogram(
                name, unit, instrument.help, explicit_bucket_boundaries_advisory=SECONDS
            )
        elif instrument.kind == "gauge":
            meter.create_observable_gauge(name, [observe], unit, instrument.help)
        else:
            meter.create_observable_counter(name, [observe], unit, instrument.help)


class _Number:
    """One series: a sum, or what was set last."""

    __slots__ = ("_lock", "attributes", "value")

    def __init__(self, attributes: dict[str, Any]) -> None:
        self.attributes = attributes
        self.value: float = 0
        self._lock = RLock()

    def add(self, value: float) -> None:
        with self._lock:  # `+=` reads and writes
            self.value += value

    def set(self, value: float) -> None:
        self.value = value
