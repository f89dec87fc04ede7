"""A classmethod above our decorator is refused, with the right order, by each first use and by a system check."""

import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from types import ModuleType
from typing import Any

import pytest
from asgiref.sync import async_to_sync

from cachedeco import bypass, cached_query
from cachedeco.checks.functions import check_order

ORDER = r"is under @classmethod, .* @cached_query above @classmethod"
USES: dict[str, Callable[[Any], Any]] = {
    "call": lambda owner: owner.plain(),
    "call over many ids": lambda owner: owner.many([1]),
    "awaited call": lambda owner: awaited(owner.waiting),
    "awaited call over many ids": lambda owner: awaited(lambda: owner.waiting_many([1])),
    "invalidate": lambda owner: owner.plain.invalidate(),
    "peek": lambda owner: owner.plain.peek(1),
    "key_for": lambda owner: owner.plain.key_for(number=1),
    "set": lambda owner: owner.plain.call(1).set("Misplaced 1"),
    "peek over many ids": lambda owner: owner.many.peek([1]),
}


def awaited(call: Callable[[], Any]) -> Any:
    """Call and await."""

    async def inside() -> object:
        return await call()

    return async_to_sync(inside)()


@pytest.fixture
def module() -> Iterator[ModuleType]:
    """Import the classes, which no other test is to find."""
    name = "tests.functions.misplaced"
    yield import_module(name)
    del sys.modules[name]


@pytest.mark.parametrize("use", USES.values(), ids=USES)
@pytest.mark.parametrize("reach", ["class", "subclass", "object"])
def test_first_use_is_refused_with_the_right_order(module: ModuleType, reach: str, use: Callable[[Any], Any]) -> None:
    """Python tells nothing when a classmethod is put above ours, so calls and verbs say it."""
    owner = {"class": module.Misplaced, "subclass": module.Derived, "object": module.Misplaced()}[reach]

    with pytest.raises(TypeError, match=ORDER.replace("query", "query(_many)?")):
        use(owner)


@pytest.mark.parametrize("name", ["plain", "many"])
def test_what_each_python_does_is_refused_on_all(module: ModuleType, name: str) -> None:
    """A classmethod binds what it wraps until Python 3.12, and since then calls it with the class."""
    cached = vars(module.Misplaced)[name].__func__

    for use in (
        lambda: cached.__get__(module.Misplaced, module.Misplaced),
        lambda: cached(module.Misplaced, [1]),
        lambda: cached.peek([1]),
    ):
        with pytest.raises(TypeError, match=ORDER.replace("query", "query(_many)?")):
            use()


def test_bypassed_call_is_refused(module: ModuleType) -> None:
    """A test with the cache off finds it too."""
    with bypass(), pytest.raises(TypeError, match=ORDER):
        module.Misplaced.plain()


def test_class_inside_a_function_is_refused_when_called() -> None:
    """No name leads to the class, but a call has it as an argument."""

    class Local:
        @classmethod
        @cached_query
        def plain(cls) -> str:
            raise NotImplementedError

    with pytest.raises(TypeError, match=ORDER):
        Local.plain()


def test_wrapper_of_ours_is_an_ordinary_classmethod(module: ModuleType) -> None:
    """What another decorator makes of ours has no verbs to lose."""
    assert ["Misplaced 1!", "Derived 1!"] == [module.Misplaced.wrapped(), module.Derived.wrapped()]


def test_check_names_each_before_anything_is_called(module: ModuleType) -> None:
    """What starts or checks the project says it, for every function that can be found by its name."""
    names = [f"{module.__name__}.Misplaced.{name}()" for name in ("many", "plain", "waiting", "waiting_many")]

    found = check_order()

    assert ["cachedeco.E009"] * 4 == [each.id for each in found]
    assert names == [each.msg.partition(" ")[0] for each in found]


def test_check_is_silent_without_one() -> None:
    """The right order is no fault."""

    class Placed:
        @cached_query
        @classmethod
        def plain(cls) -> str:
            return cls.__name__

    assert ([], "Placed") == (check_order(), Placed.plain())
