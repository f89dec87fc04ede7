"""Methods, classmethods and staticmethods: cached with what they are bound to, verbs included."""

import copy
import functools
import pickle
from typing import Any

import pytest

from cachedeco import MISSING, CachedQuery, cached_query
from tests.support.sides import Side, both

hourly = cached_query(timeout=3600)


class Counter:
    """A class with a cached function of each kind."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, start: int = 0) -> None:
        """Begin with a number."""
        self.start = start

    def __cache_key__(self) -> int:
        """Be told from others by the number."""
        return self.start

    @cached_query
    def method(self, number: int) -> int:
        """Return a sum."""
        return self.start + number

    @cached_query
    @classmethod
    def inner(cls, number: int) -> str:
        """Return the class's name."""
        return f"{cls.__name__} {number}"

    @hourly
    @classmethod
    def hourly(cls, number: int) -> str:
        """Return the class's name, decorated by what the module has made."""
        return f"{cls.__name__} {number}"

    @cached_query
    @classmethod
    def __private(cls, number: int) -> str:
        return f"{cls.__name__} {number}"

    @staticmethod
    @cached_query
    def static_inner(number: int) -> int:
        """Return the double."""
        return 2 * number

    @cached_query
    @staticmethod
    def static_outer(number: int) -> int:
        """Return the double."""
        return 2 * number

    @property
    @cached_query
    def prop(self) -> int:
        """Return the number."""
        return self.start

    @functools.cached_property
    @cached_query
    def lazy(self) -> int:
        """Return the number."""
        return self.start

    five = functools.partialmethod(method, 5)


class Special(Counter):
    """A subclass, which has the classmethods for itself, and one of its own beside that of the base."""

    @cached_query
    @classmethod
    def special(cls, number: int) -> str:
        """Return what the base gives, and more."""
        return f"{super().inner(number)}!"


CLASSMETHODS = ["inner", "hourly", "_Counter__private"]


def test_method_is_cached_for_its_object() -> None:
    """Two objects have two entries, and the form of the call does not matter."""
    four, five = Counter(4), Counter(5)

    found = four.method(1), five.method(1), Counter.method(four, number=1)

    assert ((5, 6, 5), 5, MISSING) == (found, Counter(4).method.peek(1), Counter(6).method.peek(1))


def test_method_bound_or_not_is_invalidated_alike() -> None:
    """`counter.method.invalidate(1)` and `Counter.method.invalidate(counter, 1)` reach the same call only."""
    four = Counter(4)
    for _ in range(2):
        four.method(1)
    Counter(5).method(1)

    four.method.invalidate(1)
    bound = four.method.peek(1)
    four.method(1)
    Counter.method.invalidate(four, 1)

    assert (MISSING, MISSING, 6) == (bound, four.method.peek(1), Counter(5).method.peek(1))


def test_every_verb_of_a_method_is_bound() -> None:
    """Each verb takes what the bound method takes."""
    four = Counter(4)

    four.method.call(1).set(50)
    found = four.method.peek(1), four.method(1), four.method.refresh(number=1), four.method.uncached(1)
    four.method.invalidate_all()

    assert ((50, 50, 5, 5), MISSING) == (found, four.method.peek(1))
    assert "start" not in four.method.key_for(1)


@pytest.mark.parametrize("name", CLASSMETHODS)
@pytest.mark.parametrize("reached", [lambda cls: cls, lambda cls: cls()], ids=["class", "object"])
def test_classmethod_is_bound_to_its_class(name: str, reached: Any) -> None:
    """A classmethod under ours is called and invalidated without naming the class."""
    function = getattr(reached(Counter), name)

    found = function(1), function.peek(1), function.uncached(1), function.refresh(1)
    function.invalidate(1)

    assert (("Counter 1",) * 4, MISSING) == (found, function.peek(1))


@pytest.mark.parametrize("name", CLASSMETHODS)
def test_classmethod_of_a_subclass_is_its_own(name: str) -> None:
    """A subclass has entries of its own."""
    found = getattr(Counter, name)(1), getattr(Special, name)(1)

    getattr(Counter, name).invalidate(1)

    assert (("Counter 1", "Special 1"), "Special 1") == (found, getattr(Special, name).peek(1))


def test_super_reaches_the_cached_function_of_the_base() -> None:
    """`super().inner()` is bound to the class that the call began with."""
    found = Special.special(1)

    assert ("Special 1!", "Special 1", MISSING) == (found, Special.inner.peek(1), Counter.inner.peek(1))


@pytest.mark.parametrize("name", ["static_inner", "static_outer"])
@pytest.mark.parametrize("reached", [Counter, Counter()], ids=["class", "object"])
def test_staticmethod_is_bound_to_nothing(name: str, reached: object) -> None:
    """A staticmethod, whichever decorator is on top, is the function."""
    function = getattr(reached, name)

    found = function(4), function.peek(4)
    function.invalidate(4)

    assert ((8, 8), MISSING) == (found, function.peek(4))


@pytest.mark.parametrize("name", ["prop", "lazy"])
def test_property_of_a_cached_function_is_served(name: str) -> None:
    """A property and a cached_property above a cached function give its value, for each object."""
    found = [getattr(Counter(start), name) for start in (4, 4, 5)]

    assert [4, 4, 5] == found


def test_partialmethod_of_a_cached_function_is_served() -> None:
    """A partialmethod shares the entry of the call that it stands for."""
    found = Counter(4).five()  # type: ignore[call-arg]

    assert (9, 9) == (found, Counter(4).method.peek(5))


def test_bound_method_put_on_another_class_stays_bound() -> None:
    """As with Python's own bound methods, no second object takes the place of the first."""

    class Other:
        method = Counter(4).method

    assert (5, 5) == (Other().method(1), Other.method(1))


def test_bound_methods_compare_as_pythons_do() -> None:
    """Equal where the very same object is bound, and hashable for any object."""
    four = Counter(4)
    methods = {four.method, four.method, Counter(4).method, Counter.method}

    assert (3, True, False, False) == (
        len(methods),
        four.method == four.method,
        four.method == Counter(4).method,
        four.method == 7,
    )


def test_bound_method_tells_what_it_is_bound_to() -> None:
    """Its repr has the function's name and the object."""
    expected = f"<cached_query {__name__}.Counter.inner of {Counter!r}>"

    assert expected == repr(Counter.inner)


@pytest.mark.parametrize("name", ["method", "inner", "static_inner"])
@pytest.mark.parametrize("again", [copy.copy, lambda it: pickle.loads(pickle.dumps(it))], ids=["copy", "pickle"])  # noqa: S301
def test_bound_method_can_be_sent_and_copied(name: str, again: Any) -> None:
    """It comes back bound, as methods do, and serves the same entries."""
    function = getattr(Counter(4), name)
    expected = function(1)

    assert expected == again(function).peek(1)


@both
@pytest.mark.parametrize("kind", ["method", "classmethod", "staticmethod"])
def test_async_methods_are_bound_with_their_twins(side: Side, kind: str) -> None:
    """Async methods of each kind have their verbs and twins bound."""

    class Clubs:
        def __cache_key__(self) -> int:
            return 1

        @cached_query
        async def method(self, number: int) -> int:
            return 2 * number

        @cached_query
        @classmethod
        async def classmethod(cls, number: int) -> int:
            return 2 * number

        @staticmethod
        @cached_query
        async def staticmethod(number: int) -> int:
            return 2 * number

    function: CachedQuery[..., Any] = getattr(Clubs(), kind)
    side.call(function.call(4).set, 50)

    found = side.call(function.peek, 4)
    side.call(function.invalidate, 4)

    assert (50, MISSING) == (found, side.call(function.peek, number=4))
