"""Cached functions in the bodies of classes that Python or Django make in ways of their own."""

import abc
import dataclasses
import enum
import functools
import inspect
import pickle
from typing import Any, NamedTuple

import pytest

from cachedeco import CachedQuery, cached_query
from tests.models import Club


def describe(name: str) -> str:
    """Be decorated in several ways."""
    return name


def test_method_of_a_model_is_cached_for_its_row() -> None:
    """The row is told by its primary key: another instance of it is the same, another row is not."""

    class Proxy(Club):
        class Meta:
            proxy = True
            app_label = "tests"

        @cached_query
        def shout(self) -> str:
            return self.name.upper()

    one, same, other = (
        Proxy.from_db("default", ["id", "name"], [pk, name]) for pk, name in ((1, "a"), (1, "b"), (2, "c"))
    )

    assert ["A", "A", "C"] == [one.shout(), same.shout(), other.shout()]


def test_enum_with_cached_functions_has_its_members_only() -> None:
    """A cached method is no member of an enum, nor is anything that the decorator needs."""

    class Level(enum.Enum):
        LOW = 1

        @cached_query
        def doubled(self) -> int:
            return 2 * self.value

        @cached_query
        @classmethod
        def count(cls) -> int:
            return len(cls)

    found = Level.LOW.doubled(), Level.LOW.doubled.peek(), Level.count(), Level.count.peek()

    assert ([Level.LOW], (2, 2, 1, 1)) == (list(Level), found)


@pytest.mark.parametrize("slots", [False, True])
def test_dataclass_with_cached_functions_has_its_fields_only(*, slots: bool) -> None:
    """A cached method is no field, also where the class is made a second time for its slots."""

    @dataclasses.dataclass(slots=slots)
    class Point:
        x: int

        @cached_query
        def doubled(self) -> int:
            return 2 * self.x

        @cached_query
        @classmethod
        def title(cls) -> str:
            return cls.__name__

    found = Point(4).doubled(), Point(4).doubled.peek(), Point.title(), Point.title.peek()

    assert (["x"], (8, 8, "Point", "Point")) == ([each.name for each in dataclasses.fields(Point)], found)


def test_named_tuple_with_cached_functions_has_its_fields_only() -> None:
    """Its class is made of another one, which Python 3.11 does not tell to what it belongs."""

    class Pair(NamedTuple):
        x: int

        @cached_query
        def doubled(self) -> int:
            return 2 * self.x

        @cached_query
        @classmethod
        def title(cls) -> str:
            return cls.__name__

        @cached_query
        @staticmethod
        def one() -> int:
            return 1

    found = Pair(4).doubled(), Pair.title(), Pair.title.peek(), Pair(4).one(), Pair.one.peek()

    assert (("x",), (8, "Pair", "Pair", 1, 1)) == (Pair._fields, found)


def test_method_of_a_metaclass_is_bound_to_its_classes() -> None:
    """A class is the instance of its metaclass, or its first argument, and no classmethod stands above."""

    class Meta(type):
        @cached_query
        def title(cls) -> str:
            return cls.__name__

    class Base(metaclass=Meta):
        pass

    class Derived(Base):
        pass

    found = Base.title(), Derived.title(), Derived.title.peek(), Meta.title(Derived), Meta.title.peek(Derived)

    assert ("Base", *["Derived"] * 4) == found


def test_methods_that_functools_makes_of_cached_ones_are_bound() -> None:
    """`partialmethod`, `singledispatchmethod` and `cached_property` above a cached method, and another name for it."""

    class Shop:
        def __cache_key__(self) -> int:
            return 1

        @cached_query
        def price(self, number: int, each: int = 2) -> int:
            return number * each

        dozen = functools.partialmethod(price, 12)
        cost = price

        @functools.singledispatchmethod
        @cached_query
        def kind(self, _value: object) -> str:
            return "object"

        @kind.register
        @cached_query
        def kind_of_int(self, _value: int) -> str:
            return "int"

        @functools.cached_property
        @cached_query
        def total(self) -> int:
            return 7

    shop = Shop()

    found = [shop.dozen(), shop.dozen(each=1), shop.cost(1), shop.kind("a"), shop.kind(1), shop.total, shop.total]

    assert [24, 12, 2, "object", "int", 7, 7] == found
    assert [24, 2, "int"] == [Shop().price.peek(12), Shop().cost.peek(1, 2), Shop().kind_of_int.peek(1)]


@pytest.mark.parametrize("cached_on_top", [False, True])
def test_abstract_method_stays_abstract(*, cached_on_top: bool) -> None:
    """A class whose cached method is abstract can't be instantiated."""

    def twice(function: Any) -> Any:
        return (
            cached_query(abc.abstractmethod(function)) if cached_on_top else abc.abstractmethod(cached_query(function))
        )

    class Base(abc.ABC):  # noqa: B024 -- twice() makes it so
        @twice
        def method(self) -> int:
            return 1

    with pytest.raises(TypeError, match="abstract"):
        Base()


def test_classmethod_decorated_by_a_helper_is_bound() -> None:
    """A project's own decorator that calls ours makes classmethods like any other."""

    def ours(function: Any) -> Any:
        return cached_query(timeout=60)(function)

    class Clubs:
        @ours
        @classmethod
        def title(cls) -> str:
            return cls.__name__

    found = Clubs.title()

    assert ("Clubs", "Clubs") == (found, Clubs.title.peek())


def test_class_of_cached_functions_has_a_signature_of_its_own() -> None:
    """`help()` and the like ask the class itself: it makes methods, as `types.MethodType` does."""
    assert ["function", "instance"] == list(inspect.signature(CachedQuery).parameters)


@pytest.mark.parametrize(
    "given", [functools.partial(describe, "a"), Club(name="a").full_clean], ids=["partial", "method"]
)
def test_function_that_no_name_leads_to_is_not_pickled(given: Any) -> None:
    """What was made of a partial or a bound method would come back as something else: an error says so."""
    cached = cached_query(name=f"tests.unusual.{type(given).__name__}")(given)

    with pytest.raises(pickle.PicklingError, match="partial or a bound method"):
        pickle.dumps(cached)
