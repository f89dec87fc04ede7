"""Blocks as decorators: a function runs inside, also while it is awaited; what can't is refused."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from cachedeco import bypass, cached_query, deferred_invalidation, mode, remembered
from cachedeco.invalidation import commits
from cachedeco.loading import remembering
from cachedeco.runtime.modes import current_mode
from tests.support.sides import Side

BLOCKS: dict[str, Callable[[], Any]] = {
    "remembered": remembered,
    "deferred_invalidation": deferred_invalidation,
    "mode": lambda: mode("off"),
    "bypass": bypass,
}
blocks = pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS)

OUTSIDE = "is a generator function: its body would run outside; use `with` inside it"


def test_remembered_decorates_a_sync_function() -> None:
    """Each call of it is a block; calls inside it share the first."""
    found: list[object] = []

    @remembered()
    def look(depth: int) -> None:
        found.append(remembering.current.get())
        if depth:
            look(depth - 1)

    look(1)
    look(0)

    assert [None, True, False] == [remembering.current.get(), found[0] is found[1] is not None, found[0] is found[2]]


def test_decorated_async_function_remembers_while_it_is_awaited() -> None:
    """Two equal calls with a pause between them are one look-up."""

    @cached_query
    async def value(number: int) -> list[int]:
        return [number]

    @remembered()
    async def view() -> list[object]:
        first = await value(1)
        memory: Any = remembering.current.get()
        before = len(memory.read) + len(memory.stored)
        await asyncio.sleep(0)
        return [first, await value(1), before]

    assert [[1], [1], 1] == asyncio.run(view())


def test_deferred_invalidation_decorates_a_sync_function() -> None:
    """What it writes is sent when it returns."""

    @deferred_invalidation()
    def write() -> bool:
        return bool(commits.waiting)

    assert [True, {}] == [write(), commits.waiting]


def test_deferred_invalidation_refuses_an_async_function() -> None:
    """It would keep back what other tasks write, and not what this one writes in a thread: the error says so."""

    async def write() -> None:
        """Be refused."""

    with pytest.raises(TypeError, match=r"write> is async: .* await sync_to_async\(that\)\(\)"):
        deferred_invalidation()(write)


def _hidden(function: Callable[[], Any]) -> Callable[[], Any]:
    """Return a sync function that returns what an async one gives to await."""
    return lambda: function()  # noqa: PLW0108 -- another function


def test_function_that_returns_a_coroutine_is_async() -> None:
    """A decorator below may hide that the function is async: the block lasts while it is awaited all the same."""

    async def look() -> tuple[bool, str]:
        await asyncio.sleep(0)
        return remembering.current.get() is not None, current_mode()

    decorated = remembered()(mode("off")(_hidden(look)))

    assert (True, "off") == asyncio.run(decorated())
    with pytest.raises(TypeError, match="is async"):
        deferred_invalidation()(_hidden(look))()


def _generator() -> Iterator[None]:
    yield


async def _async_generator() -> AsyncIterator[None]:
    yield


@blocks
@pytest.mark.parametrize(
    ("decorated", "why"),
    [(_generator, OUTSIDE), (_async_generator, OUTSIDE), (Side, "Side.* is a class")],
)
def test_what_can_not_run_inside_is_refused(block: Callable[[], Any], decorated: Any, why: str) -> None:
    """A generator's body runs after the call, and a class is no call: the decorator would do nothing, and says so."""
    with pytest.raises(TypeError, match=why):
        block()(decorated)


@blocks
def test_exception_leaves_the_block(block: Callable[[], Any]) -> None:
    """What a function raises is raised, and the block is over."""

    @block()
    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()

    assert ({}, None) == (commits.waiting, remembering.current.get())
