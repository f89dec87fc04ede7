"""Install the hooks for OpenTelemetry."""

from functools import cache
from typing import Final

from opentelemetry import metrics, trace
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import TracerProvider

from cachedeco.contrib.observing import observe
from cachedeco.contrib.opentelemetry.meter import MeterMeasures
from cachedeco.contrib.opentelemetry.spans import Spans
from cachedeco.runtime.hooks import add_hook

SCOPE: Final = "cachedeco"


def install(
    tracer_provider: TracerProvider | None = None, meter_provider: MeterProvider | None = None
) -> tuple[Spans, MeterMeasures]:
    """
    Send spans and metrics of all events from now on; return the two hooks that do, for `remove_hook()`.

    Twice with the same providers is the same as once.

    Args:
        tracer_provider: That of the spans; None for the global one, which may be set later.

        meter_provider: That of the metrics; None for the global one, which may be set later.
    """
    observe()
    spans, measures = _hooks_of(tracer_provider, meter_provider)
    add_hook(spans)
    add_hook(measures)
    return spans, measures


@cache  # of all: one that was forgotten would be made, and count, a second time
def _hooks_of(
    tracer_provider: TracerProvider | None, meter_provider: MeterProvider | None
) -> tuple[Spans, MeterMeasures]:
    """Return the hooks for two providers, the same ones each time: an app may be made ready twice."""
    return (
        Spans(trace.get_tracer(SCOPE, tracer_provider=tracer_provider)),
        MeterMeasures(metrics.get_meter(SCOPE, meter_provider=meter_provider)),
    )
