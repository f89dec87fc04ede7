"""Counters, gauges and the histogram, against the real prometheus_client."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.test import override_settings
from prometheus_client import REGISTRY, CollectorRegistry, values
from prometheus_client.multiprocess import MultiProcessCollector

from cachedeco import Event, Namespace, cached_query, rows
from cachedeco.contrib import measuring
from cachedeco.contrib.prometheus import install
from cachedeco.contrib.prometheus.metrics import PrometheusMeasures
from cachedeco.runtime.hooks import emit, remove_hook
from cachedeco.runtime.statistics import OTHERS
from cachedeco.storage.breaker import breakers
from tests.models import Player
from tests.support.faults import faulty


@cached_query(
    300, name="metered.page", namespace="club:{club}", depends_on=["auth.User", rows(Player, squad_id="{club}")]
)
def page(club: int) -> int:
    """Return what a page is made of."""
    return club


@pytest.fixture
def registry() -> Iterator[CollectorRegistry]:
    """Give a registry in which all events are counted."""
    registry = CollectorRegistry()
    measures = install(registry)
    yield registry
    remove_hook(measures)


def samples_of(registry: CollectorRegistry) -> dict[str, float]:
    """Return the samples that are not 0, by name and labels, without the times and sizes of buckets."""
    return {
        f"{each.name}{{{','.join(value for value in each.labels.values())}}}": each.value
        for metric in registry.collect()
        for each in metric.samples
        if each.value and not each.name.endswith(("_created", "_bucket", "_sum", "seconds_total"))
    }


def test_calls_are_counted_by_function_outcome_and_reason(registry: CollectorRegistry) -> None:
    """A miss, a hit, an invalidation and a miss: what happened, and why."""
    page(7)
    page(7)
    Namespace("club", 7).invalidate()
    page(7)

    assert {
        "cachedeco_calls_total{metered.page,miss,absent}": 1,
        "cachedeco_calls_total{metered.page,hit,}": 1,
        "cachedeco_calls_total{metered.page,miss,invalidated}": 1,
        "cachedeco_computation_seconds_count{metered.page}": 2,
        "cachedeco_entries_total{metered.page,stored}": 2,
        "cachedeco_invalidations_total{default,namespace,club}": 1,
    } == samples_of(registry)


# What each kind of event that no call above has adds.
EVENTS = {
    Event("stale", "metered.page"): "cachedeco_calls_total{metered.page,stale,}",
    Event("shared", "metered.page"): "cachedeco_calls_total{metered.page,shared,}",
    Event("unstored", "metered.page", reason="some 7"): "cachedeco_entries_total{metered.page,unstored}",
    Event("error", "metered.page", cache="one"): "cachedeco_errors_total{metered.page,one}",
    Event("audited", "metered.page"): "cachedeco_audits_total{metered.page,audited}",
    Event("inconsistent", "metered.page"): "cachedeco_audits_total{metered.page,inconsistent}",
    Event("invalidation_delayed", cache="one"): "cachedeco_unacknowledged_invalidations_total{one,delayed}",
    Event("invalidation_lost", cache="one"): "cachedeco_unacknowledged_invalidations_total{one,lost}",
    Event("breaker_opened", cache="one"): "cachedeco_breaker_open{one}",
}


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.kind)
def test_event_is_counted(registry: CollectorRegistry, event: Event) -> None:
    """Each event of a function or a cache is counted, with no text of its own in the labels."""
    emit(event)

    assert {EVENTS[event]: 1} == samples_of(registry)


@pytest.mark.parametrize("kind", ["advice", "unwatched"])
def test_advice_is_no_measure(registry: CollectorRegistry, kind: str) -> None:
    """What concerns the code of the project is in the log, and not in a graph."""
    emit(Event(kind, "metered.page", reason="why"))  # type: ignore[arg-type] # a kind

    assert {} == samples_of(registry)


def test_times_are_observed(registry: CollectorRegistry) -> None:
    """The histogram has the seconds of computations, and a counter those that hits have saved."""
    emit(Event("computed", "metered.page", seconds=0.3))
    emit(Event("hit", "metered.page", seconds=0.3))
    emit(Event("hit", "metered.page", seconds=0.3))

    assert 0.3 == registry.get_sample_value("cachedeco_computation_seconds_sum", {"function": "metered.page"})
    assert 0.6 == registry.get_sample_value("cachedeco_saved_seconds_total", {"function": "metered.page"})
    assert 0.0 == registry.get_sample_value(
        "cachedeco_computation_seconds_bucket", {"function": "metered.page", "le": "0.25"}
    )


@pytest.mark.usefixtures("faulty_backend")
def test_what_is_owed_is_a_gauge(registry: CollectorRegistry) -> None:
    """While a cache does not acknowledge an invalidation, the gauges tell so; afterwards both are 0 again."""

    def gauges() -> list[float | None]:
        names = ("cachedeco_breaker_open", "cachedeco_owed_invalidations")
        return [registry.get_sample_value(name, {"cache": "default"}) for name in names]

    before = gauges()
    with faulty(raises=ConnectionError()):
        page.invalidate(7)
        during = gauges()
    breakers["default"].end_pause()
    page(7)

    assert ([0, 0], [1, 1], [0, 0]) == (before, during, gauges())


def test_labels_are_bounded(registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names that contain an id are counted as others, once there are too many, and are not remembered."""
    monkeypatch.setattr(measuring, "MOST_VALUES", 2)

    for number in range(5):
        emit(Event("stored", f"metered.page_of_{number}"))

    assert {
        "cachedeco_entries_total{metered.page_of_0,stored}": 1,
        "cachedeco_entries_total{metered.page_of_1,stored}": 1,
        f"cachedeco_entries_total{{{OTHERS},stored}}": 3,
    } == samples_of(registry)


def test_installing_twice_counts_once(registry: CollectorRegistry) -> None:
    """An app may be made ready twice, by a test that changes INSTALLED_APPS, and others count for themselves."""
    for each in [CollectorRegistry() for _ in range(20)]:
        remove_hook(install(each))

    install(registry)
    emit(Event("stored", "metered.page"))

    assert {"cachedeco_entries_total{metered.page,stored}": 1} == samples_of(registry)


def test_app_counts_in_the_default_registry() -> None:
    """One line of INSTALLED_APPS is all; the gauges are there before there is trouble."""
    with override_settings(INSTALLED_APPS=["cachedeco.contrib.prometheus"]):
        emit(Event("stored", "metered.page"))
    remove_hook(install())

    labels = {"function": "metered.page", "outcome": "stored"}
    assert 1 == REGISTRY.get_sample_value("cachedeco_entries_total", labels)
    assert 0 == REGISTRY.get_sample_value("cachedeco_breaker_open", {"cache": "default"})


@override_settings(CACHEDECO={"ALIASES": 7})
def test_settings_at_fault_are_left_to_the_check() -> None:
    """What the setting should be is an error of `check`, and no exception at the start."""
    registry = CollectorRegistry()

    remove_hook(install(registry))

    assert registry.get_sample_value("cachedeco_breaker_open", {"cache": "default"}) is None


def test_processes_are_added_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In multiprocess mode the counters and the gauges of all processes are added up."""
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    for process in (1, 2):
        monkeypatch.setattr(values, "ValueClass", values.MultiProcessValue(lambda process=process: process))
        measures = PrometheusMeasures(CollectorRegistry())
        measures(Event("hit", "metered.page", seconds=0.25))
        measures(Event("computed", "metered.page", seconds=0.25))
        measures(Event("breaker_opened", cache="default"))

    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call] # it has annotations for some

    assert {
        "cachedeco_calls_total{metered.page,hit,}": 2,
        "cachedeco_breaker_open{default}": 2,
        "cachedeco_computation_seconds_count{metered.page}": 2,
    } == samples_of(registry)
    assert 0.5 == registry.get_sample_value("cachedeco_saved_seconds_total", {"function": "metered.page"})
