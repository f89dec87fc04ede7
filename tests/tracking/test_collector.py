"""What a call depended on, the call around it depends on too."""

import asyncio
from collections.abc import Callable
from contextlib import nullcontext
from contextvars import copy_context
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async

from cachedeco import MISSING, Namespace, bypass, cached_query, cached_query_many
from cachedeco.tracking import collector, nested_names
from tests.conftest import UseCaches
from tests.loading.single_flight.callers import Boarding, heard
from tests.models import Club
from tests.support.sides import ASYNC, SYNC, Side, both
from tests.support.threads import Gate, started
from tests.tracking.floors import Floors, around

OLD = ("top middle old", [])
NEW = ("top middle new", ["top", "middle", "bottom"])

WAYS: dict[str, Callable[[Floors], None]] = {
    "invalidate": lambda floors: floors.side.call(floors.bottom.invalidate),
    "invalidate_all": lambda floors: floors.side.call(floors.bottom.invalidate_all),
    "namespace": lambda _: Namespace("bottom", 1).invalidate(),
    "parent namespace": lambda _: Namespace("bottom").invalidate(),
}
every_way = pytest.mark.parametrize("invalidate", WAYS.values(), ids=WAYS)


@pytest.mark.covering(2)
@pytest.mark.usefixtures("backend")
@both
@every_way
def test_outer_calls_depend_on_the_inner_one(side: Side, invalidate: Callable[[Floors], None]) -> None:
    """Each invalidation of the innermost call invalidates those around it, however deep."""
    floors = Floors(side)
    floors.call()
    assert OLD == floors.call()

    floors.change()
    invalidate(floors)

    assert NEW == floors.call()
    assert ("top middle new", []) == floors.call()


@both
@pytest.mark.parametrize("warm", ["bottom", "middle"])
def test_outer_calls_depend_on_what_was_served(side: Side, warm: str) -> None:
    """An inner call that was a hit counts like one that was computed, and so does what that one depends on."""
    floors = Floors(side)
    floors.call(warm)
    floors.call()

    floors.change()
    side.call(floors.bottom.invalidate)

    assert NEW == floors.call()


@both
@every_way
def test_process_that_meets_an_entry_first_knows_what_it_depends_on(
    side: Side, invalidate: Callable[[Floors], None]
) -> None:
    """What another process has computed is invalidated by the inner call, too."""
    floors = Floors(side)
    floors.call()
    floors.change()
    nested_names.forget()
    invalidate(floors)
    nested_names.forget()

    assert NEW == floors.call()


@both
def test_other_calls_of_the_inner_function_do_not_count(side: Side) -> None:
    """Only what was called is depended on."""
    floors = Floors(side)
    floors.call()

    side.call(floors.bottom.invalidate, 2)
    Namespace("bottom", 2).invalidate()

    assert OLD == floors.call()


def test_peeked_call_counts() -> None:
    """A value that the computation has only looked at is depended on as one that it called for."""
    floors = Floors(SYNC)
    floors.call("bottom")

    @cached_query(ignore=("floors",))
    def looking() -> object:
        return floors.bottom.peek()

    assert "old" == looking()
    floors.bottom.invalidate()

    assert MISSING is looking()


def nothing(_inner: Any, _arguments: Any) -> None:
    """Leave the cache empty."""


def invalidated(inner: Any, arguments: Any) -> None:
    """Store, and invalidate."""
    inner(arguments)
    inner.invalidate(arguments)


def bypassed(inner: Any, arguments: Any) -> None:
    """Store, and leave the cache out of the look."""
    inner(arguments)


@pytest.mark.parametrize("before", [nothing, invalidated, bypassed])
@pytest.mark.parametrize(
    ("decorate", "arguments"),
    [(cached_query, 1), (cached_query_many(over="ids"), [1, 2])],
    ids=["single", "many"],
)
def test_peek_that_finds_nothing_keeps_the_outer_call_from_being_stored(
    decorate: Any, arguments: Any, before: Callable[[Any, Any], None]
) -> None:
    """No token ends "nothing": the value may be there a moment later, and the next call looks again."""

    @decorate
    def inner(ids: Any) -> Any:
        return dict.fromkeys(ids, "there") if isinstance(ids, list) else "there"

    @cached_query(ignore=("arguments", "before", "inner"))
    def looking() -> object:
        with bypass() if before is bypassed else nullcontext():
            return inner.peek(arguments)

    before(inner, arguments)

    with heard() as told:
        looking()
        looking()

    assert ["unstored"] * 2 == [each.kind for each in told if each.kind in {"unstored", "stored", "hit"}]


@both
def test_peek_that_finds_some_ids_is_no_whole_value(side: Side) -> None:
    """The others may be there a moment later."""

    @side.many(over="ids")
    def inner(ids: list[int]) -> dict[int, str]:
        return dict.fromkeys(ids, "there")

    @side.cached(ignore=("inner",))
    def looking() -> object:
        return inner.peek([1, 2])

    side.call(inner, [1])
    first = side.call(looking)
    side.call(inner, [2])

    assert ({1: "there"}, {1: "there", 2: "there"}) == (first, side.call(looking))
    assert {1: "there", 2: "there"} == side.call(looking.peek)


@both
def test_shared_call_counts(side: Side, boarding: Boarding) -> None:
    """A value that another caller computed meanwhile is depended on as one of its own, with all that it depends on."""
    gate = Gate()
    floors = Floors(side)

    @side.cached(ignore=("gate",))
    def slow() -> str:
        gate.wait_to_pass()
        return "slow"

    outer = around(side, "outer", floors.middle, slow)
    outermost = around(side, "outermost", outer, wait=0)  # it leads nothing, so that what it calls may wait

    gate.shut()
    with heard() as told, started(lambda: side.call(outer)):
        gate.wait_reached()
        with started(lambda: side.call(outermost)) as follower:
            boarding.wait_for_followers(1)
            gate.open()
    assert ("middle old slow", 1) == (follower.result(), [event.kind for event in told].count("shared"))
    floors.change()
    side.call(floors.bottom.invalidate)

    assert "middle new slow" == side.call(outermost)


# --- however it is called ---


def _gathered(inner: Any) -> Any:
    @cached_query(ignore=("inner",))
    async def outer() -> list[str]:
        return list(await asyncio.gather(inner(1), inner(2)))

    return outer


def _grouped(inner: Any) -> Any:
    @cached_query(ignore=("inner",))
    async def outer() -> list[str]:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(inner(number)) for number in (1, 2)]
        return [task.result() for task in tasks]

    return outer


def _begun_by_another(inner: Any) -> Any:
    """Have an inner computation begin a task that outlives it."""
    tasks: list[asyncio.Task[list[str]]] = []

    @cached_query(ignore=("inner", "tasks"))
    async def beginning() -> str:
        go_on = asyncio.Event()

        async def both_numbers() -> list[str]:
            await go_on.wait()
            return [await inner(1), await inner(2)]

        tasks.append(asyncio.create_task(both_numbers()))
        asyncio.get_running_loop().call_later(0, go_on.set)
        return "begun"

    @cached_query(ignore=("beginning", "tasks"))
    async def outer() -> list[str]:
        await beginning()
        return await tasks[-1]

    return outer


ASYNC_WAYS = {"gather": _gathered, "TaskGroup": _grouped, "task of an inner call": _begun_by_another}


@pytest.mark.parametrize("outer_of", ASYNC_WAYS.values(), ids=ASYNC_WAYS)
@pytest.mark.parametrize("number", [1, 2])
def test_calls_in_tasks_count(outer_of: Callable[[Any], Any], number: int) -> None:
    """An inner call counts in whichever task the computation makes it."""
    floors = Floors(ASYNC)
    outer = outer_of(floors.bottom)
    assert ["old", "old"] == ASYNC.call(outer) == ASYNC.call(outer.peek)

    ASYNC.call(floors.bottom.invalidate, number)

    assert MISSING is ASYNC.call(outer.peek)


@pytest.mark.parametrize("thread_sensitive", [True, False])
def test_sync_call_in_an_async_one_counts(thread_sensitive: bool) -> None:
    """An inner call counts in the thread to which `sync_to_async` takes it."""
    floors = Floors(SYNC)

    @cached_query(ignore=("floors", "thread_sensitive"))
    async def outer() -> str:
        return await sync_to_async(floors.middle, thread_sensitive=thread_sensitive)()

    ASYNC.call(outer)
    floors.change()
    floors.bottom.invalidate()

    assert "middle new" == ASYNC.call(outer)


def test_async_call_in_a_sync_one_counts() -> None:
    """An inner call counts in the loop to which `async_to_sync` takes it."""
    floors = Floors(ASYNC)

    @cached_query(ignore=("floors",))
    def outer() -> str:
        return str(async_to_sync(floors.middle.__call__)())

    outer()
    floors.change()
    ASYNC.call(floors.bottom.invalidate)

    assert "middle new" == outer()


@pytest.mark.covering(2)
@both
@pytest.mark.parametrize("where", ["top", "middle", "bottom"])
@every_way
def test_call_in_another_cache_counts(
    side: Side,
    where: str,
    invalidate: Callable[[Floors], None],
    use_caches: UseCaches,
    settings: Any,
) -> None:
    """Wherever the entries of the three lie: the tokens are asked for where they are."""
    use_caches(default="locmem", other="locmem")
    settings.CACHEDECO = {"ALIASES": ["default", "other"]}
    floors = Floors(side, **{where: {"cache": "other"}})
    floors.call()
    nested_names.forget()
    assert OLD == floors.call()
    assert OLD == floors.call()

    floors.change()
    invalidate(floors)

    assert NEW == floors.call()


def test_each_alias_is_its_own_where_one_begins_like_another(use_caches: UseCaches, settings: Any) -> None:
    """Aliases are Django's to allow: spaces in one do not lead to another."""
    use_caches(default="locmem", **{"a": "locmem", "a b": "locmem"})
    settings.CACHEDECO = {"ALIASES": ["default", "a", "a b"]}
    floors = Floors(SYNC, top={"cache": "a"}, middle={"cache": "default"}, bottom={"cache": "a b"})
    floors.call()
    assert OLD == floors.call()

    floors.change()
    floors.bottom.invalidate()

    assert NEW == floors.call()


@pytest.mark.django_db
def test_statement_after_the_end_of_a_computation_is_none_of_its_own() -> None:
    """A context that was copied inside outlives it, as that of a task does."""
    with collector.collect_dependencies("default", collects=True, leads=False) as computation:
        inside = copy_context()
        Club.objects.count()

    inside.run(Club.objects.count)

    assert 1 == computation.dependencies().statements
