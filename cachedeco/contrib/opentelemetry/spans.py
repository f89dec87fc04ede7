"""
Spans of look-ups, stored entries and invalidations, as Sentry's page of caches reads them.

Names and attributes
    `cache.get` is a look-up, `cache.put` an entry that is stored, `cache.remove` an invalidation, with the attributes
    of Sentry's specification: https://develop.sentry.dev/sdk/telemetry/traces/modules/caches/. Sentry's operation is
    the name of the span, where its span processor looks for it, and the attribute `sentry.op`, where its servers look.
    `cachedeco.compute` is a run of the function: what a miss costs. A call over many ids has one span for its hits and
    one for its misses, with the key of the first.

Times
    An event is made after the fact, so each span is made with a start and an end that are over: those of the command
    to the cache. A span of the database inside a computation is therefore a sibling of `cachedeco.compute`, and lies
    inside it by its times.

Cost
    There are spans only inside a span that is recorded. Outside a trace, and in one that is not sampled, a hit pays for
    that question.

Keys
    A key contains arguments. As in the log, it is shown as the name of the function and a digest, unless the setting
    LOG_ARGUMENTS is true.
"""

from collections.abc import Mapping
from time import time_ns
from typing import Any, Final

from django.core.cache import caches
from opentelemetry import trace
from opentelemetry.trace import SpanKind, Tracer

from cachedeco.contrib.observing import ObservedCommand, read_of, write_of
from cachedeco.contrib.opentelemetry.peers import peer_of
from cachedeco.runtime.events import Event
from cachedeco.runtime.log import reason_of, text_of_key

READS: Final = frozenset({"hit", "miss", "stale"})
WRITES: Final[Mapping[str, str]] = {"stored": "cache.put", "invalidated": "cache.remove"}

Attributes = dict[str, Any]


class Spans:
    """A hook that makes spans. Thread-safe."""

    cachedeco_runs_anywhere = True

    def __init__(self, tracer: Tracer) -> None:
        """Make them with a tracer."""
        self._tracer = tracer
        self._peers: dict[str, tuple[object, Attributes]] = {}

    def __call__(self, event: Event) -> None:
        """Make the span of an event, if it has one and the span around it is recorded."""
        if not trace.get_current_span().is_recording():
            return
        if event.kind in READS:
            command = read_of(event.key)  # none if the request's memory had it, or the circuit breaker is open
            if command is not None and command.is_first(event.kind, event.function):
                self._add_command("cache.get", event, command, {"cache.hit": event.kind != "miss"})
        elif event.kind in WRITES:
            command = write_of(event.key)
            if command is not None and command.is_first(event.kind, event.function):
                self._add_command(WRITES[event.kind], event, command, {"cache.write": True})
        elif event.kind == "computed":
            now = time_ns()
            attributes = {"sentry.op": "function", "sentry.description": event.function, **_about(event)}
            self._add("cachedeco.compute", SpanKind.INTERNAL, now - int(event.seconds * 1e9), now, attributes)

    def _add_command(self, name: str, event: Event, command: ObservedCommand, more: Attributes) -> None:
        key = text_of_key(event.key)
        attributes = {
            "sentry.op": name,
            "sentry.description": key,
            "cache.key": [key],
            **more,
            **self._peer(event.cache),
            **_about(event),
        }
        value = command.values[event.key]
        if isinstance(value, bytes) and name != "cache.remove":
            attributes["cache.item_size"] = len(value)
        self._add(name, SpanKind.CLIENT, command.began, command.ended, attributes)

    def _add(self, name: str, kind: SpanKind, began: int, ended: int, attributes: Attributes) -> None:
        span = self._tracer.start_span(name, kind=kind, attributes=attributes, start_time=began)
        span.end(end_time=ended)

    def _peer(self, alias: str) -> Attributes:
        """Return the attributes of the server of an alias, worked out once for each setting."""
        setting = caches.settings.get(alias)
        known = self._peers.get(alias)
        if known is None or known[0] is not setting:
            known = self._peers[alias] = (setting, {} if setting is None else peer_of(setting))
        return known[1]


def _about(event: Event) -> Attributes:
    """Return what the attributes of Sentry have no word for."""
    attributes: Attributes = {"cachedeco.outcome": event.kind}
    if event.function:
        attributes["cachedeco.function"] = event.function
    if event.cache:
        attributes["cachedeco.cache"] = event.cache
    if event.reason:
        attributes["cachedeco.reason"] = reason_of(event)
    return attributes
