"""
Short reprs for messages: of arguments, which may be long, secret, or run a query when they are shown.

Only plain values of Python are shown. Of all else a message has the class: `__repr__` and `__str__` of other classes
may run a query, raise, never end, or contain a password.
"""

import datetime as dt
import decimal
import fractions
import re
import types
import uuid
import zoneinfo
from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from inspect import Parameter
from itertools import islice
from typing import Any, Final
from urllib.parse import unquote

from django.db.models import Model

from cachedeco.runtime.interrupts import pass_interrupt

LONGEST: Final = 200  # characters of a value, or of all arguments of a call, in one message
_LONGEST_TEXT: Final = 100  # characters of a text inside it
_LONGEST_ERROR: Final = 10_000  # of an exception's text, before secrets are hidden
_MOST_ITEMS: Final = 6  # of a container
_DEEPEST: Final = 4  # containers inside each other
_LARGEST_INT: Final = 10**40
HIDDEN: Final = "***"

# Beside those of Django's SafeExceptionReporterFilter, which hides settings and parameters of requests.
_SECRET: Final = re.compile("cookie|session|csrf|credential|pwd|bearer", re.IGNORECASE)
# Words that Django's pattern finds "auth", "key", "pass" and "api" in.
_ORDINARY: Final = re.compile("author(?!i)|authenticationerror|keyword|passenger|capital", re.IGNORECASE)
# Behind it Redis repeats what a command that it does not know was to store, as a Sentinel knows no SET.
_QUOTED: Final = ", with args beginning with:"
# Each in one pass, also over a long text in which no "@" and no "=" comes.
_URL: Final = re.compile(r"://[^\s'\"]+")
_PARAMETER: Final = re.compile(r"(?<=[?&])([^=&\s]+)(=[^&\s'\"]*)?")
_NAME: Final = re.compile(r"(?<![\w.-])([\w.-]++)['\"]?\s*[=:]")

_ATOMS: Final = frozenset(
    {
        *(types.NoneType, types.EllipsisType, types.BuiltinFunctionType, bool, float, complex, range),
        *(dt.date, dt.timedelta, decimal.Decimal, fractions.Fraction, uuid.UUID),
    }
)
_TIMES: Final = frozenset({dt.datetime, dt.time})
_ZONES: Final = frozenset({types.NoneType, dt.timezone, zoneinfo.ZoneInfo})
_BRACKETS: Final[Mapping[type, str]] = {
    list: "[{}]",
    tuple: "({})",
    set: "{{{}}}",
    frozenset: "frozenset({{{}}})",
    deque: "deque([{}])",
}


def repr_of(value: object, name: str = "") -> str:
    """
    Return a repr for messages: at most `LONGEST` characters, without secrets. Never raises, and runs no query.

    The value is hidden if the name of its parameter, or the path of attributes to it, sounds secret.
    """
    if is_secret(name):
        return HIDDEN
    try:
        return _cut(_repr(value, _DEEPEST))
    except Exception as error:  # noqa: BLE001 -- a container may change meanwhile, a primary key may raise
        pass_interrupt(error)
        return describe(value)


def describe(value: object) -> str:
    """Return the class of a value, for messages that must not show the value; None is itself."""
    return "None" if value is None else f"<{_name_of(type(value))} object>"


def _name_of(cls: type) -> str:
    """Return the dotted name of a class, for messages; builtins have no module."""
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


def format_arguments(parameters: Iterable[Parameter], args: Sequence[object], kwargs: Mapping[str, object]) -> str:
    """Return the arguments of a call as source text, those of secret parameters hidden, cut to a readable length."""
    named = list(parameters)
    names = [each.name for each in named if each.kind <= each.POSITIONAL_OR_KEYWORD]
    rest = "".join([each.name for each in named if each.kind is each.VAR_POSITIONAL])
    names += [rest] * (len(args) - len(names))
    texts = [repr_of(value, name) for value, name in zip(args, names, strict=False)]
    return _cut(", ".join([*texts, *(f"{name}={repr_of(value, name)}" for name, value in kwargs.items())]))


def shorten(text: str) -> str:
    """Return a text that contains arguments, such as a key: cut to `LONGEST` characters, and without secrets."""
    return hide_secrets(_cut(text))


def shorten_reason(reason: str) -> str:
    """Return the reason of an event, its detail short and without secrets: "lost token" by itself is none."""
    head, colon, detail = reason.partition(": ")
    return f"{head}{colon}{shorten(detail)}"


def text_of_error(error: BaseException, key: str = "", shown: str = "") -> str:
    """
    Return the text of an exception in one line, without passwords in URLs; "" if it has none, or can't tell it.

    *shown* stands in the place of a key that may be in the text.
    """
    try:
        text = str(error)
    except Exception as failure:  # noqa: BLE001 -- a class of the project
        pass_interrupt(failure)
        return ""
    text, _, _ = text.partition(_QUOTED)
    if key:
        text = text.replace(key, shown)
    return mask_credentials(" ".join(text[:_LONGEST_ERROR].split()))


def mask_credentials(text: str) -> str:
    """Return a text, such as a LOCATION, without the users, passwords and secret parameters of URLs in it."""
    return _PARAMETER.sub(_mask_parameter, _URL.sub(_mask_user, text))


def _mask_user(found: re.Match[str]) -> str:
    # What stands before the last "@" of a URL's host may be a password with any characters.
    _, at, host = found[0].rpartition("@")
    return f"://{HIDDEN}@{host}" if at else found[0]


def _mask_parameter(found: re.Match[str]) -> str:
    return f"{found[1]}={HIDDEN}" if found[2] and is_secret(unquote(found[1])) else found[0]


def shorten_error(error: BaseException, key: str = "", shown: str = "") -> str:
    """Return the class and the text of an exception: short, and without secrets. Otherwise as `text_of_error()`."""
    text = shorten(text_of_error(error, key, shown))  # without the name of the class: that of KeyError sounds secret
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def hide_secrets(text: str) -> str:
    """Return a text cut behind the first `name=` or `name:` that sounds secret: its value may end anywhere."""
    for found in _NAME.finditer(text):
        if is_secret(found[1]):
            return f"{text[: found.end()]}{HIDDEN}"
    return text


def is_secret(name: str) -> bool:
    """Tell whether the name of a parameter, a key or an attribute says that its value is secret."""
    return bool(name) and bool(_SECRET.search(name) or _is_hidden_by_django(name))


def _is_hidden_by_django(name: str) -> bool:
    """Tell whether Django hides a name in its error reports: by the project's filter, if it has one."""
    from django.views.debug import SafeExceptionReporterFilter, get_default_exception_reporter_filter

    hidden = by_default = SafeExceptionReporterFilter.hidden_settings
    try:
        hidden = getattr(get_default_exception_reporter_filter(), "hidden_settings", by_default)
    except Exception as error:  # noqa: BLE001 -- Django is not set up, or the filter of the project can't be imported
        pass_interrupt(error)
    return hidden.search(_ORDINARY.sub("", name) if hidden is by_default else name) is not None


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def _repr(value: Any, depth: int) -> str:  # noqa: PLR0911 -- one return for each kind
    cls = type(value)  # no isinstance(): it asks for `__class__`, by which a lazy object fetches its row
    if cls is int:
        return repr(value) if -_LARGEST_INT < value < _LARGEST_INT else f"<int of {value.bit_length()} bits>"
    if cls is str or cls is bytes or cls is bytearray:
        text = hide_secrets(repr(value[:_LONGEST_TEXT]))
        return text if len(value) <= _LONGEST_TEXT else f"{text}..."
    if cls in _ATOMS or (cls in _TIMES and type(value.tzinfo) in _ZONES):
        return repr(value)
    if cls is dict or cls is OrderedDict:
        pairs = (": ".join(_pair(key, item, depth - 1)) for key, item in value.items())
        text = f"{{{_items(pairs, len(value), depth)}}}"
        return text if cls is dict else f"OrderedDict({text})"
    if cls in _BRACKETS:
        is_pair = cls in {tuple, list} and len(value) == len(("name", "value"))
        texts = (
            _pair(value[0], value[1], depth - 1) if is_pair and depth else (_repr(item, depth - 1) for item in value)
        )
        text = _items(texts, len(value), depth)
        return _BRACKETS[cls].format(f"{text}," if cls is tuple and len(value) == 1 else text)
    if issubclass(cls, type):
        return type.__repr__(value)
    if cls is types.FunctionType:
        return f"<function {value.__module__}.{value.__qualname__}>"
    if issubclass(cls, Enum):
        return f"{cls.__qualname__}.{value.name}"
    if issubclass(cls, Model):
        key = value._meta.pk
        return f"<{cls.__qualname__} pk={repr_of(value.pk, getattr(key, 'name', ''))}>"
    return describe(value)


def _pair(key: object, item: object, depth: int) -> tuple[str, str]:
    """Return the texts of a key and its value, or of the two items of a sequence, which may be such a pair."""
    name = _repr(key, depth)
    return name, HIDDEN if is_secret(name) else _repr(item, depth)


def _items(texts: Iterable[str], count: int, depth: int) -> str:
    """Join the first items of a container; none of one that lies too deep."""
    shown = list(islice(texts, _MOST_ITEMS)) if depth else []
    return ", ".join(shown if len(shown) == count else [*shown, "..."])
