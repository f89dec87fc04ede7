"""A function is told, once, that it is cached in a way that does not help."""

import logging
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.utils.translation import get_language

from cachedeco import AUTO, MISSING, cached_query
from cachedeco.loading import advice
from cachedeco.loading.advice import ENOUGH, UNREAD
from cachedeco.loading.tables import NOTHING_READ
from cachedeco.loading.unshared import NOTHING_KNOWN
from cachedeco.testing import capture_events, isolated
from tests.loading.single_flight.callers import Boarding
from tests.support.threads import Gate


def test_entries_that_die_before_they_are_read_are_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """A function that is invalidated more often than it is called is named, with what to do."""

    @cached_query(name="tests.advice.unread")
    def unread(n: int) -> int:
        return n

    with capture_events(unread) as events, caplog.at_level(logging.WARNING, "cachedeco"):
        for _ in range(3 * ENOUGH):
            unread(1)
            unread.invalidate_all()

    assert [UNREAD] == [event.reason for event in events if event.kind == "advice"]
    assert [f"tests.advice.unread(): {UNREAD}."] == caplog.messages


def test_callers_of_one_computation_are_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many find an invalidated entry at the same time, one of them computes it anew."""
    monkeypatch.setattr(advice, "ENOUGH", 3)
    boarding, gate = Boarding(monkeypatch), Gate()

    @cached_query(name="tests.advice.herd", ignore=("gate",))
    def herd(n: int) -> int:
        gate.wait_to_pass()
        return n

    herd(1)
    herd.invalidate_all()
    gate.shut()
    with capture_events(herd) as events, ThreadPoolExecutor(4) as pool:
        for _ in range(4):
            pool.submit(herd, 1)
        boarding.wait_for_followers(3)
        gate.open()

    assert [] == [event for event in events if event.kind == "advice"]
    assert 2 == herd.stats().computations


def test_entries_that_are_read_are_no_fault() -> None:
    """A function that is called more often than it is invalidated is told nothing."""

    @cached_query(name="tests.advice.read")
    def read(n: int) -> int:
        return n

    with capture_events(read) as events:
        for _ in range(2 * ENOUGH):
            read(1)
            read(1)
            read.invalidate_all()

    assert [] == [event for event in events if event.kind == "advice"]


@pytest.mark.django_db
def test_computation_under_auto_that_reads_nothing_is_told_once() -> None:
    """Nothing would end its entry but the timeout: it is stored, and its author is told."""

    @cached_query(name="tests.advice.nothing", depends_on=[AUTO])
    def nothing(n: int) -> int:
        return n

    with isolated(), capture_events(nothing) as events:
        assert [1, 2, 1] == [nothing(1), nothing(2), nothing(1)]

    assert [NOTHING_READ] == [event.reason for event in events if event.kind == "advice"]
    assert 1 == nothing.stats().hits


def test_call_around_one_that_varies_by_more_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """A *vary* that the inner function gets leaves each value of the outer one unstored, which no call shows."""

    @cached_query(name="tests.advice.title", vary=get_language)
    def title() -> str:
        return get_language()

    @cached_query(name="tests.advice.page", ignore=("title",))
    def page(n: int) -> str:
        return f"{title()} {n}"

    with isolated(), caplog.at_level(logging.WARNING, "cachedeco"):
        for n in (1, 2, 1):
            page(n)

    assert 3 == page.stats().computations
    told = "title() inside it varies by get_language, and this call does not: give it the same vary="
    assert [f"tests.advice.page(): Values are not stored where tests.advice.{told}."] == caplog.messages


@pytest.mark.django_db
def test_value_that_set_can_not_store_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """Who has only looked and set, as with `cache.get()` and `cache.set()`, would never see a hit."""

    @cached_query(name="tests.advice.given", depends_on=[AUTO])
    def given(n: int) -> int:
        return n

    with isolated(), caplog.at_level(logging.WARNING, "cachedeco"):
        for n in (1, 2, 1):
            assert given.peek(n) is MISSING
            given.call(n).set(n)

    assert [f"tests.advice.given(): A value is not stored: {NOTHING_KNOWN}."] == caplog.messages
