"""
Saved rows in keys: what they are, and how they were read.

The primary key stands for the fields of a row. What distinguishes two reads of one row is put behind it: the database,
if it is not the default one, and the values that it has beside its fields, from `annotate()`, `Prefetch()` or code.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cached_property, lru_cache
from itertools import islice
from typing import Any, Final
from urllib.parse import quote

from django.db import DEFAULT_DB_ALIAS
from django.db.models import Model
from django.utils.functional import cached_property as django_cached_property

from cachedeco.invalidation import identities
from cachedeco.keys.prefetched import CACHE, chosen_rows
from cachedeco.keys.refusals import INDISTINCT, KeyTypeError
from cachedeco.storage.refusals import path_of

# Before how a row was read, behind the row; ";" ends it. Rows that are sorted have one order with it and without.
READ_MARK: Final = "!read:"
# Without another mark in it, so that a text with many of them takes no time that grows as its square.
_READ: Final = re.compile(f"{READ_MARK}[^!;]*;")

# Of those that a row holds, for advice: a list may be held by each of its rows.
MOST_ROWS: Final = 100

Encode = Callable[[object], str]


def encode_row(encode: Encode, row: Model) -> str:
    """Return the text of a row; *encode* gives those of other values."""
    usual = _usual_names(row.__class__)
    beside = "" if vars(row).keys() <= usual else _encode_beside(row, usual, encode)
    return _encode_identity(row, encode, beside)


def encode_anonymous(encode: Encode, user: object) -> str:
    """Return the text of `AnonymousUser()`, with what a middleware has set on it, such as the tenant."""
    beside = _encode_beside(user, frozenset(), encode)
    return path_of(type(user)) + (beside and _read_mark(DEFAULT_DB_ALIAS, beside))


def without_reads(text: str) -> str:
    """
    Return the text of a call without how its rows were read.

    For the call's own token: a row that was saved on the primary server invalidates what its replica's row has stored.
    Text arguments that look the same lose it too: then an invalidation reaches two calls.
    """
    return _READ.sub("", text)


def _encode_identity(row: Model, encode: Encode, beside: str = "") -> str:
    if not identities.is_saved(row):
        raise KeyTypeError(row, f"{identities.advice_for_nameless(row, INDISTINCT)}, or pass key=")
    label, has_integer_key = identities.describe_model(row.__class__)
    if (pk := row.pk).__class__ is not int or not has_integer_key:
        pk = encode(identities.primary_key_of(row))
    database = row._state.db or DEFAULT_DB_ALIAS
    how = _read_mark(database, beside) if beside or database != DEFAULT_DB_ALIAS else ""
    return f"{label}:{pk}{how}"


def _read_mark(database: str, beside: str) -> str:
    return f"{READ_MARK}{quote(database, safe='')}{beside and ':'}{quote(beside, safe='')};"


def _encode_beside(row: object, usual: frozenset[str], encode: Encode) -> str:
    """
    Return what a row has beside the usual, which may be of one visitor.

    What can't be in a key is left out, and so are private names: there libraries keep what they know of the row.
    """
    texts = []
    for name, value in _values_beside(row, usual):
        with suppress(KeyTypeError):
            texts.append(f"{name}={encode_held(value, encode)}")
    for name, rows in chosen_rows(row):
        with suppress(KeyTypeError):
            texts.append(f"{name}:{encode(rows)}")
    return ",".join(texts)


def _values_beside(row: object, usual: frozenset[str]) -> list[tuple[str, Any]]:
    held = vars(row)
    return [(name, held[name]) for name in sorted(held.keys() - usual) if not name.startswith("_")]


def values_left_out(encode: Encode, row: Model) -> list[tuple[str, object]]:
    """Return what a row has beside its fields and no key can have, but for functions: names and values."""
    left: list[tuple[str, object]] = []
    for name, value in _values_beside(row, _usual_names(row.__class__)):
        try:
            encode_held(value, encode)
        except KeyTypeError:
            if not callable(value):
                left.append((name, value))
    return left


def names_left_out(row: Model) -> Iterator[str]:
    """Yield what rows that a row holds have beside their fields, and no key of it has: "clubs.Club.is_mine"."""
    seen = {id(row)}
    visited = [(row, True)]  # with whether the key has what it has beside its fields
    for each, is_in_key in visited:
        values, chosen = dict(_values_beside(each, _usual_names(each.__class__))), dict(chosen_rows(each))
        yield from (f"{each._meta.label}.{name}" for name in (*values, *chosen) if not is_in_key)
        prefetched = {name: [*islice(rows, MOST_ROWS)] for name, rows in vars(each).get(CACHE, {}).items()}
        for name, value in {**values, **each._state.fields_cache, **prefetched}.items():
            for other in value[:MOST_ROWS] if type(value) in {list, tuple} else [value]:
                # Not isinstance(), which works out a lazy object: perhaps by a query.
                if issubclass(type(other), Model) and id(other) not in seen and len(visited) < MOST_ROWS:
                    seen.add(id(other))
                    visited.append((other, is_in_key and name in chosen))


def encode_held(value: Any, encode: Encode) -> str:
    """Return the text of what a row holds: a row without what that holds in turn, which may be this row."""
    if isinstance(value, Model):
        return _encode_identity(value, encode)
    kind = type(value)
    if kind in {list, tuple}:
        return f"{kind.__name__}({','.join([encode_held(each, encode) for each in value])})"
    return encode(value)


@lru_cache(maxsize=1024)
def _usual_names(model: type[Model]) -> frozenset[str]:
    """Return the names of what a row holds that its primary key stands for."""
    return frozenset({*(field.attname for field in model._meta.fields), *cached_properties(model), "_state"})


@lru_cache(maxsize=1024)
def cached_properties(cls: type) -> frozenset[str]:
    """Return the names of cached properties, which an instance has only when they were asked for."""
    held = [item for base in cls.__mro__ for item in vars(base).items()]
    return frozenset(name for name, value in held if isinstance(value, cached_property | django_cached_property))
