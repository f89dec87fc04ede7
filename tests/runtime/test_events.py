"""Events: what happened is told to every hook, and counted right though hooks may raise."""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from itertools import count
from threading import Barrier
from typing import Any, NoReturn

import pytest

from cachedeco import Event, Namespace, Stats, add_hook, bypass, cached_query, listening, mode, remove_hook
from cachedeco.runtime import events, hooks, state
from cachedeco.runtime import statistics as statistics_module
from cachedeco.runtime.hooks import emit
from cachedeco.runtime.statistics import MOST_REASONS, OTHERS, stats_of
from cachedeco.runtime.validation import ModeName
from tests.support.faults import faulty
from tests.support.interrupts import Attempt, handled
from tests.support.sides import Side, both
from tests.support.stored import whole

THREADS = 8
CALLS = 25
# Of our code and contextlib's, in the beginning and the end of a block.
FEWEST_POINTS = 20


def fail(event: Event) -> NoReturn:
    """Be a hook that is broken."""
    msg = f"can't take {event}"
    raise RuntimeError(msg)


@both
def test_events_of_a_call_in_their_order(side: Side) -> None:
    """A miss, its computation and its storing; then a hit; each names function, key and cache."""
    seen: list[Event] = []

    @side.cached()
    def answer(number: int) -> int:
        return number

    with listening(seen.append):
        side.call(answer, 4)
        side.call(answer, 4)

    function = f"{__name__}.test_events_of_a_call_in_their_order.<locals>.answer"
    assert ["miss", "computed", "stored", "hit"] == [event.kind for event in seen]
    assert {(function, answer.key_for(4), "default")} == {(each.function, each.key, each.cache) for each in seen}


@both
def test_event_of_a_hit_tells_the_seconds_that_it_saved(side: Side) -> None:
    """What the computation took is told by each hit, and summed."""
    seen: list[Event] = []

    @side.cached()
    def answer() -> int:
        return 1

    with listening(seen.append):
        before = answer.stats().seconds_saved
        for _ in range(3):
            side.call(answer)
    [computed] = [event.seconds for event in seen if event.kind == "computed"]

    assert computed > 0
    assert [computed] * 2 == [event.seconds for event in seen if event.kind == "hit"]
    assert pytest.approx(2 * computed) == answer.stats().seconds_saved - before


@both
@pytest.mark.parametrize("verb", ["invalidate", "invalidate_all"])
def test_event_of_an_invalidation_names_the_function(side: Side, verb: str) -> None:
    """An invalidation that arrived is told with the function and its token's key."""
    seen: list[Event] = []

    @side.cached()
    def answer() -> int:
        return 1

    with listening(seen.append):
        side.call(getattr(answer, verb))

    assert [("invalidated", "default", True)] == [(each.kind, each.cache, "answer" in each.key) for each in seen]
    assert repr(answer) == f"<cached_query {seen[0].function}>"


def test_event_of_a_namespace_names_no_function() -> None:
    """A namespace belongs to no function: its events name the key alone."""
    seen: list[Event] = []

    with listening(seen.append):
        Namespace("club", 7).invalidate()

    assert [Event("invalidated", "", whole("cd:n:club:7"), "default")] == seen


@both
@pytest.mark.parametrize("name", ["bypass", "off"])
def test_events_past_the_cache(side: Side, name: ModeName) -> None:
    """A call that goes past the cache says so, and that it computed."""
    seen: list[Event] = []

    @side.cached()
    def answer() -> int:
        return 1

    with listening(seen.append), mode(name):
        side.call(answer)

    assert ["bypassed", "computed"] == [event.kind for event in seen]


@both
def test_events_of_a_call_that_raises_end_with_the_miss(side: Side) -> None:
    """What raised was not computed."""
    seen: list[Event] = []

    @side.cached()
    def answer() -> int:
        raise LookupError

    with listening(seen.append), pytest.raises(LookupError):
        side.call(answer)

    assert ["miss"] == [event.kind for event in seen]


@both
def test_stats_under_many_threads_are_right(side: Side) -> None:
    """No count is lost when eight threads count at once."""
    together = Barrier(THREADS)

    @side.cached()
    def answer(number: int) -> int:
        return number

    def work(number: int) -> None:
        together.wait()
        for _ in range(CALLS):
            side.call(answer, number)
        with bypass():
            side.call(answer, number)

    before = answer.stats()
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(work, range(THREADS)))
    after = answer.stats()

    assert (THREADS * (CALLS - 1), THREADS, THREADS, 2 * THREADS, 0) == tuple(
        getattr(after, name) - getattr(before, name)
        for name in ("hits", "misses", "bypassed", "computations", "errors")
    )


def test_counting_under_many_threads_loses_nothing() -> None:
    """The same, for the counter alone and many more events."""
    name = f"{__name__}.counted"
    together = Barrier(THREADS)

    def work(_: int) -> None:
        together.wait()
        for _ in range(1000):
            emit(Event("hit", name, seconds=0.5))

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(work, range(THREADS)))

    assert Stats(hits=1000 * THREADS, seconds_saved=500.0 * THREADS) == stats_of(name)


@pytest.mark.parametrize(
    ("kind", "field"),
    [
        ("hit", "hits"), ("miss", "misses"), ("stale", "stale"), ("bypassed", "bypassed"), ("error", "errors"),
        ("invalidation_delayed", "errors"), ("invalidation_lost", "errors"), ("computed", "computations"),
        ("stored", "stored"), ("unstored", "unstored"), ("shared", "shared"), ("invalidated", "invalidated"),
        ("breaker_opened", None), ("breaker_closed", None),
    ],
)  # fmt: skip
def test_each_kind_of_event_is_counted_in_its_field(kind: events.Kind, field: str | None) -> None:
    """Every kind counts where it belongs, and in no other field."""
    name = f"{__name__}.{kind}"
    before = stats_of(name)

    emit(Event(kind, name))

    since = asdict(stats_of(name) - before)
    assert {} == since.pop("unstored_reasons")
    assert (since.pop("reasons") != {}) == (kind in {"miss", "bypassed"})
    assert ({field: 1} if field else {}) == {each: number for each, number in since.items() if number}


def test_reasons_of_what_is_not_stored_are_counted_and_bounded() -> None:
    """A function that is never stored says why: a few reasons are told apart, whose texts may have sizes."""
    name = f"{__name__}.unstored"

    for reason in ("too large", "too large", *map(str, range(MOST_REASONS + 1))):
        emit(Event("unstored", name, reason=reason))

    reasons = stats_of(name).unstored_reasons
    assert {"too large": 2, OTHERS: 2}.items() <= reasons.items()
    assert MOST_REASONS + 1 == len(reasons)


@both
def test_hook_that_raises_breaks_no_call(side: Side, caplog: pytest.LogCaptureFixture) -> None:
    """The call goes on, the hooks after it are told, and the fault is logged."""
    seen: list[Event] = []

    @side.cached()
    def answer() -> int:
        return 1

    with listening(fail), listening(seen.append):
        found = side.call(answer), side.call(answer), side.call(answer.invalidate)

    assert ((1, 1, None), 5) == (found, len(seen))
    assert ["ERROR"] * 5 == [record.levelname for record in caplog.records]
    assert ".fail> failed on an event" in caplog.text


def test_hook_added_twice_is_told_once() -> None:
    """To add a hook again is to add it once."""
    seen: list[Event] = []
    hook = seen.append
    add_hook(hook)
    add_hook(hook)

    emit(Event("stored"))
    remove_hook(hook)
    emit(Event("stored"))

    assert 1 == len(seen)


def test_hook_that_is_not_there_can_be_removed() -> None:
    """To remove a hook that was never added does nothing."""
    before = hooks._hooks

    remove_hook(fail)

    assert before == hooks._hooks


@pytest.mark.parametrize("change", [add_hook, remove_hook])
def test_hooks_may_change_while_they_are_looked_through(change: Callable[[Any], None]) -> None:
    """A signal's handler may add or remove one between any two lines, in the thread that has the lock."""

    class Changing:
        """A hook that is interrupted where it is first compared, by a handler that adds another one."""

        is_due = False

        def __call__(self, _: Event) -> None:
            """Do nothing."""

        def __eq__(self, other: object) -> bool:
            """Be interrupted."""
            if self.is_due:
                self.is_due = False
                add_hook(another)
            return self is other

        __hash__ = None  # type: ignore[assignment]

    def another(_: Event) -> None:
        """Do nothing."""

    hook = Changing()
    add_hook(hook)
    hook.is_due = True
    try:
        change(str)

        assert another in hooks._hooks
    finally:
        for each in (hook, another, str):
            remove_hook(each)


def test_listening_ends_with_its_block() -> None:
    """After the block, also after one that raised, the hook is not called."""
    seen: list[Event] = []

    def work() -> NoReturn:
        with listening(seen.append):
            emit(Event("stored"))
            raise LookupError

    with pytest.raises(LookupError):
        work()
    emit(Event("stored"))

    assert 1 == len(seen)


def test_listening_inside_listening_leaves_the_outer_one() -> None:
    """An inner block with the same hook does not make the outer one deaf."""
    seen: list[Event] = []
    hook = seen.append

    with listening(hook):
        with listening(hook):
            emit(Event("stored"))
        emit(Event("stored"))

    assert 2 == len(seen)


def test_hook_added_inside_a_block_with_it_stays() -> None:
    """The block takes its own one away at its end, and until then the hook is told once."""
    seen: list[Event] = []
    hook = seen.append

    with listening(hook):
        add_hook(hook)
        emit(Event("stored"))
    emit(Event("stored"))
    remove_hook(hook)
    emit(Event("stored"))

    assert 2 == len(seen)


def test_exception_of_a_signal_leaves_no_hook_of_a_block() -> None:
    """At any point of its beginning and its end; a hook that an outer block has, too, stays until that ends."""

    def hook(_event: Event) -> None:
        pass

    def listen() -> None:
        with listening(hook):
            pass

    with handled(), listening(hook):
        before = hooks._added.copy(), hooks._hooks
        for point in count():
            attempt = Attempt(point)
            attempt.run(listen)

            assert before == (hooks._added, hooks._hooks), attempt.fell
            if not attempt.fell:
                break
    assert point > FEWEST_POINTS


def test_hook_that_removes_itself_is_told_once() -> None:
    """The hooks may change while they are told: an event in progress is not disturbed."""
    seen: list[Event] = []

    def once(event: Event) -> None:
        seen.append(event)
        remove_hook(once)

    after: list[Event] = []
    with listening(once), listening(after.append):
        emit(Event("stored"))
        emit(Event("stored"))

    assert (1, 2) == (len(seen), len(after))


def test_hook_may_call_a_cached_function() -> None:
    """A hook that itself uses a cached function gets its value; what it causes is told like anything else."""
    seen: list[str] = []

    @cached_query
    def inner() -> int:
        return 1

    @cached_query
    def outer() -> int:
        return 2

    def hook(event: Event) -> None:
        if event.function.endswith("outer"):
            seen.append(f"{event.kind} {inner()}")

    with listening(hook):
        outer()

    assert ["miss 1", "computed 1", "stored 1"] == seen


@pytest.mark.usefixtures("faulty_backend")
def test_failure_of_the_cache_is_logged_as_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    """A developer should look, and need not be woken: the call has its value."""

    @cached_query
    def answer() -> int:
        return 1

    with faulty("get_many", raises=TimeoutError("slow")):
        answer()

    [record] = caplog.records
    assert (logging.WARNING, "cachedeco") == (record.levelno, record.name)
    assert all(
        part in record.getMessage() for part in ("Reading failed", "answer", "'default'", "TimeoutError", "slow")
    )


def test_events_in_good_times_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Hits, misses and invalidations are no news, above DEBUG."""
    caplog.set_level(logging.INFO, "cachedeco")

    @cached_query
    def answer() -> int:
        return 1

    answer()
    answer()
    answer.invalidate()

    assert [] == caplog.records


def test_forked_child_counts_with_a_lock_of_its_own() -> None:
    """A child whose parent's other thread was counting when it forked is not left waiting for that thread."""
    name = f"{__name__}.child"
    held = statistics_module._lock

    with held:
        state.reset_in_child()
        emit(Event("hit", name))

    assert 1 == stats_of(name).hits


def test_forked_child_adds_hooks_with_a_lock_of_its_own() -> None:
    """A child whose parent's other thread was adding a hook when it forked is not left waiting for that thread."""
    heard: list[Event] = []
    held = hooks._lock

    with held:
        state.reset_in_child()
        with listening(heard.append):
            emit(Event("hit", __name__))

    assert [Event("hit", __name__)] == heard
