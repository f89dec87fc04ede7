"""
Rows without a primary key on the way into a key: refuse a text that would be the same for all of them.

`{club.pk}` is None for each club that is not saved, and so may be what a callable gives. Whether a None comes from a
missing primary key is tried on copies of the rows that have another value in its place: then the text is another one.
That is done only for texts with "None" in them, and for what is false, as `club.pk or 0`.
"""

from collections.abc import Callable, Iterable
from copy import copy
from decimal import Decimal
from typing import Any, Final
from urllib.parse import unquote

from django.db.models import Model
from django.utils.functional import LazyObject

from cachedeco.invalidation.identities import PartTypeError, advice_for_nameless, has_key
from cachedeco.invalidation.namespaces import token_keys_of
from cachedeco.keys.places import AT_PLACE_IN_PATH, IN_MEMORY, holds_place
from cachedeco.keys.refusals import INDISTINCT, KeyTypeError
from cachedeco.runtime.interrupts import pass_interrupt
from cachedeco.runtime.reprs import describe

# Related rows of related rows that are looked at.
MOST_STEPS: Final = 3


# What may stand for a missing primary key by being false, as `club.pk or 0`. What else is false may ask the database
# to find out, as a row does that has a length, or has no truth value at all.
_MAY_BE_FALSE: Final = (type(None), int, float, Decimal, str, bytes, tuple, list, dict, set, frozenset)
# What holds no row: looked at first, since most arguments are of these types.
_PLAIN: Final = frozenset({type(None), bool, int, str})


class _Key:
    """In the place of a primary key that is missing: no text of a key and no number can be made of it."""

    def __str__(self) -> str:
        return "<primary key>"


KEY: Final = _Key()
Tool = Callable[[Any], str]


class UnsavedRowError(TypeError):
    """A text depends on the primary key of a row that has none."""

    def __init__(self, row: Model) -> None:
        """Keep the row."""
        super().__init__(f"{describe(row)} is in a cache key or a namespace; {advice_for_nameless(row, INDISTINCT)}.")
        self.row = row

    def of_row(self, *, is_part: bool) -> TypeError:
        """Return the error for the row itself, as a part of a namespace or in a key."""
        if is_part:
            return PartTypeError(self.row, advice_for_nameless(self.row))
        return KeyTypeError(self.row, advice_for_nameless(self.row, INDISTINCT))


def path_text(tool: Tool, value: object, first: object, *attributes: str) -> str:
    """
    Return the text of the value that a template's field has reached, from *first* by these attributes.

    Raises:
        UnsavedRowError: It depends on the primary key of a row that has none.
    """
    text = tool(value)
    if _is_false(value) or "None" in text:
        reached: Any = first
        for n, name in enumerate(attributes):
            _try(tool, text, lambda row, rest=attributes[n:]: _follow(row, rest), [reached])
            reached = getattr(reached, name)
    return text


def call_text(tool: Tool, value: object, function: Callable[..., object], *arguments: object) -> str:
    """
    Return the text of the value that a callable has given for these arguments; *function* calls it again.

    Raises:
        UnsavedRowError: The text depends on the primary key of a row that has none.

        KeyTypeError: It has an object's place in memory.
    """
    text = tool(value)
    if holds_place(text, arguments):
        raise KeyTypeError(value, IN_MEMORY)
    if _is_false(value) or "none" in text.lower():
        _try(tool, text, function, arguments)
    return text


def call_paths(
    start: str, table_start: str, value: object, function: Callable[..., object], *arguments: object
) -> list[str]:
    """
    Return the keys of the tokens of the namespaces that a callable has given for these arguments.

    They begin with *start*, those of tables with *table_start*; *function* calls it again.

    Raises:
        UnsavedRowError: A namespace depends on the primary key of a row that has none.

        PartTypeError: A namespace has an object's place in memory.
    """
    keys = token_keys_of(start, table_start, value)
    text = "\n".join(keys)
    if AT_PLACE_IN_PATH in text and holds_place(unquote(text), arguments):
        text = f"what namespace= gave has a part that no invalidation would name; {IN_MEMORY}."
        raise PartTypeError(value, text=text)
    if "None" in text:
        _try(lambda again: "\n".join(token_keys_of(start, table_start, again)), text, function, arguments)
    return keys


def _is_false(value: object) -> bool:
    return issubclass(type(value), _MAY_BE_FALSE) and not value


def _try(tool: Tool, text: str, function: Callable[..., object], arguments: Iterable[object]) -> None:
    """Refuse a text that is another one where rows without a primary key have one."""
    keyless: list[Model] = []
    again = text
    try:
        given = [_with_keys(value, keyless) for value in arguments]
        if keyless:
            again = tool(function(*given))
    except Exception as error:  # noqa: BLE001 -- it could do nothing with `KEY`, and so has read it
        pass_interrupt(error)
        again = ""
    if keyless and again != text:
        raise UnsavedRowError(keyless[0])


def _follow(value: Any, attributes: Iterable[str]) -> object:
    for name in attributes:
        value = getattr(value, name)
    return value


def _with_keys(value: Any, keyless: list[Model], steps: int = MOST_STEPS) -> Any:
    """
    Return a value with `KEY` for each missing primary key of rows in it; the value itself if there are none.

    It looks into lists, tuples, dicts and objects, so many steps deep, and adds these rows to *keyless*.
    """
    if type(value) in _PLAIN:
        return value
    row = _row_of(value)
    if row is not None:
        return _row_with_keys(row, keyless, steps)
    held: dict[Any, Any]
    if type(value) in {list, tuple}:
        held = dict(enumerate(value))
    elif type(value) is dict:
        held = value
    else:
        held = getattr(value, "__dict__", {}) if not isinstance(value, type) else {}
    before = len(keyless)
    keyed = {name: _with_keys(item, keyless, 1) for name, item in held.items() if _row_of(item) is not None}
    if len(keyless) == before:
        return value
    if type(value) in {list, tuple}:
        return type(value)([keyed.get(n, item) for n, item in held.items()])
    if type(value) is dict:
        return {**value, **keyed}
    other = copy(value)
    vars(other).update(keyed)
    return other


def _row_of(value: Any) -> Model | None:
    """Return a row, also of a lazy object that is evaluated; None if it is none. One that is not was never read."""
    if isinstance(value, LazyObject) and not isinstance(value, type):
        value = value._wrapped  # noqa: SLF001 -- as every subclass of LazyObject in Django does
    return value if isinstance(value, Model) else None


def _row_with_keys(row: Model, keyless: list[Model], steps: int) -> Model:
    """Return a row with `KEY` for its missing primary key, and for those of rows to which it points."""
    if has_key(row) and not row._state.fields_cache:
        return row
    options: Any = row._meta
    held, related = vars(row), {}
    before = len(keyless)
    if not has_key(row):
        keyless.append(row)
    columns = {field.attname for field in options.concrete_fields if field.primary_key}
    columns.update(field.attname for field in options.pk_fields)
    for field in [*options.concrete_fields, *options.private_fields]:
        if not steps or not field.is_relation or not field.is_cached(row):
            continue
        pointed = _row_of(field.get_cached_value(row))
        if pointed is not None and not has_key(pointed):
            columns.add(getattr(field, "fk_field", None) or field.attname)
        if pointed is not None:
            related[field.cache_name] = _with_keys(pointed, keyless, steps - 1)
    if len(keyless) == before:
        return row
    other = copy(row)
    vars(other).update({name: KEY for name in columns if held.get(name) is None})
    other._state.fields_cache.update(related)
    return other
