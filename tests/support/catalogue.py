"""Cached functions of each kind, for the tests of what finds, lists and calls them."""

import datetime as dt
from collections.abc import Callable, Collection
from decimal import Decimal
from functools import cached_property, wraps
from typing import Any
from uuid import UUID

from cachedeco import cached_query, cached_query_many
from tests.models import Club, Member


@cached_query(timeout=3600, namespace="club:{pk}", depends_on=[Club])
def name_of(pk: int) -> str:
    """Return the name of a club; raises where there is none."""
    return Club.objects.get(pk=pk).name


@cached_query(key="{club.pk}:{page}:{language}", timeout=None, stale_while_revalidate=60)
def page_of(club: Club, page: int = 1, *, language: str = "en") -> str:
    """Return the text of a page of a club."""
    return f"{club.name} {page} {language}"


@cached_query
def by_slug(slug: str, *tags: str, **filters: object) -> tuple[Any, ...]:
    """Return what it was given."""
    return slug, tags, filters


@cached_query(depends_on=["auto"])
def members() -> list[str]:
    """Return the names of all members."""
    return list(Member.objects.values_list("name", flat=True))


@cached_query_many(over="ids", timeout=60)
def names(ids: Collection[int], prefix: str = "") -> dict[int, str]:
    """Return the names of clubs, by primary key."""
    return {club.pk: prefix + club.name for club in Club.objects.filter(pk__in=ids)}


@cached_query
async def later(number: int) -> int:
    """Return the number, awaited."""
    return number


@cached_query(cache_if=lambda value: value > 0, timeout=lambda value: 60 * abs(value))
def positive(number: int) -> int:
    """Return the number, which is kept if it is above 0."""
    return number


@cached_query
def unstorable(number: int) -> Callable[[], int]:
    """Return what can't be pickled."""
    return lambda: number


@cached_query
def dated(  # noqa: PLR0913, PLR0917 -- one of each kind
    day: dt.date,
    at: "dt.datetime",
    price: Decimal,
    which: UUID | None = None,
    hour: "dt.time | None" = None,
    word: "str" = "",
) -> tuple[object, ...]:
    """Return what it was given."""
    return day, at, price, which, hour, word


@cached_query
def log_in(user: str, password: str) -> str:
    """Fail, and say the password."""
    msg = f"password={password} of {user} is wrong"
    raise ValueError(msg)


def traced(function: Callable[..., Any]) -> Callable[..., Any]:
    """Put a wrapper around a function."""

    @wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


@traced
@cached_query
def wrapped(number: int) -> int:
    """Return the number."""
    return number


@cached_query(name="clubs.chosen")
def named(number: int) -> int:
    """Return the number."""
    return number


def inner() -> Any:
    """Return a cached function that no path leads to."""

    @cached_query
    def local(number: int) -> int:
        return number

    return local


def plain() -> None:
    """Be a function that is not cached."""


class Shop:
    """A class with cached methods."""

    def __init__(self, pk: int = 1) -> None:
        """Remember the key."""
        self.pk = pk

    @cached_query(key="{self.pk}")
    def total(self) -> int:
        """Return the key."""
        return self.pk

    @cached_query
    @classmethod
    def count(cls, number: int) -> int:
        """Return the number."""
        return number

    @property
    @cached_query(key="{self.pk}")
    def size(self) -> int:
        """Return the key."""
        return self.pk

    @cached_property
    @cached_query(key="{self.pk}")
    def length(self) -> int:
        """Return the key."""
        return self.pk
