"""Two functions, or two classes, that Python calls by one name: told apart or refused, never served for each other."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
from django.utils.functional import SimpleLazyObject

from cachedeco import cached_query
from cachedeco.keys.encoders import encode, kind_of
from tests.models import Club


def served_or_refused(*calls: Callable[[], object]) -> list[object]:
    """Return what each call gives; "refused" where it, or the decorator in it, raises TypeError."""
    values: list[object] = []
    for call in calls:
        try:
            values.append(call())
        except TypeError:
            values.append("refused")
    return values


def total(number: int) -> int:
    """Be wrapped."""
    return number


def negative(function: Callable[[int], int]) -> Callable[[int], int]:
    """Change what a function returns."""

    @functools.wraps(function)
    def wrapper(number: int) -> int:
        return -function(number)

    return wrapper


def test_function_with_and_without_a_decorator_under_the_cache_are_two() -> None:
    """A wrapper has the name of what it wraps, and returns something else: it must not get the other's entries."""
    first, second = served_or_refused(lambda: cached_query(total)(5), lambda: cached_query(negative(total))(5))

    assert 5 == first
    assert second in (-5, "refused")


def repository(model: str) -> Any:
    """Make a class, as generic views and factories of forms do."""
    made_for = model

    class Repository:
        model = made_for

        @cached_query
        @classmethod
        def everything(cls) -> str:
            return f"every {cls.model}"

    return Repository


def test_classes_made_by_one_function_are_two() -> None:
    """Classes made at two calls of a function have one name: they must not share the entries of a class method."""
    first, second = served_or_refused(
        lambda: repository("club").everything(), lambda: repository("member").everything()
    )

    assert first in ("every club", "refused")
    assert second in ("every member", "refused")


def times(number: int) -> Callable[[Callable[[int], int]], Callable[[int], int]]:
    """Make a decorator that was told something."""

    def decorator(function: Callable[[int], int]) -> Callable[[int], int]:
        @functools.wraps(function)
        def wrapper(each: int) -> int:
            return number * function(each)

        return wrapper

    return decorator


def test_one_decorator_told_two_things_is_two() -> None:
    """`@times(2)` and `@times(3)` around one function give two functions."""
    assert [2, 3] == [cached_query(times(2)(total))(1), cached_query(times(3)(total))(1)]


def test_decorator_told_what_is_lazy_evaluates_nothing() -> None:
    """What a decorator was told is looked at when ours is applied, at import perhaps: nothing lazy wakes up then."""
    woken: list[int] = []
    lazy: Any = SimpleLazyObject(lambda: woken.append(1))

    cached_query(times(lazy)(total))

    assert [] == woken


def test_function_without_a_telling_name_is_refused() -> None:
    """There may be many functions called "_" in one module: they would answer for each other."""

    def _(number: int) -> int:
        return number

    with pytest.raises(TypeError, match="name="):
        cached_query(_)

    assert 1 == cached_query(name="tests.collisions.underscore")(_)(1)


class Money(NamedTuple("Money", [("amount", int)])):  # noqa: SLOT002 -- as it is often written
    """A named tuple to which somebody has added what is no field."""

    currency = "eur"


@dataclass
class Basket(list[int]):
    """A dataclass with items besides its fields."""

    owner: str


def test_value_with_more_than_its_fields_is_refused() -> None:
    """What a class adds to a named tuple, or a dataclass inherits from a list, would be missing from the key."""
    dollars = Money(1)
    dollars.currency = "usd"

    for value in (dollars, Basket("Ann")):
        with pytest.raises(TypeError, match="register"):
            encode(value)

    assert encode(Money(1)).endswith("Money(1)")


class Shape:
    """What others derive from."""

    def __init__(self, pk: int) -> None:
        """Remember which it is."""
        self.pk = pk

    @cached_query(key="{self.pk}")
    def describe(self) -> str:
        """Tell what it is."""
        return f"{type(self).__name__} {self.pk}"

    @cached_query(key="{cls.__name__}")
    @classmethod
    def kind(cls) -> str:
        """Tell what they are."""
        return cls.__qualname__


class Square(Shape):
    """One of them."""


def test_template_of_an_inherited_method_tells_the_class_too() -> None:
    """A key such as "{self.pk}" in a base class, an abstract model say, is not shared by what derives from it."""
    found = [Shape(1).describe(), Square(1).describe(), Square(1).describe.peek()]

    assert ["Shape 1", "Square 1", "Square 1"] == found
    assert ["Shape", "Square"] == [Shape.kind(), Square.kind()]


def test_template_of_a_models_method_has_one_text_for_its_proxies() -> None:
    """A row is its concrete model's, whatever proxy it was fetched by."""

    class Visitor(Club):
        class Meta:
            proxy = True
            app_label = "tests"

    assert kind_of(Club(pk=1)) == kind_of(Visitor(pk=1)) == kind_of(Visitor) == "tests.Club"
