"""The switch: MODE, mode() and bypass()."""

import asyncio
import threading
from contextlib import ExitStack
from contextvars import copy_context

import pytest
from asgiref.sync import async_to_sync, iscoroutinefunction, sync_to_async
from django.test import override_settings

from cachedeco import MISSING, bypass, cached_query, mode
from cachedeco.runtime.modes import current_mode
from cachedeco.runtime.validation import ModeName
from tests.support.interrupts import Attempt, handled
from tests.support.threads import PATIENCE_SECONDS, in_thread

MODES: tuple[ModeName, ...] = ("on", "bypass", "off")
EVERY_MODE = pytest.mark.parametrize("name", MODES)

source = {"value": "old"}


@cached_query
def value_of(key: str) -> str:
    """Return what the source says now."""
    return source[key]


@cached_query
async def async_value_of(key: str) -> str:
    """Return what the source says now."""
    return source[key]


@pytest.fixture(autouse=True)
def _fresh_source() -> None:
    """Begin with the value "old"."""
    source["value"] = "old"


# --- what is in force ---


def test_mode_without_setting_is_on() -> None:
    """Caching is on where no setting says otherwise."""
    assert "on" == current_mode()


@EVERY_MODE
def test_mode_setting_is_followed_at_once(name: ModeName) -> None:
    """The setting counts from the moment that it changes, and until it changes back."""
    with override_settings(CACHEDECO={"MODE": name}):
        inside = current_mode()

    assert (name, "on") == (inside, current_mode())


@EVERY_MODE
def test_mode_block_outranks_the_setting(name: ModeName) -> None:
    """A block counts more than the setting, for any value of that, and a change of it inside the block."""
    for setting in MODES:
        with mode(name), override_settings(CACHEDECO={"MODE": setting}):
            assert name == current_mode()


def test_mode_nested_blocks_each_leave_what_they_found() -> None:
    """Of nested blocks the innermost counts, and each leaves what it found."""
    seen = []
    with mode("off"):
        with mode("on"):
            with bypass():
                seen.append(current_mode())
            seen.append(current_mode())
        seen.append(current_mode())

    assert ["bypass", "on", "off"] == seen
    assert "on" == current_mode()


def test_mode_after_an_exception_is_what_it_was() -> None:
    """An exception leaves the block, and the block leaves the mode as it was."""
    with pytest.raises(LookupError), mode("off"), bypass():
        raise LookupError

    assert "on" == current_mode()


def test_mode_object_used_again_inside_itself() -> None:
    """One object can be in force many times over: a decorated function may call itself."""
    off = mode("off")
    with off, mode("on"), off:
        inside = current_mode()

    assert ("off", "on") == (inside, current_mode())


def test_mode_blocks_left_out_of_order_each_take_back_their_own() -> None:
    """A block that ends before one that began after it, as in two generators, takes back only its own mode."""
    first, second = ExitStack(), ExitStack()
    first.enter_context(mode("off"))
    second.enter_context(mode("bypass"))

    first.close()
    between = current_mode()
    second.close()

    assert ("bypass", "on") == (between, current_mode())


def test_mode_block_left_in_another_context_changes_nothing_there() -> None:
    """A block that is left where it never began, as an async generator may be, leaves that place alone."""
    abandoned = mode("off")

    async def leave_elsewhere() -> str:
        abandoned.__exit__(None, None, None)
        return current_mode()

    with mode("bypass"):
        assert "bypass" == asyncio.run(leave_elsewhere())


def test_mode_that_a_signal_interrupts_is_left() -> None:
    """A handler that raises leaves no mode behind at any point but one: where Python has not yet begun `__exit__()`."""

    def block() -> None:
        with mode("off"):
            current_mode()

    def run(attempt: Attempt) -> str:
        attempt.run(block)
        return current_mode()

    attempts = [Attempt(point) for point in range(20)]

    with handled():
        left = [attempt.fell for attempt in attempts if "on" != copy_context().run(run, attempt)]

    assert ["__exit__(), call"] == [each.partition(", ")[2] for each in left]
    assert not attempts[-1].fell  # these were all points


@pytest.mark.parametrize("name", ["On", "", "none", None, True, 1, []])
def test_mode_unknown_is_refused_where_it_is_named(name: object) -> None:
    """A mode that does not exist is an error before anything is decorated or entered."""
    with pytest.raises(ValueError, match=r"the mode is .*; it takes one of 'on', 'bypass', 'off'"):
        mode(name)  # type: ignore[arg-type] # what a user might write


@pytest.mark.parametrize("setting", MODES)
def test_bypass_inside_off_stays_off(setting: ModeName) -> None:
    """Code that bypasses the cache must not reach a server where there is none."""
    with override_settings(CACHEDECO={"MODE": setting}), bypass():
        by_setting = current_mode()
    with override_settings(CACHEDECO={"MODE": setting}), mode("off"), bypass():
        by_block = current_mode()

    assert ("off" if setting == "off" else "bypass", "off") == (by_setting, by_block)


def test_mode_on_inside_off_is_on() -> None:
    """A block says "on" and means it, as in a test of the caching itself, in a suite that runs without."""
    with override_settings(CACHEDECO={"MODE": "off"}), mode("on"):
        value_of("value")

        assert "old" == value_of.peek("value")


# --- threads and tasks ---


def test_mode_in_new_thread_is_the_setting() -> None:
    """A block is in force in its own thread: another request is none of its business."""
    with mode("off"):
        elsewhere = in_thread(current_mode)

    assert "on" == elsewhere


def test_mode_object_shared_by_threads_keeps_them_apart() -> None:
    """One object entered by two threads, and left in another order, serves each."""
    off = mode("off")
    entered, left = threading.Event(), threading.Event()
    seen = []

    def other() -> None:
        with off:
            entered.set()
            assert left.wait(PATIENCE_SECONDS)
            seen.append(current_mode())
        seen.append(current_mode())

    thread = threading.Thread(target=other)
    with off:
        thread.start()
        assert entered.wait(PATIENCE_SECONDS)
    left.set()
    thread.join()

    assert (["off", "on"], "on") == (seen, current_mode())


def test_mode_in_task_is_that_of_the_task() -> None:
    """Two tasks of one loop, each in a block of its own, each have their own mode."""

    async def task(name: ModeName, barrier: asyncio.Barrier) -> str:
        with mode(name):
            await barrier.wait()
            inside = current_mode()
            await barrier.wait()
        return inside

    async def main() -> list[str]:
        barrier = asyncio.Barrier(3)
        return await asyncio.gather(*(task(name, barrier) for name in MODES))

    assert list(MODES) == asyncio.run(main())


def test_mode_is_inherited_by_tasks_and_by_calls_between_sync_and_async() -> None:
    """What is started inside a block inherits it: tasks, sync_to_async, async_to_sync."""

    async def main() -> list[str]:
        return [await asyncio.create_task(asynchronous()), await sync_to_async(current_mode)()]

    async def asynchronous() -> str:
        return current_mode()

    with mode("off"):
        assert ["off", "off"] == async_to_sync(main)()


# --- as decorators ---


def test_mode_decorates_a_function() -> None:
    """The mode is in force while the function runs, and the function keeps its name and its result."""

    @mode("off")
    def inside(first: int, *, second: int) -> tuple[str, int, int]:
        return current_mode(), first, second

    assert ("off", 1, 2) == inside(1, second=2)
    assert ("inside", "on") == (inside.__name__, current_mode())


def test_mode_decorates_an_async_function() -> None:
    """The mode is in force while the coroutine runs, not while it is made, and the function stays async."""

    @bypass()
    async def inside() -> tuple[str, str]:
        before = current_mode()
        await asyncio.sleep(0)
        return before, current_mode()

    assert iscoroutinefunction(inside)
    assert ("bypass", "bypass") == asyncio.run(inside())


def test_mode_decorates_a_cached_async_function() -> None:
    """A cached async function is an async function to the switch, on every Python."""
    bypassed = bypass()(async_value_of)
    asyncio.run(async_value_of("value"))
    source["value"] = "new"

    value = asyncio.run(bypassed("value"))

    assert "new" == value


def test_mode_decorates_a_method() -> None:
    """A decorated method is still bound to its instance."""

    class Reader:
        @mode("off")
        def read(self) -> tuple[str, object]:
            return current_mode(), self

    reader = Reader()

    assert ("off", reader) == reader.read()


# --- what the modes do ---


@pytest.mark.parametrize("name", ["bypass", "off"])
def test_call_past_the_cache_computes_and_stores_nothing(name: ModeName) -> None:
    """Past the cache every call computes, what is stored is not seen, and what is computed is not stored."""
    value_of("value")
    source["value"] = "new"
    with mode(name):
        past = [value_of("value"), value_of.peek("value")]

    assert ["new", MISSING] == past
    assert "old" == value_of("value")


@pytest.mark.parametrize("name", ["bypass", "off"])
@pytest.mark.parametrize("verb", ["refresh", "set"])
def test_storing_verb_past_the_cache_leaves_nothing_old(name: ModeName, verb: str) -> None:
    """Who refreshes or puts says that what is stored is old: while bypassed that goes out, as invalidations do."""
    value_of("value")
    source["value"] = "new"
    with mode(name):
        value_of.call("value").set("set") if verb == "set" else value_of.refresh("value")

    assert (MISSING if name == "bypass" else "old") == value_of.peek("value")


def test_async_call_past_the_cache_computes_and_stores_nothing() -> None:
    """The same for an async function and the verbs for async code."""

    async def main() -> None:
        await async_value_of("value")
        source["value"] = "new"
        with bypass():
            past = [await async_value_of("value"), await async_value_of.apeek("value")]

        assert ["new", MISSING] == past
        assert "old" == await async_value_of("value")
        with bypass():
            past = [await async_value_of.arefresh("value"), await async_value_of.call("value").aset("set")]

        assert ["new", None] == past
        assert MISSING is await async_value_of.apeek("value")

    asyncio.run(main())


@pytest.mark.parametrize("verb", ["invalidate", "invalidate_all", "ainvalidate", "ainvalidate_all"])
@pytest.mark.parametrize(("name", "expected"), [("on", "new"), ("bypass", "new"), ("off", "old")])
def test_invalidation_goes_out_in_every_mode_but_off(name: ModeName, verb: str, expected: str) -> None:
    """What a bypassed process writes must reach the others that cache; "off" promises that nothing is sent."""
    value_of("value")
    source["value"] = "new"
    invalidate = getattr(value_of, verb)
    arguments = () if verb.endswith("all") else ("value",)
    with mode(name):
        async_to_sync(invalidate)(*arguments) if verb.startswith("a") else invalidate(*arguments)

    assert expected == value_of("value")
