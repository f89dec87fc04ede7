"""Evaluate lazy results: fetch a QuerySet's rows; reject iterators and awaitables, which can be used only once."""

import inspect
from collections.abc import AsyncIterator, Hashable, Iterator, Mapping, Sequence
from typing import Any, Final

from django.db.models import QuerySet
from django.db.models.query import RawQuerySet

from cachedeco.loading.effects import Err, Ok, Outcome
from cachedeco.storage.serializers import ABSENT, Raised

Values = dict[Hashable, Any]  # by id; ABSENT for an id that the function did not return, Raised for an exception

OTHER_TYPE_OF_ID: Final = (
    "{0}() was asked for {1!r} and returned {2!r}, which is another id. Call it with ids of the type that it returns, "
    "or let it return the ids that it was asked for."
)


def materialize(function: str, returned: object, ids: Sequence[Any], *, takes_ids: bool) -> Outcome[Values]:
    """
    Return the evaluated value of each id, or the exception that this raises.

    Args:
        function: Its name, for errors.

        returned: What the function returned: a value, or a mapping of ids to values.

        ids: Those of the call; one, of any name, if the function takes no ids.

        takes_ids: Whether the function takes ids.
    """
    try:
        if not takes_ids:
            return Ok({ids[0]: _materialize(function, returned)})
        values = _values_by_id(function, _materialize(function, returned), ids)
        return Ok({each: _materialize(function, value) for each, value in values.items()})
    except Exception as error:  # noqa: BLE001 -- the driver raises it
        return Err(error)


def _materialize(function: str, value: Any) -> Any:
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


def _values_by_id(function: str, returned: object, ids: Sequence[Any]) -> Values:
    """
    Return the value of each id, ABSENT for those that the function does not know; drop values of other ids.

    Raises:
        TypeError: It is no mapping, or it has the ids in another type, so that all would count as absent.
    """
    if not isinstance(returned, Mapping):
        kind = type(returned).__name__
        msg = f"{function}() returned a {kind}; it must return a mapping of ids to values, as in_bulk()."
        raise TypeError(msg)
    values: Values = {each: returned.get(each, ABSENT) for each in ids}
    absent = {str(each): each for each, value in values.items() if value is ABSENT}
    if absent and len(returned) > len(values) - len(absent):
        twin = next((each for each in returned if each not in values and str(each) in absent), ABSENT)
        if twin is not ABSENT:
            msg = OTHER_TYPE_OF_ID.format(function, absent[str(twin)], twin)
            raise TypeError(msg)
    return values


def outcome_of(value: Any) -> Outcome[Any]:
    """Return the outcome of a call: a value, or an exception that is stored as one."""
    return Err(value.error) if isinstance(value, Raised) else Ok(value)


def without_absent(ids: Sequence[Any], values: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return the caller's result: in the order of the ids, without those that the function does not know."""
    return {each: value for each in ids if (value := values[each]) is not ABSENT}
