"""Exceptions that are stored: `cache_exceptions`."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import ObjectDoesNotExist
from django.http import Http404

from cachedeco import MISSING, cached_query, cached_query_many, gather
from cachedeco.loading.writing import UNSTORABLE_ERROR
from tests.loading.single_flight.callers import heard
from tests.support.clocks import Clock
from tests.support.clocks import clock as clock  # noqa: PLC0414 -- a fixture
from tests.support.forgetting import is_forgotten
from tests.support.sides import Side, both
from tests.support.threads import Gate, started
from tests.tracking.floors import around


class UnpicklableError(Exception):
    """An exception that pickles, and can't be made again."""

    def __init__(self, first: str, second: str) -> None:
        """Pass on one argument of two."""
        super().__init__(first + second)


class OtherError(Exception):
    """An exception that comes back as another one."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Be made again as its base class."""
        return Exception, ("other",)


class Page:
    """What a cached function does: return, or raise."""

    def __init__(self) -> None:
        """Raise that there is no page."""
        self.error: Exception | None = Http404("no page")
        self.runs = 0

    def get(self) -> str:
        """Return the page, or raise."""
        self.runs += 1
        if self.error:
            raise self.error
        return "page"

    def cached(self, side: Side, **options: Any) -> Any:
        """Return a cached function that stores two exceptions."""
        defaults = {"cache_exceptions": {Http404: 60, LookupError: timedelta(seconds=5)}, "timeout": 3600}

        @side.cached(**{**defaults, "ignore": ("self",), **options})
        def get(number: int = 1) -> str:  # noqa: ARG001 -- only the key tells it
            return self.get()

        return get


@pytest.fixture
def page() -> Page:
    """Give a page that is not there."""
    return Page()


def raised_by(side: Side, function: Any, *args: object) -> Exception:
    """Return what a call raises."""
    with pytest.raises(Exception) as caught:  # noqa: PT011 -- each test compares it
        side.call(function, *args)
    return caught.value


@both
def test_exception_is_raised_on_a_hit(side: Side, page: Page, clock: Clock) -> None:
    """It is computed once, raised as another object each time, and ends with its own timeout."""
    get = page.cached(side)

    with heard() as told:
        first, second, third = [raised_by(side, get) for _ in range(3)]

    assert (1, ["miss", "computed", "stored", "hit", "hit"]) == (page.runs, [event.kind for event in told])
    assert [("Http404('no page')", True)] * 2 == [(repr(each), each is not first) for each in (second, third)]
    assert second is not third
    clock.now += 60
    page.error = None
    assert "page" == side.call(get)


@pytest.mark.parametrize(
    ("error", "seconds"), [(KeyError("k"), 5), (Http404(), 60), (ObjectDoesNotExist(), 0), (ValueError(), 0)], ids=repr
)
@both
def test_timeout_is_that_of_the_class(side: Side, page: Page, clock: Clock, error: Exception, seconds: float) -> None:
    """A subclass is stored as its nearest listed class says; what is not listed is not stored."""
    page.error = error
    get = page.cached(side)

    raised_by(side, get)
    clock.now += max(0, seconds - 0.1)
    raised_by(side, get)
    kept = page.runs
    clock.now += 0.2
    raised_by(side, get)

    assert ((1, 2) if seconds else (2, 3)) == (kept, page.runs)


@cached_query(name="exceptions.missing", cache_exceptions={Http404: 60})
def missing(number: int) -> str:
    """Find no page."""
    raise Http404(number)


@cached_query_many(over="numbers", name="exceptions.none", cache_exceptions={Http404: 60})
def none(numbers: list[int]) -> dict[int, str]:
    """Find none of the pages."""
    raise Http404(numbers)


@pytest.mark.parametrize(
    "call",
    [lambda: missing(1), lambda: none([1]), lambda: none([1, 2]), lambda: gather(missing.call(1), none.call([1]))],
    ids=["one", "many", "two of many", "gathered"],
)
def test_stored_exception_and_frames_do_not_keep_each_other_alive(call: Callable[[], object]) -> None:
    """What a hit has raised goes when its caller lets it go, and with it what the frames of the caller hold."""
    for each in (lambda: missing(1), lambda: none([1])):
        with pytest.raises(Http404):
            each()

    assert is_forgotten(call, Http404)


@both
def test_peek_finds_no_value(side: Side, page: Page) -> None:
    """There is none to return: it never raises what a computation has raised."""
    get = page.cached(side)
    raised_by(side, get)

    assert MISSING is side.call(get.peek)


@both
def test_invalidation_ends_it(side: Side, page: Page) -> None:
    """An exception has a stamp as a value has."""
    get = page.cached(side)
    raised_by(side, get)
    page.error = None

    side.call(get.invalidate)

    assert "page" == side.call(get)


@both
def test_refresh_stores_it(side: Side, page: Page) -> None:
    """`refresh()` replaces a value by an exception, and back."""
    page.error = None
    get = page.cached(side)
    side.call(get)
    page.error = Http404("gone")

    assert "Http404('gone')" == repr(raised_by(side, get.refresh)) == repr(raised_by(side, get))
    page.error = None
    assert "page" == side.call(get.refresh) == side.call(get)


@both
def test_exception_has_no_stale_window(side: Side, page: Page, clock: Clock) -> None:
    """It ends at its timeout; and a listed exception replaces a stale value, as a value does."""
    get = page.cached(side, stale_while_revalidate=600, stale_if_error=600, timeout=60)
    page.error = None
    side.call(get)
    clock.now += 60
    page.error = Http404("gone")

    assert "Http404('gone')" == repr(raised_by(side, get)) == repr(raised_by(side, get))

    assert 2 == page.runs
    clock.now += 60
    page.error = None
    assert "page" == side.call(get)


@both
def test_outer_call_that_catches_it_ends_with_it(side: Side, page: Page, clock: Clock) -> None:
    """An outer function that raises it too stores its own; one around it is a miss when the inner one ends."""
    get = page.cached(side)
    outer = around(side, "outer", get, cache_exceptions={Http404: 3600})
    raised_by(side, outer)
    raised_by(side, outer)
    assert 1 == page.runs

    clock.now += 60
    page.error = None

    assert "page" == side.call(outer)


@pytest.mark.parametrize(
    "error",
    [UnpicklableError("a", "b"), Http404(lambda: None), OtherError()],
    ids=["not made again", "not pickled", "made another"],
)
@both
def test_exception_that_can_not_be_pickled_is_an_event(side: Side, page: Page, error: Exception) -> None:
    """It is raised, and not stored; the log has it once."""
    page.error = error
    get = page.cached(side, cache_exceptions={Exception: 60})

    with heard() as told:
        assert [error, error] == [raised_by(side, get), raised_by(side, get)]

    problems = [event.kind for event in told if event.reason == UNSTORABLE_ERROR]
    assert ["error", "unstored"] == problems


def test_followers_raise_copies(page: Page) -> None:
    """A caller that waits for the leader raises an exception of its own."""
    gate = Gate()
    gate.shut()

    @cached_query(ignore=("page", "gate"), cache_exceptions={Http404: 60})
    def get() -> str:
        gate.wait_to_pass()
        return page.get()

    def caught() -> Exception:
        with pytest.raises(Http404) as error:
            get()
        return error.value

    with heard() as told, started(caught) as leader:
        gate.wait_reached()
        with started(caught) as follower:
            gate.open()
        errors = [leader.result(), follower.result()]

    assert (1, ["Http404('no page')"] * 2) == (page.runs, [repr(each) for each in errors])
    assert errors[0] is not errors[1]
    assert {event.kind for event in told} <= {"miss", "computed", "stored", "shared", "hit"}


@both
def test_bulk_call_of_one_id_stores_it(side: Side) -> None:
    """Of several ids it is unknown whose it is; what one id alone has raised is raised for it among others, too."""
    asked: list[list[int]] = []

    @side.many(over="ids", cache_exceptions={Http404: 60}, ignore=("asked",))
    def many(ids: list[int]) -> dict[int, str]:
        asked.append(ids)
        if 2 in ids:
            raise Http404
        return dict.fromkeys(ids, "found")

    for ids in ([1, 2], [1], [2], [2], [1, 2], [1]):
        if 2 in ids:
            raised_by(side, many, ids)
        else:
            side.call(many, ids)

    assert [[1, 2], [1], [2]] == asked
    assert {1: "found"} == side.call(many.peek, [1, 2])


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (Http404, "mapping of exceptions"),
        ({"Http404": 60}, "names 'Http404', which is no class"),
        ({KeyboardInterrupt: 60}, "KeyboardInterrupt, which is no subclass of Exception"),
        ({Http404: 0}, "Http404 the timeout 0"),
        ({Http404: -1}, "timeout of Http404 in cache_exceptions"),
        ({Http404: "60"}, "timeout of Http404 in cache_exceptions"),
    ],
    ids=repr,
)
def test_wrong_mapping_is_refused_at_decoration(value: Any, problem: str) -> None:
    """The error says what is taken."""
    with pytest.raises((TypeError, ValueError), match=problem):
        cached_query(cache_exceptions=value, name="wrong")(lambda: 1)


def test_json_stores_no_exceptions() -> None:
    """The two options are refused together."""
    options: Any = {"cache_exceptions": {Http404: 60}, "serializer": "json", "name": "refused"}

    with pytest.raises(ValueError, match="leave one of the two out"):
        cached_query(**options)(lambda: 1)
