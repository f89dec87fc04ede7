"""
What type checkers know of cached functions among other code: stacked decorators, protocols, iterables. Never run.

Each wrong use carries a comment that silences the checkers that report it, and both report one that silences nothing.
"""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial, wraps
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, assert_type

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import QuerySet
from django.test import TestCase

from cachedeco import (
    MISSING,
    AsyncCachedQuery,
    CachedQuery,
    CachedQueryMany,
    Call,
    CallMany,
    Missing,
    agather,
    bypass,
    cached_query,
    cached_query_many,
    gather,
    mode,
    remembered,
)
from cachedeco.testing import CacheAssertions, assert_invalidates, assert_keeps

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


# --- stacked decorators ---


def logged(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate as most decorators do: what comes out is called as what went in."""

    @wraps(function)
    def inside(*args: P.args, **kwargs: P.kwargs) -> R:
        return function(*args, **kwargs)

    return inside


def with_user(function: Callable[Concatenate[User, P], R]) -> Callable[P, R]:
    """Take away the first parameter."""
    return partial(function, User())


@cached_query(60)
@logged
def above_logged(number: int) -> str:
    """Be above another decorator."""
    return f"{number}"


@logged
@cached_query(60)
def below_logged(number: int) -> str:
    """Be below another decorator: it hides the verbs."""
    return f"{number}"


@cached_query(60)
@logged
async def aabove_logged(number: int) -> str:
    """Be above another decorator, and async."""
    return f"{number}"


@cached_query
@transaction.atomic
def above_atomic(number: int) -> str:
    """Be above `atomic`."""
    return f"{number}"


@cached_query(timeout=60)
@transaction.atomic(using="other")
def above_atomic_on(number: int) -> str:
    """Be above `atomic()`."""
    return f"{number}"


@transaction.atomic
@cached_query
def below_atomic(number: int) -> str:
    """Be below `atomic`."""
    return f"{number}"


@cached_query
@with_user
def above_with_user(user: User, number: int) -> str:
    """Be above a decorator that takes a parameter away."""
    return f"{user} {number}"


@lru_cache
@cached_query
def below_lru(number: int) -> str:
    """Be below `lru_cache`, which takes everything."""
    return f"{number}"


@bypass()
@cached_query
def below_bypass(number: int) -> str:
    """Be below a decorator of ours."""
    return f"{number}"


@cached_query
@mode("off")
@remembered()
def above_mode(number: int) -> str:
    """Be above decorators of ours."""
    return f"{number}"


async def stacked() -> None:
    """Call them, and use the verbs of those that have some."""
    assert_type(above_logged(1), str)
    assert_type(above_logged.peek(number=1), str | Missing)
    assert_type(await aabove_logged.arefresh(1), str)
    assert_type(above_atomic.refresh(1), str)
    assert_type(above_atomic_on(1), str)
    assert_type(below_logged(1), str)
    assert_type(below_atomic(1), str)
    assert_type(below_lru(1), str)
    assert_type(below_bypass(1), str)
    assert_type(above_mode.peek(1), str | Missing)
    above_with_user.invalidate(1)

    above_logged("1")  # type: ignore[arg-type]
    above_atomic.invalidate("1")  # type: ignore[arg-type]
    above_with_user(User(), 1)  # type: ignore[call-arg,arg-type]
    below_logged("1")  # type: ignore[arg-type]
    below_logged.invalidate(1)  # type: ignore[attr-defined]
    below_atomic.invalidate(1)  # to django-stubs it is what it was; when it runs it has no verbs
    below_lru.invalidate(1)  # type: ignore[attr-defined]
    below_bypass.invalidate(1)  # type: ignore[attr-defined]


# --- protocols, and callables ---


class Counter(Protocol):
    """What is called."""

    def __call__(self, number: int, /) -> str:
        """Count."""
        ...


class Invalidatable(Protocol):
    """What is called, and has verbs."""

    def __call__(self, number: int, /) -> str:
        """Count."""
        ...

    def peek(self, number: int, /) -> str | Missing:
        """Look."""
        ...

    def invalidate(self, number: int, /) -> None:
        """Invalidate."""
        ...


class AsyncCounter(Protocol):
    """What is awaited."""

    async def __call__(self, number: int, /) -> str:
        """Count."""
        ...


class HasTotal(Protocol):
    """What has a method."""

    def total(self, number: int) -> str:
        """Count."""
        ...


class Shop:
    """A class with a cached method and a cached staticmethod."""

    @cached_query
    def total(self, number: int) -> str:
        """Be a method, which no protocol of methods takes in pyright."""
        return f"{number}"


class Kiosk:
    """The same as a staticmethod."""

    @staticmethod
    @cached_query
    def total(number: int) -> str:
        """Be a staticmethod, which a protocol takes."""
        return f"{number}"


def take(counter: Counter, invalidatable: Invalidatable, waiting: AsyncCounter, shop: HasTotal) -> None:
    """Take what fits the protocols."""


def take_callables(
    one: Callable[[int], object], other: Callable[[int], Awaitable[str]], third: Callable[..., Coroutine[Any, Any, str]]
) -> None:
    """Take what is called."""


def take_cached(
    one: CachedQuery[[int], str],
    other: CachedQuery[..., Any],
    third: CachedQuery[[int], str] | AsyncCachedQuery[[int], str],
) -> None:
    """Take cached functions of one signature, or of any."""


def handed_on() -> None:
    """Hand cached functions to who asks for what they are."""
    take(above_logged, above_logged, aabove_logged, Kiosk())
    take(Shop().total, Shop().total, aabove_logged, Kiosk())
    take_callables(above_logged, aabove_logged, aabove_logged)
    take_cached(above_logged, Shop().total, aabove_logged)
    take_cached(Kiosk.total, above_atomic, above_atomic)

    take(below_logged, below_logged, aabove_logged, Kiosk())  # type: ignore[arg-type]
    take(aabove_logged, above_logged, aabove_logged, Kiosk())  # type: ignore[arg-type]
    take(above_logged, above_logged, above_logged, Kiosk())  # type: ignore[arg-type]
    take(above_logged, above_logged, aabove_logged, Shop())  # pyright: ignore[reportArgumentType]
    take_cached(aabove_logged, above_logged, above_logged)  # type: ignore[arg-type]
    take_cached(below_logged, above_logged, above_logged)  # type: ignore[arg-type]


class Report(Generic[T]):
    """A class that is generic in the result of a cached function that it is given."""

    def __init__(self, function: CachedQuery[[int], T]) -> None:
        """Keep the function."""
        self.function = function

    def number(self, number: int) -> T:
        """Call it."""
        return self.function(number)


def warmed(call: Call[T]) -> T:
    """Compute any call."""
    return call.refresh()


def generic() -> None:
    """Pass cached functions and calls through generic code."""
    assert_type(Report(above_logged).number(1), str)
    assert_type(warmed(above_logged.call(1)), str)
    assert_type(warmed(Shop().total.call(1)), str)
    assert_type(partial(above_logged, 1)(), str)
    assert_type([*map(above_logged, [1, 2])], list[str])
    Report(aabove_logged)  # type: ignore[arg-type]
    warmed(aabove_logged.call(1))  # type: ignore[arg-type]


# --- any iterable of ids ---


@cached_query_many(over="ids")
def by_iterable(ids: Iterable[int], lang: str = "en") -> dict[int, str]:
    """Take any iterable."""
    return dict.fromkeys(ids, lang)


@cached_query_many(over="ids")
def by_collection(ids: Collection[int]) -> dict[int, str]:
    """Take any collection."""
    return dict.fromkeys(ids, "")


@cached_query_many(over="ids")
def by_sequence(ids: Sequence[int]) -> dict[int, str]:
    """Take any sequence."""
    return dict.fromkeys(ids, "")


@cached_query_many(over="ids")
def users(ids: Iterable[int]) -> Mapping[int, User | None]:
    """Give rows, and None for some."""
    return User.objects.in_bulk(list(ids))


@dataclass
class Tariff:
    """A dataclass with methods over many ids."""

    country: str

    @cached_query_many(over="weeks")
    def prices(self, weeks: Iterable[int]) -> dict[int, float]:
        """Be a method."""
        return dict.fromkeys(weeks, 1.0)


def iterables(several: Iterator[int]) -> None:
    """Pass ids in every form in which they come."""
    for ids in ([1], (1,), {1}, frozenset({1}), range(3), {1: "one"}, {1: "one"}.keys()):
        assert_type(by_iterable(ids), dict[int, str])
        by_collection(ids).items()
    by_iterable(each for each in [1])
    by_iterable(several)
    by_iterable(User.objects.values_list("pk", flat=True), lang="de")
    by_iterable.invalidate(range(3), lang="de")
    by_iterable.call(range(3)).set({1: "one"})
    by_sequence((1, 2))
    assert_type(users({1})[1], User | None)
    assert_type(Tariff("nl").prices(range(3)), dict[int, float])
    assert_type(Tariff("nl").prices.call((1, 2)), CallMany[int, float])

    by_iterable(1)  # type: ignore[arg-type]
    by_iterable("12")  # type: ignore[arg-type]
    by_iterable(["1"])  # type: ignore[list-item]
    by_iterable.invalidate(1)  # type: ignore[arg-type]
    by_sequence({1})  # type: ignore[arg-type]
    by_iterable.call([1]).set({"1": "one"})  # type: ignore[dict-item]


def take_many(one: CachedQueryMany[..., int, str]) -> None:
    """Take a function over many ids."""


# --- calls, and gather ---


async def calls() -> None:
    """Keep calls in collections, and gather what is in them."""
    one, ids, waiting = above_logged.call(1), by_iterable.call([1]), aabove_logged.call(1)
    several: list[Call[str]] = [one, above_atomic.call(number=2), Shop().total.call(3)]
    of_all: list[Call[Any] | CallMany[Any, Any]] = [one, ids, Tariff("nl").prices.call([1])]

    assert_type(gather(*several), tuple[str, ...])
    assert_type(gather(*(above_logged.call(number) for number in range(3))), tuple[str, ...])
    assert_type(gather(one, one, one, one, one, one, one), tuple[str, ...])
    assert_type(dict(zip(["a"], gather(*several), strict=True)), dict[str, str])
    assert_type(await agather(*several, one), tuple[str, ...])
    assert_type(await agather(waiting, one, ids), tuple[str, str, dict[int, str]])
    gather(*of_all)
    first, second = gather(one, ids)
    assert_type((first, second), tuple[str, dict[int, str]])
    found = one.peek()
    if found is not MISSING:
        assert_type(found, str)
    take_many(by_iterable)

    gather(above_logged)  # type: ignore[call-overload]
    gather(above_logged(1))  # type: ignore[call-overload]
    gather(several)  # type: ignore[call-overload]
    gather(*several, waiting)  # type: ignore[call-overload]
    agather(above_logged(1))  # type: ignore[call-overload]
    above_logged.call()  # type: ignore[call-arg]
    above_logged.call("1")  # type: ignore[arg-type]
    one(1)  # type: ignore[call-arg]
    one.set(1)  # type: ignore[arg-type]
    several.append(waiting)  # type: ignore[arg-type]
    several.append(above_logged)  # type: ignore[arg-type]
    first, second, _third = gather(one, ids)  # type: ignore[misc]
    take_many(above_logged)  # type: ignore[arg-type]


def querysets(found: QuerySet[User]) -> None:
    """Return a QuerySet, which is one again on a hit."""

    @cached_query
    def active(number: int) -> QuerySet[User]:
        return found.filter(pk__lt=number)

    assert_type(active(1).filter(pk=1).first(), User | None)
    active(1).name  # type: ignore[attr-defined]  # noqa: B018


# --- the test kit ---


@cached_query
def squared(number: int) -> int:
    """Be watched."""
    raise NotImplementedError


class KitTests(CacheAssertions, TestCase):
    """The assertions tie the arguments to the function, as methods too, of one value and of many."""

    def test_assertions(self) -> None:
        """Never run."""
        with self.assertInvalidates(squared, 2), self.assertKeeps(by_iterable, [1], lang="de"):
            by_iterable.invalidate([1])
        with assert_invalidates(squared, number=2), assert_keeps(by_iterable, ids={1}):
            squared.invalidate(2)
        self.assertInvalidates(squared, "2")  # type: ignore[arg-type]
        self.assertKeeps(by_iterable, 1)  # type: ignore[arg-type]
