"""
What type checkers know of methods of each kind, of generic functions and of generic classes. Never run, as `api`.

Each wrong use carries a comment that silences the checkers that report it, and both report one that silences nothing.
"""

# pyright: reportUnnecessaryTypeIgnoreComment=true

import abc
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any, Generic, NoReturn, Protocol, Self, TypeVar, assert_type

from django.db import models

from cachedeco import CachedQuery, Missing, cached_query, cached_query_many

T = TypeVar("T")
M = TypeVar("M", bound=models.Model)


class Shop:
    """Methods of each kind, in both orders where there are two."""

    @cached_query
    def method(self, page: int) -> list[str]:
        """Be a method."""
        return [f"{page}"]

    @cached_query(60)
    def itself(self) -> Self:
        """Return what it is a method of."""
        return self

    @cached_query
    @classmethod
    def by_class(cls, page: int) -> list[str]:
        """Be a classmethod."""
        return [f"{page}"]

    @cached_query(timeout=60)
    @classmethod
    def with_options(cls) -> Self:
        """Be a classmethod, decorated with options."""
        return cls()

    @cached_query
    @classmethod
    async def aby_class(cls, page: int) -> list[str]:
        """Be an async classmethod."""
        return [f"{page}"]

    @cached_query_many(over="ids")
    @classmethod
    def prices(cls, ids: Iterable[int]) -> dict[int, str]:
        """Be a classmethod over many ids."""
        return dict.fromkeys(ids, "")

    @cached_query_many(over="ids")
    @classmethod
    async def aprices(cls, ids: Iterable[int]) -> dict[int, str]:
        """Be an async classmethod over many ids."""
        return dict.fromkeys(ids, "")

    @cached_query
    @staticmethod
    def static_inside(page: int) -> str:
        """Be a staticmethod."""
        return f"{page}"

    @staticmethod
    @cached_query
    def static_outside(page: int) -> str:
        """Be a staticmethod in the other order."""
        return f"{page}"

    @staticmethod
    @cached_query
    def static_alone() -> str:
        """Be a staticmethod without parameters."""
        return ""

    @cached_query_many(over="ids")
    @staticmethod
    async def astatic(ids: Iterable[int]) -> dict[int, str]:
        """Be an async staticmethod over many ids."""
        return dict.fromkeys(ids, "")

    @cached_property
    @cached_query
    def total(self) -> int:
        """Be a cached property."""
        return 1

    @classmethod
    @cached_query
    def wrong_order(cls, page: int) -> str:
        """Be refused when it is called."""
        return f"{page}"

    @cached_query
    def chosen(self, items: Sequence[T]) -> T:
        """Be generic in the result."""
        return items[0]


class SubShop(Shop):
    """A class that inherits them."""


def kinds(shop: Shop, other: SubShop) -> None:
    """Reach each method from the class and from an instance."""
    assert_type(shop.method(1), list[str])
    assert_type(Shop.method(shop, 1), list[str])
    assert_type(SubShop.method(other, 1), list[str])
    assert_type(other.method.peek(page=1), list[str] | Missing)
    shop.itself().method(1)  # to mypy Any
    assert_type(shop.chosen([1]), Any)
    assert_type(Shop.chosen(shop, [1]), Any)
    Shop.method.invalidate(shop, 1)
    shop.chosen.invalidate([1])

    assert_type(Shop.by_class(1), list[str])
    assert_type(shop.by_class(page=1), list[str])
    assert_type(SubShop.by_class(1), list[str])
    assert_type(Shop.by_class.peek(1), list[str] | Missing)
    assert_type(shop.by_class.refresh(1), list[str])
    Shop.by_class.invalidate(1)
    Shop.by_class.call(1).set(["value"])
    Shop.with_options().method(1)  # to mypy Any
    assert_type(Shop.prices([1]), dict[int, str])
    assert_type(shop.prices.peek((1, 2)), dict[int, str])

    assert_type(Shop.static_inside(1), str)
    assert_type(shop.static_inside(1), str)
    assert_type(Shop.static_outside(1), str)
    assert_type(shop.static_outside(1), str)
    assert_type(shop.static_outside.peek(page=1), str | Missing)
    assert_type(SubShop.static_alone(), str)
    assert_type(other.static_alone(), str)
    shop.static_inside.invalidate(1)
    assert_type(shop.total, int)


async def async_kinds(shop: Shop) -> None:
    """Await methods of each kind."""
    assert_type(await Shop.aby_class(1), list[str])
    assert_type(await shop.aby_class(1), list[str])
    assert_type(await Shop.aby_class.apeek(1), list[str] | Missing)
    assert_type(await shop.aprices([1]), dict[int, str])
    assert_type(await Shop.aprices.arefresh([1]), dict[int, str])
    assert_type(await shop.astatic([1]), dict[int, str])
    assert_type(await Shop.astatic((1,)), dict[int, str])


def wrong_kinds(shop: Shop) -> None:
    """Have wrong arguments reported, and what the function refuses when it runs."""
    Shop.by_class("1")  # type: ignore[arg-type]
    Shop.by_class()  # type: ignore[call-arg]
    shop.by_class.invalidate(Shop, 1)  # type: ignore[call-arg,arg-type]
    Shop.method(1)  # type: ignore[call-arg,arg-type]
    shop.static_inside("1")  # type: ignore[arg-type]
    shop.static_outside(1, 2)  # type: ignore[call-arg]
    Shop.prices(["1"])  # type: ignore[list-item]
    Shop.aby_class.refresh(1)  # type: ignore[attr-defined]
    Shop.method.refresh(1)  # type: ignore[call-arg,arg-type]


@cached_query
def first(items: Sequence[T]) -> T:
    """Be generic in the result."""
    return items[0]


@cached_query(timeout=60)
def last(items: Sequence[T]) -> T:
    """Be generic in the result, with options."""
    return items[-1]


@cached_query
def twice(item: T) -> list[T]:
    """Be generic in a part of the result."""
    return [item, item]


@cached_query
def newest(model: type[M]) -> M:
    """Be generic in the result, with a bound."""
    return model._default_manager.latest("pk")


@cached_query
async def afirst(items: Sequence[T]) -> T:
    """Be async, and generic in the result."""
    return items[0]


@cached_query
def anything(number: int) -> Any:
    """Return what checkers know nothing of."""
    return number


@cached_query
async def aanything(number: int) -> Any:
    """Return the same, to be awaited."""
    return number


@cached_query
def never(number: int) -> NoReturn:
    """Return nothing."""
    raise ValueError(number)


class Repository(Generic[T]):
    """A generic class."""

    def __init__(self, item: T) -> None:
        """Keep an item."""
        self.item = item

    @cached_query
    def get(self) -> T:
        """Return the item."""
        return self.item

    @cached_query(60)
    def several(self, number: int) -> list[T]:
        """Return it several times."""
        return [self.item] * number

    @cached_query
    async def aget(self) -> T:
        """Return the item, to be awaited."""
        return self.item

    @cached_query
    @classmethod
    def count(cls, page: int) -> int:
        """Be a classmethod of a generic class."""
        return page

    @cached_query_many(over="ids")
    def by_id(self, ids: Iterable[int]) -> dict[int, T]:
        """Be over many ids."""
        return dict.fromkeys(ids, self.item)


async def generics(shop: Repository[str]) -> None:
    """Call generic functions, and methods of a generic class."""
    assert_type(first([1]), int)
    assert_type(first(items=["a"]), str)
    assert_type(last([b"a"]), bytes)
    assert_type(twice(1), list[int])
    assert_type(await afirst([1]), int)
    assert_type(anything(1), Any)
    assert_type(await aanything(1), Any)
    first.invalidate([1])
    last.refresh(["a"])
    first(1)  # type: ignore[arg-type]
    first.clear([1])  # type: ignore[attr-defined]

    assert_type(shop.get(), str)
    assert_type(shop.get.peek(), str | Missing)
    assert_type(shop.several(2), list[str])
    assert_type(await shop.aget(), str)
    assert_type(shop.by_id([1]), dict[int, str])
    assert_type(Repository.count(1), int)
    assert_type(shop.count(1), int)


class Counts(Protocol):
    """What has a count."""

    def count(self, page: int, /) -> int:
        """Count."""
        ...


class Base(abc.ABC):
    """A class with an abstract cached method."""

    @cached_query
    @abc.abstractmethod
    def count(self, page: int) -> int:
        """Count."""


class Derived(Base):
    """A class that overrides it."""

    @cached_query
    def count(self, page: int) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Count."""
        return page


class Report:
    """A class with a cached function as an attribute, and one as a parameter."""

    compute = staticmethod(first)
    chosen: CachedQuery[[int], Any]

    def __init__(self, chosen: CachedQuery[[int], Any]) -> None:
        """Keep a cached function."""
        self.chosen = chosen


def takes(counted: Counts, function: Callable[[list[int]], int]) -> None:
    """Take what has a count, and a function."""


def handed_on(derived: Derived, report: Report) -> None:
    """Hand objects with cached methods, and generic functions, to who asks for plain ones."""
    assert_type(report.chosen(1), Any)
    assert_type(Report.compute(["a"]), str)
    report.chosen("1")  # type: ignore[arg-type]
    takes(derived, first)  # pyright: ignore[reportArgumentType] -- it binds no descriptor for a protocol
