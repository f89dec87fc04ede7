"""Compare two values of a cached function: rows with their fields, and not only by their primary keys."""

import pickle
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass
from enum import Enum
from itertools import zip_longest
from typing import Any

from django.db.models import Model, QuerySet

# Pairs that have been met, by their ids: kept, or another object might get the id of one that is gone.
Visited = dict[tuple[int, int], tuple[object, object]]
Parts = Iterable[tuple[str, Any, Any]]  # where, and what is there in either


def difference(one: object, other: object) -> str | None:
    """
    Tell where two values differ, such as `[0].name: 'Judo' and 'Karate'`; None where they don't.

    The text is empty where the values differ as a whole. A QuerySet is the list of its rows. Rows differ if they have
    another class or primary key, or differ in a field, annotation or related object that both have loaded. What has no
    `==` of its own differs in what it is pickled as. The order of a dict, or of a set, is no difference.
    """
    return _difference(one, other, {})


def _difference(one: Any, other: Any, visited: Visited) -> str | None:
    if isinstance(one, QuerySet) and isinstance(other, QuerySet):
        one, other = list(one), list(other)
    if one is other:
        return None
    parts = _parts(one, other)
    if parts is None:
        return None if _same(one, other) else ""
    pair = id(one), id(other)
    if pair in visited:
        return None  # reached again, as from a related row
    visited[pair] = one, other
    for where, mine, theirs in parts:
        found = _difference(mine, theirs, visited)
        if found is not None:
            return where + (found or f": {mine!r} and {theirs!r}")
    return None


def _parts(one: Any, other: Any) -> Parts | None:
    """Return what to compare instead of two values that are of one shape; None where they are to be compared whole."""
    if type(one) is not type(other):
        return None
    if isinstance(one, Model) and one.pk == other.pk:
        return _parts_of_rows(one, other)
    if isinstance(one, dict) and one.keys() == other.keys():
        # Of these the order is a part of the value.
        if isinstance(one, OrderedDict) and list(one) != list(other):
            return None
        return [(f"[{key!r}]", one[key], other[key]) for key in one]
    if isinstance(one, list | tuple) and len(one) == len(other):
        return [(f"[{n}]", mine, theirs) for n, (mine, theirs) in enumerate(zip(one, other, strict=True))]
    return _parts_of_objects(one, other)


def _parts_of_objects(one: Any, other: Any) -> Parts | None:
    """Return what to compare instead of two objects of one class: rows may be in them."""
    if isinstance(one, set | frozenset) and one == other:
        theirs = {each: each for each in other}
        return [(f"[{each!r}]", each, theirs[each]) for each in one]
    if is_dataclass(one) and not isinstance(one, type):
        names = [field.name for field in fields(one) if field.compare]
        return [(f".{name}", getattr(one, name), getattr(other, name)) for name in names]
    if type(one).__eq__ is object.__eq__ and not isinstance(one, Enum):  # type: ignore[comparison-overlap] # bound and not
        # Not the pickles themselves: those of two objects that are alike differ by the order of a set, or by which of
        # two equal texts are one object.
        with suppress(Exception):  # whatever a class does when it is pickled
            return _parts_of_reduced(_reduced(one), _reduced(other))
    return None


def _reduced(value: object) -> list[object]:
    """Return what it would be pickled as: the name of a global, or how it is made, and its state."""
    reduced = value.__reduce_ex__(pickle.HIGHEST_PROTOCOL)
    parts = [reduced] if isinstance(reduced, str) else reduced
    return [list(part) if isinstance(part, Iterator) else part for part in parts]


def _parts_of_reduced(one: list[Any], other: list[Any]) -> Parts:
    for mine, theirs in zip_longest(one, other):
        if isinstance(mine, dict) and isinstance(theirs, dict) and mine.keys() == theirs.keys():
            yield from [(f".{name}", mine[name], theirs[name]) for name in mine]
        else:
            yield "", mine, theirs


def _parts_of_rows(one: Model, other: Model) -> Parts:
    for place in (vars, _related, _prefetched):
        mine, theirs = place(one), place(other)
        for name in sorted(mine.keys() & theirs.keys()):
            if not name.startswith("_"):
                yield f".{name}", mine[name], theirs[name]


def _related(row: Model) -> Mapping[str, Any]:
    return row._state.fields_cache  # noqa: SLF001 -- Django documents _state


def _prefetched(row: Model) -> Mapping[str, Any]:
    return getattr(row, "_prefetched_objects_cache", {})


def _same(one: object, other: object) -> bool:
    with suppress(Exception):  # an array's == has many answers
        if one == other:
            return True
    try:
        # What is not equal to itself, such as float("nan"), or can't be asked.
        return _packed(one) == _packed(other)
    except Exception:  # noqa: BLE001 -- whatever a class does when it is pickled
        return type(one) is type(other)  # nobody is ever served what can't be stored


def _packed(value: object) -> object:
    return sorted(map(pickle.dumps, value)) if isinstance(value, set | frozenset) else pickle.dumps(value)
