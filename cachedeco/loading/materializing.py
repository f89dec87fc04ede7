"""Evaluate lazy results: fetch a QuerySet's rows; reject iterators and awaitables, which can be used only once."""

import inspect
from collections.abc import AsyncIterator, Iterator
from typing import Any, TypeVar

from django.db.models import QuerySet
from django.db.models.query import RawQuerySet

from cachedeco.loading.effects import Err, Ok, Outcome

V = TypeVar("V")


def materialize(function: str, outcome: Ok[Any]) -> Outcome[Any]:
    """Evaluate a lazy result, or return the exception that this raises."""
    try:
        return Ok(_materialize(function, outcome.value))
    except Exception as error:  # noqa: BLE001 -- the driver raises it
        return Err(error)


def _materialize(function: str, value: V) -> V:
    """
    Evaluate a lazy result: fetch a QuerySet's rows, reject iterators and awaitables.

    Raises:
        TypeError: The value can be used only once, so the next caller would get an empty one, or it would fetch its
            rows at each hit.
    """
    if isinstance(value, Iterator | AsyncIterator) or inspect.isawaitable(value):
        msg = f"{function}() returned {value!r}, which can be used only once; return a list, or what it awaits."
        if inspect.iscoroutine(value):
            value.close()  # or Python warns that it was never awaited
        raise TypeError(msg)
    if isinstance(value, RawQuerySet):
        msg = f"{function}() returned a RawQuerySet, which would query again at each hit; return list(...) of it."
        raise TypeError(msg)
    if isinstance(value, QuerySet):
        len(value)  # fetches the rows: a database error reaches the caller, as without a cache
    return value
