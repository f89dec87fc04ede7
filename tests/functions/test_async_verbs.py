"""Sync verbs of async functions, twins of sync ones; and what is counted of both."""

import pytest
from asgiref.sync import async_to_sync

from cachedeco import MISSING, Missing, Stats, bypass, cached_query
from tests.support.sides import ASYNC, Side, both


def test_sync_verb_that_would_compute_names_its_twin() -> None:
    """`refresh()` of an async function can't await it: the error says what can."""

    @cached_query
    async def answer() -> int:
        return 1

    with pytest.raises(TypeError, match=r"answer\(\) is async, .* use arefresh\(\)"):
        answer.refresh()


def test_sync_verbs_of_an_async_function_need_no_loop() -> None:
    """What does not compute is there for sync code too: a signal handler can invalidate an async function."""

    @cached_query
    async def answer(number: int) -> int:
        return number

    answer.call(4).set(40)
    found = answer.peek(4), answer.key_for(4), async_to_sync(answer)(4)

    answer.invalidate(4)

    assert (40, True, 40) == (found[0], "answer" in found[1], found[2])
    assert MISSING is answer.peek(4)


def test_twins_of_a_sync_function_are_for_async_code() -> None:
    """A sync function has its twins, which run it in a thread where it may use the database."""

    @cached_query
    def answer(number: int) -> int:
        return 2 * number

    found = ASYNC.call(answer.refresh, 4), ASYNC.call(answer.peek, 4), ASYNC.call(answer.key_for, 4)
    ASYNC.call(answer.call(4).set, 50)
    replaced = answer.peek(4)
    ASYNC.call(answer.invalidate, 4)
    first = answer.peek(4)
    answer(4)
    ASYNC.call(answer.invalidate_all)

    assert ((8, 8, answer.key_for(4)), 50, MISSING, MISSING) == (found, replaced, first, answer.peek(4))


@both
def test_stats_count_what_happened(side: Side) -> None:
    """Hits, misses, computations and bypassed calls are counted by function."""

    @side.cached()
    def answer(number: int) -> int:
        return number

    before = answer.stats()
    for number in (4, 4, 5, 4):
        side.call(answer, number)
    with bypass():
        side.call(answer, 4)
    after = answer.stats()

    assert (2, 2, 1, 3) == tuple(
        getattr(after, name) - getattr(before, name) for name in ("hits", "misses", "bypassed", "computations")
    )


def test_stats_of_a_function_never_called_are_zero() -> None:
    """Nothing has happened: all is zero, and nothing fails."""

    @cached_query
    def never() -> int:
        return 1

    assert Stats() == never.stats()


def test_missing_is_one_thing_and_false() -> None:
    """`MISSING` is alone of its type, false, and shows where to import it from."""
    assert ([MISSING], False, "cachedeco.MISSING", "cachedeco.MISSING") == (
        list(Missing),
        bool(MISSING),
        repr(MISSING),
        str(MISSING),
    )
