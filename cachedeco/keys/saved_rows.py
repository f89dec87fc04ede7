"""
Saved rows in keys: what they are, and how they were read.

The primary key stands for the fields of a row. What distinguishes two reads of one row is put behind it: the database,
if it is not the default one, and the values that it, or a row that it holds, has beside its fields, from `annotate()`,
`Prefetch()` or code.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from contextvars import ContextVar
from functools import cached_property, lru_cache, partial
from typing import Any, Final
from urllib.parse import quote

from django.db import DEFAULT_DB_ALIAS
from django.db.models import Model
from django.utils.functional import LazyObject
from django.utils.functional import cached_property as django_cached_property

from cachedeco.invalidation import identities
from cachedeco.keys.prefetched import prefetched_rows
from cachedeco.keys.refusals import INDISTINCT, KeyTypeError
from cachedeco.storage.refusals import path_of

# Before how a row was read, behind the row; ";" ends it. Rows that are sorted have one order with it and without.
READ_MARK: Final = "!read:"
# Without another mark in it, so that a text with many of them takes no time that grows as its square.
_READ: Final = re.compile(f"{READ_MARK}[^!;]*;")

# How far rows are followed that hold rows: a thread of hundreds of answers is a chain of these.
_DEEPEST: Final = 20

Encode = Callable[[object], str]


def encode_row(encode: Encode, row: Model) -> str:
    """Return the text of a row; *encode* gives those of other values."""
    beside, held = "", row.__dict__
    # Most rows are told by their fields: they take no further call.
    is_alone = held.keys() <= _usual_names(row.__class__) and not held["_state"].__dict__.get("fields_cache")
    if not is_alone and _holds_more(row):
        beside = _walk(encode, lambda held: held.encode_beside(row))
    return _encode_identity(row, encode, beside)


def encode_anonymous(encode: Encode, user: object) -> str:
    """Return the text of `AnonymousUser()`, with what a middleware has set on it, such as the tenant."""
    beside = _walk(encode, lambda held: ",".join(held.encode_attributes(user, frozenset())))
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


def _holds_more(row: Model) -> bool:
    """Tell whether a row, or one of all that it holds, has what no primary key stands for: most have not."""
    rows: list[object] = [row]
    seen = set[int]()
    while rows:
        each = _row_in(rows.pop())
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        held = each.__dict__
        if beside := held.keys() - _usual_names(each.__class__):
            if not all(name.startswith("_") for name in beside):
                return True
            for _, prefetched, are_chosen in prefetched_rows(each):
                if are_chosen:
                    return True
                rows += prefetched
        for name, related in held["_state"].__dict__.get("fields_cache", {}).items():
            if related is None and _names_a_row(each, name):
                return True
            rows.append(related)
    return False


def _row_in(value: Any) -> Model | None:
    """Return a row itself, of `request.user` the row within; a mock that says it is one is none."""
    if issubclass(type(value), LazyObject):
        value = vars(value)["_wrapped"]
    row: Model | None = value if issubclass(type(value), Model) else None
    return row


class HeldRows:
    """
    What a row, and the rows that it holds, have beside the usual, which may be of one visitor.

    What can't be in a key is left out, and so are private names: there libraries keep what they know of the row.
    Each row is looked at once, since rows hold each other: those of `club.classes.all()` hold the club.
    """

    def __init__(self, encode: Encode) -> None:
        """Begin at no row."""
        self._encode = encode
        self._texts: dict[int, str] = {}
        self._depth = 0

    def encode_beside(self, value: object) -> str:
        """Return what a row has beside the usual, and what the rows have that it holds; nothing if that is nothing."""
        row = _row_in(value)
        if row is None:
            return ""
        if (known := self._texts.get(id(row))) is not None or self._depth > _DEEPEST:
            return known or ""
        self._texts[id(row)] = ""
        self._depth += 1
        self._texts[id(row)] = ",".join(
            [
                *self.encode_attributes(row, _usual_names(row.__class__)),
                *self._encode_related(row),
                *self._encode_prefetched(row),
            ]
        )
        self._depth -= 1
        return self._texts[id(row)]

    def encode_attributes(self, row: object, usual: frozenset[str]) -> Iterator[str]:
        """Yield the texts of attributes that are not usual."""
        for name, value in _values_beside(row, usual):
            with suppress(KeyTypeError):
                yield f"{name}={self.encode_value(value)}"

    def _encode_related(self, row: Model) -> Iterator[str]:
        """Yield the texts of single rows, of foreign keys and the like: with a queryset, `Prefetch()` chooses these."""
        for name, value in sorted(row._state.fields_cache.items()):
            if beside := self.encode_beside(value):
                yield f"{name}({beside})"
            elif value is None and _names_a_row(row, name):
                yield f"{name}()"

    def _encode_prefetched(self, row: Model) -> Iterator[str]:
        for name, rows, are_chosen in prefetched_rows(row):
            if are_chosen or any(map(self.encode_beside, rows)):
                with suppress(KeyTypeError):
                    yield f"{name}:{self.encode_value(rows)}"

    def encode_value(self, value: Any) -> str:
        """Return the text of what a row holds."""
        if (row := _row_in(value)) is not None:
            return _encode_identity(row, self._encode, self.encode_beside(row))
        kind = type(value)
        if kind in {list, tuple}:
            return f"{kind.__name__}({','.join([self.encode_value(each) for each in value])})"
        return self._encode(value)


# What is looked at now: a row may hold a dict with a row that holds this one.
_current: Final = ContextVar[HeldRows | None]("cachedeco.held_rows", default=None)


def _walk(encode: Encode, text_of: Callable[[HeldRows], str]) -> str:
    """Return a text of what rows hold, in the walk that has come here, or in a new one."""
    if (walk := _current.get()) is not None:
        return text_of(walk)
    before = _current.set(walk := HeldRows(encode))
    try:
        return text_of(walk)
    finally:
        _current.reset(before)


def _names_a_row(row: Model, name: str) -> bool:
    """Tell whether a row has the key of another one under a name, where that is not found: a query has left it out."""
    column = _column_of(row.__class__, name)
    return column is not None and row.__dict__.get(column) is not None


@lru_cache(maxsize=1024)
def _column_of(model: type[Model], relation: str) -> str | None:
    """Return where a row has the key of another one, of any model; nothing where the other one has it."""
    fields: Any = (*model._meta.concrete_fields, *model._meta.private_fields)
    names = (
        getattr(each, "fk_field", None) or getattr(each, "attname", None) for each in fields if each.name == relation
    )
    return next(names, None)


def _values_beside(row: object, usual: frozenset[str]) -> list[tuple[str, Any]]:
    held = vars(row)
    return [(name, held[name]) for name in sorted(held.keys() - usual) if not name.startswith("_")]


def values_left_out(encode: Encode, row: Model) -> list[tuple[str, object]]:
    """Return what a row has beside its fields and no key can have, but for functions: names and values."""
    left: list[tuple[str, object]] = []
    for name, value in _values_beside(row, _usual_names(row.__class__)):
        try:
            _walk(encode, partial(HeldRows.encode_value, value=value))
        except KeyTypeError:
            if not callable(value):
                left.append((name, value))
    return left


@lru_cache(maxsize=1024)
def _usual_names(model: type[Model]) -> frozenset[str]:
    """Return the names of what a row holds that its primary key stands for."""
    return frozenset({*(field.attname for field in model._meta.fields), *cached_properties(model), "_state"})


@lru_cache(maxsize=1024)
def cached_properties(cls: type) -> frozenset[str]:
    """Return the names of cached properties, which an instance has only when they were asked for."""
    held = [item for base in cls.__mro__ for item in vars(base).items()]
    return frozenset(name for name, value in held if isinstance(value, cached_property | django_cached_property))
