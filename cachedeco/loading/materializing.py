"""Evaluate lazy results, and refuse those that can be used only once."""

import inspect
from collections.abc import AsyncIterator, Iterator
from typing import Any, TypeVar

from django.db.models import QuerySet
from django.db.models.query import RawQuerySet

from cachedeco.loading.effects import Err, Ok, Outcome

V = TypeVar("V")


def materialize(function: str, outcome: Ok[Any]) -> Outcome[Any]:
    """Return the value once what it stands for is there, or what that raised."""
    try:
        return Ok(_materialize(function, outcome.value))
    except Exception as error:  # noqa: BLE001 -- the driver raises it
        return Err(error)


def _materialize(function: str, value: V) -> V:
    """
    Return the value once what it stands for is there: a QuerySet has its rows.

    Raises:
        TypeError: It can be gone through only once, so what one caller has read would be missing for the next, or it
            would fetch its rows at each hit.
    """
    if isinstance(value, Iterator | AsyncIterator) or inspect.isawaitable(value):
        msg = f"{function}() returned {value!r}, which can be used only once; return a list, or what it awaits."
        if inspect.iscoroutine(value):
            value.close()  # or Python warns that nobody has awaited it
        raise TypeError(msg)
    if isinstance(value, RawQuerySet):
        msg = f"{function}() returned a RawQuerySet, which would query again at each hit; return list(...) of it."
        raise TypeError(msg)
    if isinstance(value, QuerySet):
        len(value)  # fetches the rows: an error of the database is the caller's, as without a cache
    return value
