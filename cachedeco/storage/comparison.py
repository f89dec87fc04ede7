"""Deep-compare two cached values; model instances field by field, not by primary key."""

import pickle
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from itertools import zip_longest
from typing import Any

from django.db.models import Model, QuerySet

from cachedeco.runtime.interrupts import pass_interrupt
from cachedeco.runtime.reprs import repr_of

# Pairs that were visited, by their ids. The objects are kept alive, or a new object could get the id of a freed one.
Visited = dict[tuple[int, int], tuple[object, object]]
Pairs = Iterable[tuple[str, Any, Any]]  # the path to a part, and that part of either value


def difference(value: object, other: object) -> str | None:
    """
    Describe where two values differ, such as `[0].name: 'Judo' and 'Karate'`; None if they are equal.

    The text is empty if the values differ as a whole. A QuerySet is the list of its rows. Rows differ if they have
    another class or primary key, or differ in a field, annotation or related object that both have loaded. Objects
    without an `==` of their own differ if their pickles do. The order of a dict, or of a set, is no difference.
    """
    return _difference(value, other, {})


def _difference(value: Any, other: Any, visited: Visited) -> str | None:
    if isinstance(value, QuerySet) and isinstance(other, QuerySet):
        value, other = list(value), list(other)
    if value is other:
        return None
    pairs = _pairs_of(value, other)
    if pairs is None:
        return None if _are_equal(value, other) else ""
    ids = id(value), id(other)
    if ids in visited:
        return None  # reached again, as from a related row
    visited[ids] = value, other
    for path, mine, theirs in pairs:
        deeper = _difference(mine, theirs, visited)
        if deeper is not None:
            return path + (deeper or f": {repr_of(mine, path)} and {repr_of(theirs, path)}")
    return None


def _pairs_of(value: Any, other: Any) -> Pairs | None:
    """Return the parts to compare if both values have one shape; None if they can only be compared as a whole."""
    if type(value) is not type(other):
        return None
    if isinstance(value, Model) and value.pk == other.pk:
        return _pairs_of_rows(value, other)
    if isinstance(value, dict) and value.keys() == other.keys():
        # The order is a part of the value of an OrderedDict.
        if isinstance(value, OrderedDict) and list(value) != list(other):
            return None
        return [(f"[{repr_of(key)}]", value[key], other[key]) for key in value]
    if isinstance(value, list | tuple) and len(value) == len(other):
        return [(f"[{n}]", mine, theirs) for n, (mine, theirs) in enumerate(zip(value, other, strict=True))]
    return _pairs_of_objects(value, other)


def _pairs_of_objects(value: Any, other: Any) -> Pairs | None:
    """Return the parts of two objects of one class, which may contain rows."""
    if isinstance(value, set | frozenset) and value == other:
        theirs = {item: item for item in other}
        return [(f"[{repr_of(item)}]", item, theirs[item]) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in fields(value) if field.compare]
        return [(f".{name}", getattr(value, name), getattr(other, name)) for name in names]
    if type(value).__eq__ is object.__eq__ and not isinstance(value, Enum):  # type: ignore[comparison-overlap] # bound and not
        # Not the pickles themselves: those of two equal objects differ by the order of a set, or by which of two equal
        # texts are one object.
        try:
            return _pairs_of_reduced(_reduce(value), _reduce(other))
        except Exception as error:  # noqa: BLE001 -- __reduce_ex__ of the user's class may raise anything
            pass_interrupt(error)
    return None


def _reduce(value: object) -> list[object]:
    """Return what pickle stores of an object: the name of a global, or the constructor, its arguments and the state."""
    reduced = value.__reduce_ex__(pickle.HIGHEST_PROTOCOL)
    parts = [reduced] if isinstance(reduced, str) else reduced
    return [list(part) if isinstance(part, Iterator) else part for part in parts]


def _pairs_of_reduced(value: list[Any], other: list[Any]) -> Pairs:
    for mine, theirs in zip_longest(value, other):
        if isinstance(mine, dict) and isinstance(theirs, dict) and mine.keys() == theirs.keys():
            yield from [(f".{name}", mine[name], theirs[name]) for name in mine]
        else:
            yield "", mine, theirs


def _pairs_of_rows(row: Model, other: Model) -> Pairs:
    for attributes_of in (vars, _related, _prefetched):
        mine, theirs = attributes_of(row), attributes_of(other)
        for name in sorted(mine.keys() & theirs.keys()):
            if not name.startswith("_"):
                yield f".{name}", mine[name], theirs[name]


def _related(row: Model) -> Mapping[str, Any]:
    return row._state.fields_cache


def _prefetched(row: Model) -> Mapping[str, Any]:
    return getattr(row, "_prefetched_objects_cache", {})


def _are_equal(value: object, other: object) -> bool:
    try:
        if value == other:
            return True
    except Exception as error:  # noqa: BLE001 -- the == of an array has no truth value
        pass_interrupt(error)
    try:
        # For a value that is not equal to itself, such as float("nan"), or whose == raises.
        return _pickle(value) == _pickle(other)
    except Exception as error:  # noqa: BLE001 -- pickling the user's class may raise anything
        pass_interrupt(error)
        return type(value) is type(other)  # a value that can't be pickled is never served from the cache


def _pickle(value: object) -> object:
    return sorted(map(pickle.dumps, value)) if isinstance(value, set | frozenset) else pickle.dumps(value)
