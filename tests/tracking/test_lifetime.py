"""An outer entry ends with the first of its inner ones, varies with them, or is not stored."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from threading import Barrier
from typing import Any

import pytest
from django.utils.translation import get_language, override

from cachedeco import MISSING, cached_query, cached_query_many
from cachedeco.tracking.collector import Use, collect_dependencies, record_dependency
from tests.loading.single_flight.callers import heard, reasons
from tests.support.clocks import Clock
from tests.support.clocks import clock as clock  # noqa: PLC0414 -- a fixture
from tests.support.sides import SYNC, Side, both
from tests.tracking.floors import Floors, around


def after(side: Side, clock: Clock, seconds: float, function: Any) -> object:
    """Return what is stored so many seconds from now, and set the clock back."""
    clock.now += seconds
    found = side.call(function.peek)
    clock.now -= seconds
    return found


# --- lifetime ---


@pytest.mark.parametrize("warm", [False, True], ids=["computed", "served"])
@both
def test_outer_entry_ends_with_the_first_inner_one(side: Side, clock: Clock, *, warm: bool) -> None:
    """An inner timeout that is shorter is that of all calls around it, from the time when the inner value was made."""
    floors = Floors(side, bottom={"timeout": 10}, middle={"timeout": None}, top={"timeout": 3600})
    if warm:
        floors.call("bottom")
        clock.now += 4
    floors.call()

    left = 6 if warm else 10
    for function in (floors.middle, floors.top):
        assert MISSING is not after(side, clock, left - 0.1, function)
        assert MISSING is after(side, clock, left, function)


@both
def test_stale_window_of_an_inner_entry_counts(side: Side, clock: Clock) -> None:
    """An inner value that is still served while it is refreshed has not ended; the outer window ends with it."""
    floors = Floors(
        side,
        bottom={"timeout": 10, "stale_while_revalidate": 5},
        middle={"timeout": 12, "stale_while_revalidate": 60},
        top={"timeout": 3600},
    )
    floors.call()

    assert MISSING is not after(side, clock, 14.9, floors.top)
    assert MISSING is after(side, clock, 15, floors.top)
    clock.now += 15
    assert "top middle old" == floors.call()[0]
    assert ["top", "middle", "bottom"] == floors.computed


@both
def test_stale_value_that_is_served_after_a_failure_ends_at_once(side: Side, clock: Clock) -> None:
    """What a failing inner function is replaced by is no value to keep."""
    failing: list[Exception] = []

    @side.cached(timeout=10, stale_if_error=60, ignore=("failing",))
    def inner() -> str:
        if failing:
            raise failing[0]
        return "old"

    outer = around(side, "outer", inner)
    side.call(inner)
    clock.now += 10
    failing.append(ConnectionError())

    with heard() as told:
        assert "old" == side.call(outer)

    assert ["the value of a cached call inside it has ended"] == reasons(told, "unstored")


@both
def test_stale_window_cut_by_an_inner_value_stands_in_for_no_failure(side: Side, clock: Clock) -> None:
    """What stale-while-revalidate would allow beyond the end of an inner value replaces no exception, either."""
    failing: list[Exception] = []

    @side.cached(timeout=10, ignore=("failing",))
    def inner() -> str:
        if failing:
            raise failing[0]
        return "old"

    outer = around(side, "outer", inner, timeout=3600, stale_while_revalidate=60)
    side.call(outer)
    clock.now += 11
    failing.append(ConnectionError())

    with pytest.raises(ConnectionError):
        side.call(outer)


def _no_timeout(_: object) -> int:
    return 0


@pytest.mark.parametrize(
    ("options", "reason"),
    [({"timeout": _no_timeout}, "its timeout is 0"), ({"cache_if": _no_timeout}, "cache_if says no")],
    ids=["timeout", "cache_if"],
)
@both
def test_value_that_an_inner_function_does_not_store_keeps_the_outer_one_out(
    side: Side, options: dict[str, Any], reason: str
) -> None:
    """Each call around it says which inner function it was, and why."""
    floors = Floors(side, bottom={**options, "name": f"bottom_{side.is_async}"})

    with heard() as told:
        floors.call()

    inside = f"bottom_{side.is_async}() inside it is not stored: {reason}"
    assert [reason, inside, inside] == reasons(told, "unstored")
    assert [MISSING] * 2 == [side.call(each.peek) for each in (floors.middle, floors.top)]


def test_follower_inherits_what_the_leader_found(clock: Clock) -> None:
    """Each id of a bulk call ends an outer entry as a single call does."""

    @cached_query_many(over="ids", timeout=lambda value: value)
    def many(ids: list[int]) -> dict[int, int]:
        return {each: each for each in ids}

    @cached_query(ignore=("many",), timeout=3600)
    def outer() -> list[int]:
        return sorted(many([10, 20]))

    outer()

    assert MISSING is not after(SYNC, clock, 9.9, outer)
    assert MISSING is after(SYNC, clock, 10, outer)


@both
def test_inner_call_that_raised_is_depended_on(side: Side) -> None:
    """An outer function that catches the error of an inner one is computed anew after the inner call's invalidation."""
    rows: list[str] = []

    @side.cached(ignore=("rows",))
    def inner() -> str:
        return rows[0]

    def catching() -> Callable[[], Any]:
        @cached_query(ignore=("inner",))
        def outer() -> str:
            try:
                return str(inner())
            except IndexError:
                return "none"

        @cached_query(ignore=("inner",))
        async def aouter() -> str:
            try:
                return str(await inner())
            except IndexError:
                return "none"

        return aouter if side.is_async else outer

    outer: Any = catching()
    assert ("none", "none") == (side.call(outer), side.call(outer.peek))

    rows.append("a row")
    side.call(inner.invalidate)

    assert "a row" == side.call(outer)


# --- variation ---


def title_of(side: Side, **options: Any) -> Any:
    """Return a cached function that varies by the language."""

    @side.cached(**{"vary": get_language, "name": "title", **options})
    def title() -> str:
        return get_language()

    return title


@both
def test_outer_call_that_varies_by_less_is_not_stored(side: Side) -> None:
    """An outer value in one language is not served in another; the reason names the inner function and its vary."""
    outer = around(side, "outer", title_of(side))
    outermost = around(side, "outermost", outer)

    with heard() as told, override("en"):
        side.call(outermost)
    with override("de"):
        found = side.call(outermost)

    problem = "title() inside it varies by get_language, and this call does not: give it the same vary="
    assert "de" == found
    assert [problem, f"outer{'_async' if side.is_async else ''}() inside it is not stored: {problem}"] == reasons(
        told, "unstored"
    )


@pytest.mark.parametrize("warm", [False, True], ids=["computed", "served"])
@both
def test_outer_call_that_varies_by_the_same_is_stored(side: Side, *, warm: bool) -> None:
    """With the same callable and value each variant of the outer call has an entry, and so has a call around both."""
    title = title_of(side)
    outer = around(side, "outer", title, vary=get_language)
    outermost = around(side, "outermost", outer, vary=[get_language])
    for language in ("en", "de"):
        with override(language):
            if warm:
                side.call(title)
            side.call(outermost)

    found = []
    for language in ("en", "de"):
        with override(language):
            found.append((side.call(outer.peek), side.call(outermost.peek)))

    assert [("en", "en"), ("de", "de")] == found


@both
def test_outer_call_in_another_variant_is_not_stored(side: Side) -> None:
    """An inner call in a language of its own is another variant than that of the call around it."""
    outer = around(side, "outer", title_of(side), how=lambda: override("de"), vary=get_language)

    with override("en"):
        assert "de" == side.call(outer)
        assert MISSING is side.call(outer.peek)


def test_setting_vary_is_shared_by_all(settings: Any) -> None:
    """What every function varies by, each call shares."""
    settings.CACHEDECO = {"VARY": ["django.utils.translation.get_language"]}
    floors = Floors(SYNC)

    floors.call()

    assert "top middle old" == floors.top.peek()


# --- threads of the user's own ---


def _call(function: Callable[..., Any], *args: object) -> object:
    return function(*args)


@pytest.mark.parametrize("carried", [True, False], ids=["copy_context", "plain"])
def test_threads_that_carry_the_context_record(*, carried: bool) -> None:
    """Inner calls in a pool count where each runs in a copy of the context; without it they are not seen."""
    floors = Floors(SYNC)

    @cached_query(ignore=("floors", "carried"))
    def outer() -> list[str]:
        with ThreadPoolExecutor(2) as pool:
            runs: list[Any] = [copy_context().run if carried else _call for _ in range(2)]
            calls = [pool.submit(run, floors.bottom, number) for number, run in enumerate(runs, 1)]
            return [call.result() for call in calls]

    for number in (1, 2):
        outer()
        floors.bottom.invalidate(number)

        assert carried == (outer.peek() is MISSING)


def test_to_thread_carries_the_context() -> None:
    """`asyncio.to_thread` copies the context by itself."""
    floors = Floors(SYNC)

    @cached_query(ignore=("floors",))
    async def outer() -> list[str]:
        return list(await asyncio.gather(*[asyncio.to_thread(floors.bottom, number) for number in (1, 2)]))

    asyncio.run(outer.arefresh())
    floors.bottom.invalidate(2)

    assert MISSING is asyncio.run(outer.apeek())


def test_threads_that_record_at_once_lose_nothing() -> None:
    """Tokens, ends and variations of calls in many threads are all there."""
    together = Barrier(4)

    def record(thread: int) -> None:
        together.wait()
        for number in range(500):
            name = f"{thread} {number}".replace(" ", "-")
            use = Use(name, ((get_language, "en"),), float(10 + number + thread))
            record_dependency("default", ["key", name], {name: b"t"}, use)

    with collect_dependencies("default", collects=True, leads=False) as computation:
        with ThreadPoolExecutor(4) as pool:
            for call in [pool.submit(copy_context().run, record, thread) for thread in range(4)]:
                call.result()
        found = computation.dependencies()

    assert (2000, 10.0, 2000) == (len(found.tokens), found.ends, len(found.varied))
