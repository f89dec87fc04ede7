"""What identifies an object in keys and in namespaces alike: a row's primary key, a member's value, a lazy text."""

from enum import Enum
from functools import lru_cache
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.db.models import IntegerField, Model
from django.utils.functional import Promise

from cachedeco.runtime.reprs import describe

PARTS: Final = "its parts are str, int, UUID, date, datetime, enum members or rows"
# The types of primary keys as forms, URLs and JSON have them.
_AS_GIVEN: Final = frozenset({str, int, bool})


class PartTypeError(TypeError):
    """A value can't be a part of a namespace: a fault in a namespace, or in the call of a function that has one."""

    def __init__(self, value: object, advice: str = PARTS, *, text: str = "") -> None:
        """Describe the value, by its class alone, as the argument may be secret; or say *text*."""
        self.advice = advice
        super().__init__(text or f"Namespace() can't take {describe(value)}; {advice}.")


class UnknownNumberError(PartTypeError):
    """A lazy text is singular or plural by a number that it has not been given yet."""


def has_key(row: Model) -> bool:
    """Tell whether a row has a primary key, and each of its columns if it is made of several."""
    key = row.pk
    return None not in key if isinstance(key, tuple) else key is not None


def primary_key_of(row: Any) -> Any:
    """
    Return the primary key of a row in the type of its field.

    A row that was created with a text keeps the text: that of a UUID, say, and is the row that a query gives.
    """
    key, fields = row.pk, row._meta.pk_fields
    if isinstance(key, tuple):
        return tuple([in_type_of(field, value) for field, value in zip(fields, key, strict=True)])
    return in_type_of(fields[0], key)


def in_type_of(field: Any, value: object) -> object:
    """Return a value in the type of a field, as a query gives it; as it is if the field does not take it."""
    if value.__class__ not in _AS_GIVEN:
        return value
    try:
        return field.to_python(value)
    except (ValidationError, TypeError, ValueError):  # text that is no value of the field
        return value


# Bounded, so that classes made at run time are collected in the end.
@lru_cache(maxsize=1024)
def describe_model(model: type[Model]) -> tuple[str, bool]:
    """Return the label of the concrete model of a row's class, and whether its primary key is an integer."""
    concrete: Any = model._meta.concrete_model
    key = concrete._meta.pk
    return concrete._meta.label, isinstance(getattr(key, "target_field", key), IntegerField)


def is_saved(row: Model) -> bool:
    """Tell whether a row has a primary key, and Django has read or saved it."""
    return has_key(row) and not row._state.adding


def advice_for_nameless(row: Model, effect: str = "it names no namespace") -> str:
    """Return why a row has no name in namespaces and keys, what that means, and what to do."""
    if row._state.adding or has_key(row):
        return f"it is not saved, so {effect}: save it"
    return f"its primary key is gone, as after delete(), so {effect}: do this before, or with the key that it had"


def plain_value(member: Enum) -> object:
    """
    Return the value that a member of an enum equals, as those of `TextChoices`, `StrEnum` and `IntEnum` do.

    A member that equals no value but itself is returned as it is.
    """
    value = member.value
    return value if isinstance(member, type(value)) and member == value else member


def evaluate(lazy: Promise) -> object:
    """
    Return what a lazy text, or another result of Django's `lazy()`, is now.

    Raises:
        UnknownNumberError: It is a text of `ngettext_lazy()` without its number.
    """
    if "__reduce__" in vars(lazy):
        raise UnknownNumberError(lazy, "its number is not known: pass the text with its number, text % number")
    given: Any = lazy.__reduce__()[1]  # as it is pickled: function, arguments, keyword arguments, types
    function, args, kwargs = given[:3]
    return function(*args, **kwargs)
