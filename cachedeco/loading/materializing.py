"""Evaluate lazy results: fetch a QuerySet's rows; reject iterators, responses, and all else that is never stored."""

import inspect
from collections.abc import Hashable, Mapping, Sequence
from enum import Enum
from typing import Any, Final

from django.db.models import Model, QuerySet

from cachedeco.loading.effects import Err, Ok, Outcome
from cachedeco.runtime.interrupts import Reraised, pass_interrupt
from cachedeco.runtime.reprs import describe, repr_of
from cachedeco.storage.refusals import ValueOrigin, refuse_value
from cachedeco.storage.serializers import ABSENT

Values = dict[Hashable, Any]  # by id; ABSENT for an id that the function did not return, Raised for an exception

# Of which every object is a value as it is.
_PLAIN: Final = frozenset({list, dict, tuple, set, frozenset, str, bytes, int, float, bool, type(None)})

OTHER_ID: Final = (
    "{0}() was asked for {1} and returned {2}, which is another id. Call it with ids of the type that it returns, "
    "or let it return the ids that it was asked for."
)
OTHER_ID_GIVEN: Final = (
    "set() of {0}() is for {1} and was given {2}, which is another id. Pass the ids of the call, in their type."
)


def materialize(
    origin: ValueOrigin, returned: object, ids: Sequence[Any], reraised: Reraised = (), *, takes_ids: bool
) -> Outcome[Values]:
    """
    Return the evaluated value of each id, or the exception that this raises.

    A function that takes ids returns a mapping of ids to values; else there is one id, of any name. Exceptions that are
    *reraised* are no outcome.
    """
    try:
        if not takes_ids:
            return Ok({ids[0]: _materialize(origin, returned, reraised)})
        values = _values_by_id(origin, _materialize(origin, returned, reraised, "a mapping of ids to values"), ids)
        return Ok({each: _materialize(origin, value, reraised) for each, value in values.items()})
    except reraised:
        raise
    except Exception as error:  # noqa: BLE001 -- the driver raises it
        return Err(error)


def _materialize(
    origin: ValueOrigin, value: Any, reraised: Reraised, instead: str = "a list, or what it awaits"
) -> Any:
    """
    Evaluate a lazy result: fetch a QuerySet's rows; reject what must not be stored.

    *instead* says in the error what to return in place of an iterator.

    Raises:
        TypeError: The value can be used only once, so the next caller would get an empty one; or it belongs to one
            visitor, as a response does; or it would fetch its rows at each hit.
    """
    own = type(value)
    if type(own) is type and own in _PLAIN:  # nearly always; a class of another one may have no hash
        return value
    cls = _class_of(value, reraised)
    if _is_for_one_use(cls):
        again = "what it contains, such as its getvalue()" if hasattr(cls, "readline") else instead
        msg = f"{origin.subject} {describe(value)}, which can be used only once; {origin.give} {again}."
        if inspect.iscoroutine(value):
            value.close()  # or Python warns that it was never awaited
            if not origin.is_given:
                msg += " A decorator between ours and an async function must be an async function itself."
        raise TypeError(msg)
    refuse_value(origin, value)
    if issubclass(cls, QuerySet):
        len(value)  # fetches the rows: a database error reaches the caller, as without a cache
    return value


def _class_of(value: Any, reraised: Reraised) -> type:
    """Return the class of a value, of a lazy object that of what is in it; its own if that can not be made."""
    try:
        cls = value.__class__
    except Exception as error:  # noqa: BLE001 -- a lazy object calls the user's function
        pass_interrupt(error, reraised)
        return type(value)
    return cls if isinstance(cls, type) else type(value)


def _is_for_one_use(cls: type) -> bool:
    """Tell whether a class is of iterators or awaitables; `isinstance()` needs a hash, which a class may not have."""
    pairs = ("__iter__", "__next__"), ("__aiter__", "__anext__"), ("__await__",)
    if not any(all(hasattr(cls, name) for name in names) for names in pairs):
        return False
    return all(base.__module__ != "unittest.mock" for base in cls.__mro__)  # a mock has every method


def _values_by_id(origin: ValueOrigin, returned: object, ids: Sequence[Any]) -> Values:
    """
    Return the value of each id, ABSENT for those that the function does not know; drop values of other ids.

    Raises:
        TypeError: It is no mapping; or it has the ids in another type, or other ids alone, so that all would count as
            absent.
    """
    if not isinstance(returned, Mapping):
        kind, must = type(returned).__name__, "it takes" if origin.is_given else "it must return"
        msg = f"{origin.subject} a {kind}; {must} a mapping of ids to values, as in_bulk()."
        raise TypeError(msg)
    values: Values = {each: returned.get(each, ABSENT) for each in ids}
    absent = [each for each, value in values.items() if value is ABSENT]
    if absent and len(returned) > len(values) - len(absent):
        by_text = {_text_of(each): each for each in absent}
        for other in (each for each in returned if each not in values):
            asked = by_text.get(_text_of(other), ABSENT)
            # Two rows are of two tables, or they would be equal.
            if asked is not ABSENT and not (isinstance(asked, Model) and isinstance(other, Model)):
                raise _another_id(origin, asked, other)
        if len(absent) == len(values):
            raise _another_id(origin, absent[0], next(iter(returned)))
    return values


def _text_of(each: object) -> str:
    """Return what an id has in common with its other names: of a row the primary key, of an enum member the value."""
    return str(each.pk if isinstance(each, Model) else each.value if isinstance(each, Enum) else each)


def _another_id(origin: ValueOrigin, asked: object, returned: object) -> TypeError:
    text = OTHER_ID_GIVEN if origin.is_given else OTHER_ID
    return TypeError(text.format(origin.function, repr_of(asked), repr_of(returned)))
