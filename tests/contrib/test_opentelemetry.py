"""Spans of what the cache was asked, as Sentry's page of caches reads them, and metrics; with OpenTelemetry's SDK."""

import asyncio
from collections.abc import Iterator
from contextlib import AbstractContextManager
from time import time_ns
from typing import Any, NamedTuple

import pytest
from django.db import transaction
from django.test import override_settings
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, get_current_span

from cachedeco import Event, Namespace, bypass, cached_query, cached_query_many, remembered
from cachedeco.contrib import measuring, observing
from cachedeco.contrib.opentelemetry import install
from cachedeco.contrib.opentelemetry.hooks import SCOPE
from cachedeco.contrib.opentelemetry.peers import peer_of
from cachedeco.runtime.hooks import emit, remove_hook
from cachedeco.storage import connections
from cachedeco.storage.store import Store
from tests.conftest import UseCaches
from tests.support.servers import Redis

SPECIFIED = {"sentry.op", "cache.hit", "cache.item_size", "cache.write", "network.peer.address", "network.peer.port"}


@cached_query(300, name="traced.page", namespace="club:{club}")
def page(club: int) -> str:
    """Return what a page is made of."""
    return f"the page of {club}"


@cached_query(300, name="traced.page_of_the_day")
async def page_of_the_day(day: int) -> int:
    """Return what async code asks for."""
    return day


@cached_query_many(over="ids", name="traced.pages", timeout=60)
def pages(ids: list[int]) -> dict[int, int]:
    """Return what depends on many ids."""
    return {each: each for each in ids}


class Telemetry(NamedTuple):
    """What was exported, and the providers that do."""

    exporter: InMemorySpanExporter
    tracers: TracerProvider
    reader: InMemoryMetricReader

    def request(self) -> AbstractContextManager[object]:
        """Return the span of a request."""
        return self.tracers.get_tracer("tests").start_as_current_span("request")

    def spans(self) -> list[ReadableSpan]:
        """Return the spans of cachedeco."""
        return [span for span in self.exporter.get_finished_spans() if span.instrumentation_scope.name == SCOPE]

    def told(self) -> list[tuple[str, Any]]:
        """Return name and outcome of each span."""
        return [(span.name, attributes_of(span)["cachedeco.outcome"]) for span in self.spans()]

    def clear(self) -> None:
        """Forget the spans."""
        self.exporter.clear()


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    """Install the hooks, with exporters that keep what they get."""
    exporter, tracers, reader = InMemorySpanExporter(), TracerProvider(), InMemoryMetricReader()
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    hooks = install(tracers, MeterProvider([reader]))
    yield Telemetry(exporter, tracers, reader)
    for hook in hooks:
        remove_hook(hook)
    connections.observe_with(None)


def attributes_of(span: ReadableSpan) -> dict[str, Any]:
    """Return the attributes of a span."""
    return dict(span.attributes or {})


def test_spans_are_those_of_the_specification(telemetry: Telemetry, use_caches: UseCaches, redis_server: Redis) -> None:
    """A miss is a get, a computation and a put, a hit a get, an invalidation a remove: with hit, size and address."""
    use_caches(default="redis")
    with telemetry.request():
        page(7)
        page(7)
        page.invalidate(7)
    spans = telemetry.spans()
    size = attributes_of(spans[2])["cache.item_size"]
    address = {"network.peer.address": "127.0.0.1", "network.peer.port": redis_server.port}

    assert [
        ("cache.get", {"sentry.op": "cache.get", "cache.hit": False, **address}),
        ("cachedeco.compute", {"sentry.op": "function"}),
        ("cache.put", {"sentry.op": "cache.put", "cache.write": True, "cache.item_size": size, **address}),
        ("cache.get", {"sentry.op": "cache.get", "cache.hit": True, "cache.item_size": size, **address}),
        ("cache.remove", {"sentry.op": "cache.remove", "cache.write": True, **address}),
    ] == [(span.name, {k: v for k, v in attributes_of(span).items() if k in SPECIFIED}) for span in spans]
    assert len("the page of 7") < size < 1000
    assert {SpanKind.CLIENT, SpanKind.INTERNAL} == {span.kind for span in spans}


def test_span_lies_in_the_span_around_it(telemetry: Telemetry) -> None:
    """Spans are children of the request's, in its time, and a span of a computation is as long as that."""
    with telemetry.request():
        before, parent = time_ns(), get_current_span().get_span_context()
        page(7)
        after = time_ns()
    spans = telemetry.spans()

    assert {parent.span_id} == {span.parent.span_id for span in spans if span.parent}
    times = [time for span in spans for time in (span.start_time or 0, span.end_time or 0)]
    assert before <= min(times) <= max(times) <= after
    assert all((span.start_time or 0) <= (span.end_time or 0) for span in spans)


def test_without_a_trace_there_are_no_spans(telemetry: Telemetry) -> None:
    """A look-up outside a trace, and in one that is not sampled, makes none: they would be traces of their own."""
    unsampled = TracerProvider(sampler=ALWAYS_OFF)

    page(7)
    with unsampled.get_tracer("tests").start_as_current_span("request"):
        page(7)

    assert [] == telemetry.told()


def test_key_has_no_arguments_unless_the_setting_says_so(telemetry: Telemetry) -> None:
    """A key is shown as in the log: by a name and a digest, or whole."""
    with telemetry.request():
        page(7)
        shown = attributes_of(telemetry.spans()[0])
        telemetry.clear()
        with override_settings(CACHEDECO={"LOG_ARGUMENTS": True}):
            page(8)
    whole = attributes_of(telemetry.spans()[0])

    assert [("e:traced.page#", 12)] == [(key[:-12], 12) for key in shown["cache.key"]]
    assert [repr(page.key_for(8))] == [*whole["cache.key"]] == [whole["sentry.description"]]
    assert {"cachedeco.outcome": "miss", "cachedeco.reason": "absent", "cachedeco.function": "traced.page"} == {
        name: value for name, value in shown.items() if name.startswith("cachedeco.") and name != "cachedeco.cache"
    }


@pytest.mark.parametrize(("shows", "named"), [(False, "namespace club"), (True, "namespace club:7")])
def test_reason_names_the_token_to_blame_and_no_arguments_unless_the_setting_says_so(
    telemetry: Telemetry, *, shows: bool, named: str
) -> None:
    """As the log does: who has no log asks a trace why a call was a miss."""
    page(7)
    Namespace("club", 7).invalidate()
    with telemetry.request(), override_settings(CACHEDECO={"LOG_ARGUMENTS": shows}):
        page(7)

    assert f"invalidated: {named}" == attributes_of(telemetry.spans()[0])["cachedeco.reason"]


def test_call_over_many_ids_has_one_span_for_each_outcome(telemetry: Telemetry) -> None:
    """A hundred ids are read by one command, and are no hundred spans."""
    pages([1, 2, 3])
    with telemetry.request():
        pages([1, 2, 3, 4, 5])

    assert [
        ("cache.get", "hit"),
        ("cache.get", "miss"),
        ("cachedeco.compute", "computed"),
        ("cache.put", "stored"),
    ] == sorted(telemetry.told(), key=lambda each: (each[0] != "cache.get", each[1] != "hit"))


def test_memory_of_a_request_makes_no_span(telemetry: Telemetry) -> None:
    """What the request remembers is not read from the cache."""
    page(7)
    with telemetry.request(), remembered():
        page(7)
        page(7)

    assert [("cache.get", "hit")] == telemetry.told()


def test_async_call_is_in_the_trace_of_its_task(telemetry: Telemetry) -> None:
    """Commands that are sent in another thread belong to the trace of the task."""

    async def view() -> None:
        with telemetry.request():
            await page_of_the_day(7)
            await page_of_the_day(7)

    asyncio.run(view())

    assert ["miss", "computed", "stored", "hit"] == [outcome for _, outcome in telemetry.told()]


@pytest.mark.django_db(transaction=True)
def test_invalidation_at_commit_is_timed_there(telemetry: Telemetry) -> None:
    """Inside `atomic()` the command is sent by the commit."""
    with telemetry.request(), transaction.atomic():
        page.invalidate(7)
        began = time_ns()
    [span] = telemetry.spans()

    assert ("cache.remove", True) == (span.name, began <= (span.start_time or 0))


def test_event_without_a_command_makes_no_span(telemetry: Telemetry) -> None:
    """While the circuit breaker is open nothing is read or written, and a failure is no command that ended."""
    with telemetry.request():
        for kind in ("miss", "stored", "invalidated", "error"):
            emit(Event(kind, "traced.page", key="cd:e:traced.page(7)", cache="default"))  # type: ignore[arg-type] # a kind

    assert [] == telemetry.told()


def test_span_says_what_it_knows(telemetry: Telemetry) -> None:
    """A call that bypasses the cache has no cache, and a namespace no function."""
    with telemetry.request():
        with bypass():
            page(7)
        Namespace("club", 7).invalidate()

    assert [
        ("cachedeco.compute", "traced.page", None),
        ("cache.remove", None, "default"),
    ] == [
        (span.name, attributes_of(span).get("cachedeco.function"), attributes_of(span).get("cachedeco.cache"))
        for span in telemetry.spans()
    ]


PEERS = {
    ("memcached.MemcachedCache", "10.0.0.1:11212"): ("10.0.0.1", 11212),
    ("memcached.PyMemcacheCache", "cache.local"): ("cache.local", 11211),
    ("memcached.PyMemcacheCache", "[::1]:11211"): ("::1", 11211),
    ("memcached.PyLibMCCache", ("10.0.0.1:11212",)): ("10.0.0.1", 11212),
    ("memcached.PyMemcacheCache", "unix:/tmp/memcached.sock"): ("/tmp/memcached.sock", None),  # noqa: S108 -- a name
    ("memcached.PyMemcacheCache", "10.0.0.1:11211;10.0.0.2:11211"): (None, None),
    ("memcached.PyMemcacheCache", "10.0.0.1:none"): (None, None),
    ("redis.RedisCache", "redis://user:secret@cache.local:6380/1"): ("cache.local", 6380),
    ("redis.RedisCache", "rediss://cache.local"): ("cache.local", 6379),
    ("redis.RedisCache", "unix:///run/redis.sock"): ("/run/redis.sock", None),
    ("redis.RedisCache", "redis://"): (None, None),
    ("redis.RedisCache", ("redis://a", "redis://b")): (None, None),
    ("locmem.LocMemCache", "clubs:1"): (None, None),
    ("db.DatabaseCache", "cache_table"): (None, None),
    ("filebased.FileBasedCache", "/tmp/cache"): (None, None),  # noqa: S108 -- a name
    ("locmem.LocMemCache", ""): (None, None),
}


@pytest.mark.parametrize(("backend", "location"), PEERS)
def test_address_is_that_of_the_setting(backend: str, location: Any) -> None:
    """One server has an address and a port, and no password; several, or a file, have none."""
    peer = peer_of({"BACKEND": f"django.core.cache.backends.{backend}", "LOCATION": location})

    assert PEERS[backend, location] == (peer.get("network.peer.address"), peer.get("network.peer.port"))
    assert "secret" not in str(peer)


def test_metrics_are_those_of_prometheus(telemetry: Telemetry) -> None:
    """The same instruments, with the meter that the project has set up."""
    page(7)
    page(7)

    data: Any = telemetry.reader.get_metrics_data()
    metrics = {metric.name: metric.data for metric in data.resource_metrics[0].scope_metrics[0].metrics}
    calls = {
        (point.attributes["cachedeco.outcome"], point.attributes.get("cachedeco.reason")): point.value
        for point in metrics["cachedeco.calls"].data_points
    }
    assert {("miss", "absent"): 1, ("hit", None): 1} == calls
    assert [1] == [point.count for point in metrics["cachedeco.computation"].data_points]
    assert [0] == [point.value for point in metrics["cachedeco.breaker_open"].data_points]


def test_series_are_bounded(telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names that contain an id are counted as others, once there are too many."""
    monkeypatch.setattr(measuring, "MOST_VALUES", 1)

    for number in range(4):
        emit(Event("stored", f"traced.page_of_{number}"))

    data: Any = telemetry.reader.get_metrics_data()
    [entries] = [
        metric.data.data_points
        for metric in data.resource_metrics[0].scope_metrics[0].metrics
        if metric.name == "cachedeco.entries"
    ]
    assert [("traced.page_of_0", 1), ("(others)", 3)] == [
        (point.attributes["cachedeco.function"], point.value) for point in entries
    ]


def test_app_installs_the_hooks_once() -> None:
    """One line of INSTALLED_APPS is all, also if an app is made ready twice."""
    with override_settings(INSTALLED_APPS=["cachedeco.contrib.opentelemetry"]):
        page(7)
    hooks = install()

    assert hooks == install()
    assert observing.last_read.get() is not None
    for hook in hooks:
        remove_hook(hook)
    connections.observe_with(None)


def test_read_of_several_chunks_is_observed_as_one() -> None:
    """So that the event of an id finds it, whose entry was asked for long before the last token."""
    observing.observe()
    keys = [f"cd:{number}" for number in range(2001)]

    found = Store("default").read_each(keys)
    first, last = observing.read_of(keys[0]), observing.read_of(keys[-1])

    async def read() -> object:
        await Store("default").get_many_on_loop(keys)
        return observing.read_of(keys[0])

    assert ([None] * 2001, True) == (found, first is last is not None)
    assert asyncio.run(read()) not in {None, first}
    connections.observe_with(None)
