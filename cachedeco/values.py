"""Compare two values of a cached function: rows with their fields, and not only by their primary keys."""

import pickle
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from django.db.models import Model, QuerySet


def difference(one: object, other: object) -> str | None:
    """
    Tell where two values differ, such as `[0].name: 'Judo' and 'Karate'`; None where they don't.

    The text is empty where the values differ as a whole. A QuerySet is the list of its rows. Rows differ if they have
    another class or primary key, or differ in a field, annotation or related object that both have loaded.
    """
    return _difference(one, other, set())


def _difference(one: Any, other: Any, visited: set[tuple[int, int]]) -> str | None:  # noqa: ANN401 -- any values
    if isinstance(one, QuerySet) and isinstance(other, QuerySet):
        one, other = list(one), list(other)
    parts = _parts(one, other, visited)
    if parts is None:
        return None if _same(one, other) else ""
    for where, mine, theirs in parts:
        found = _difference(mine, theirs, visited)
        if found is not None:
            return where + (found or f": {mine!r} and {theirs!r}")
    return None


def _parts(one: Any, other: Any, visited: set[tuple[int, int]]) -> Iterable[tuple[str, Any, Any]] | None:  # noqa: ANN401
    """Return what to compare instead of two values that are of one shape; None where they are to be compared whole."""
    if type(one) is not type(other):
        return None
    if isinstance(one, Model) and one.pk == other.pk:
        pair = id(one), id(other)
        if pair in visited:
            return ()  # reached again, from a related row
        visited.add(pair)
        return _parts_of_rows(one, other)
    if isinstance(one, dict) and one.keys() == other.keys():
        return [(f"[{key!r}]", one[key], other[key]) for key in one]
    if isinstance(one, list | tuple) and len(one) == len(other):
        return [(f"[{n}]", mine, theirs) for n, (mine, theirs) in enumerate(zip(one, other, strict=True))]
    return None


def _parts_of_rows(one: Model, other: Model) -> Iterable[tuple[str, object, object]]:
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
        # What has no == of its own, and what is not equal to itself, such as float("nan").
        return pickle.dumps(one) == pickle.dumps(other)
    except Exception:  # noqa: BLE001 -- whatever a class does when it is pickled
        return type(one) is type(other)  # nobody is ever served what can't be stored
