"""What identifies an object in keys and in namespaces alike: a row's primary key, a member's value, a lazy text."""

from enum import Enum
from typing import Any, Final

from django.db.models import Model
from django.utils.functional import Promise

from cachedeco.runtime.reprs import describe

PARTS: Final = "its parts are str, int, UUID, date, datetime, enum members or rows"
UNSAVED: Final = "it is not saved, so it names no namespace: save it first"


class PartTypeError(TypeError):
    """A value can't be a part of a namespace: a fault in a namespace, or in the call of a function that has one."""

    def __init__(self, value: object, advice: str = PARTS) -> None:
        """Describe the value, by its class alone: the argument may be secret."""
        self.what = describe(value)
        self.advice = advice
        super().__init__(f"Namespace() can't take {self.what}; {advice}.")


class NoNamespaceError(PartTypeError):
    """A callable of *namespace* has given something else than namespaces."""

    def __init__(self, value: object) -> None:
        """Describe the value."""
        super().__init__(value)
        must = "it must give a Namespace, or several: Namespace('club', 7)"
        self.args = (f"the callable of namespace= gave {self.what}; {must}.",)


class UnknownNumberError(PartTypeError):
    """A lazy text is singular or plural by a number that it has not been given yet."""


def has_key(row: Model) -> bool:
    """Tell whether a row has a primary key, and each of its columns if it is made of several."""
    key = row.pk
    return None not in key if isinstance(key, tuple) else key is not None


def is_saved(row: Model) -> bool:
    """Tell whether a row has a primary key, and Django has read or saved it."""
    return has_key(row) and not row._state.adding


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
