"""Parse and validate settings and parameters, with their error messages."""

import inspect
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import timedelta
from difflib import get_close_matches
from enum import Enum
from sys import float_info
from typing import Any, Final, Literal, get_args

import django
from asgiref.sync import iscoroutinefunction
from django.utils.module_loading import import_string

from cachedeco.runtime.interrupts import pass_interrupt
from cachedeco.runtime.reprs import repr_of

ModeName = Literal["on", "bypass", "off"]
Refresher = Literal["caller", "thread", "task"]
KeyErrors = Literal["raise", "bypass"]
Seconds = float | int | timedelta

# Of `get_close_matches()`: a slip of the keys is above it, and another name with the same letters below.
NEAR: Final = 0.7
MODES: Final = get_args(ModeName)
REFRESHERS: Final = get_args(Refresher)


class Unset(Enum):
    """The type of `UNSET`, which means "not given": None is a value that can be given."""

    UNSET = "UNSET"

    def __repr__(self) -> str:
        """Return the name, for signatures in the documentation."""
        return "UNSET"


UNSET: Final = Unset.UNSET


def seconds_of(timeout: Seconds | None, *, what: str = "timeout", or_callable: bool = False) -> float | None:
    """
    Return a timeout as seconds, None for no limit; the error says whether the caller accepts callables, too.

    Raises:
        TypeError: It is no number of seconds, no `timedelta` and not None.
        ValueError: It is negative, or not a number.
    """
    return (
        None
        if timeout is None
        else span_of(
            timeout,
            what=what,
            alternative=", None for no limit, or a callable of the value" if or_callable else ", or None for no limit",
        )
    )


def span_of(span: Seconds, *, what: str, alternative: str = "") -> float:
    """
    Return a span of time as seconds; None, for ever, is refused.

    *what* names the option or setting in the error, *alternative* what else the caller accepts.

    Raises:
        TypeError: It is no number of seconds and no `timedelta`.
        ValueError: It is negative, or not a number.
    """
    seconds = span.total_seconds() if isinstance(span, timedelta) else span
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        msg = f"{what} is {repr_of(span)}; it takes seconds or a timedelta{alternative}."
        raise TypeError(msg)
    # Refuses infinity, and an int of 400 digits, which float() can't take.
    if not 0 <= seconds <= float_info.max:
        msg = f"{what} is {repr_of(span)}; it takes 0 or more seconds{alternative}."
        raise ValueError(msg)
    return float(seconds)


def fraction_of(value: object, *, what: str) -> float:
    """Return a fraction: 0 or more, and less than 1."""
    return _number(value, lambda given: 0 <= given < 1, what, "a fraction, 0 or more and less than 1, such as 0.1")


def beta_of(value: object, *, what: str) -> float:
    """Return XFetch's beta: 0 or more."""
    return _number(
        value, lambda given: 0 <= given <= float_info.max, what, "XFetch's beta: 0 for never, 1 to begin with"
    )


def _number(value: Any, accepts: Callable[[float], bool], what: str, taken: str) -> float:
    """
    Return a number; the error says what is *taken*.

    Raises:
        TypeError: It is no number.
        ValueError: It is not accepted.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not accepts(value):
        msg = f"{what} is {repr_of(value)}; it takes {taken}."
        raise (ValueError if is_number else TypeError)(msg)
    return float(value)


# OWASP's least for a secret is 64 bits from a good source; a text of 16 characters can have as many.
SHORTEST_KEY: Final = 16


def secrets_of(keys: object) -> tuple[bytes, ...]:
    """
    Return keys as bytes.

    Raises:
        TypeError, ValueError: As `Signer` says.
    """
    if isinstance(keys, str | bytes) or not isinstance(keys, Sequence):
        msg = f"keys to sign with are a {type(keys).__name__}; it takes a list: [SECRET_KEY, *SECRET_KEY_FALLBACKS]."
        raise TypeError(msg)
    if not keys:
        msg = "keys to sign with are none; it takes one or more: [SECRET_KEY, *SECRET_KEY_FALLBACKS]."
        raise ValueError(msg)
    return tuple([_secret_of(key) for key in keys])


def _secret_of(key: object) -> bytes:
    # No message shows a key: errors end up in logs.
    if not isinstance(key, str | bytes):
        msg = f"a key to sign with is a {type(key).__name__}; it takes text or bytes."
        raise TypeError(msg)
    secret = key.encode() if isinstance(key, str) else key
    if len(secret) < SHORTEST_KEY:
        msg = f"a key to sign with has {len(secret)} bytes; it takes {SHORTEST_KEY} or more, chosen at random."
        raise ValueError(msg)
    return secret


def remedy_for(name: str, known: Collection[str]) -> str:
    """Return the end of an error about an unknown name: the nearest known one, those that begin with it, or all."""
    near = get_close_matches(name, known, n=1, cutoff=NEAR) or [each for each in known if each.startswith(f"{name}_")]
    return f"did you mean {' or '.join(map(repr, near))}?" if near else f"it takes {', '.join(known)}."


def check_returns(function: Callable[..., object], *, what: str) -> None:
    """
    Check that a callable of the user's returns its result when it is called; *what* names it in the error.

    Raises:
        TypeError: It is async, or a generator function: what it returns would be taken for the result.
    """
    called = function if isinstance(function, type) else getattr(function, "__call__", None)  # noqa: B004 -- its kind
    for each in (function, called):
        is_async = iscoroutinefunction(each) or inspect.isasyncgenfunction(each)
        if is_async or inspect.isgeneratorfunction(each):
            kind = "async" if is_async else "a generator function"
            msg = f"{what} is {kind}: {repr_of(function)}; it takes a def that returns its result."
            raise TypeError(msg)


def check_arguments(function: Callable[..., object], *arguments: object, what: str, advice: str) -> None:
    """
    Check that a callable of the user's can be called with these arguments.

    *what* names it in the error, and *advice* says what it is called with.

    Raises:
        TypeError: It can't, by its signature.
    """
    try:
        signature = inspect.signature(function)
    except Exception as error:  # noqa: BLE001 -- it is written in C, or has annotations that can't be evaluated
        pass_interrupt(error)
        return
    try:
        signature.bind(*arguments)
    except TypeError:
        taken = ", ".join(signature.parameters) or "nothing"
        msg = f"{what} is {repr_of(function)}, which takes {taken}; {advice}."
        raise TypeError(msg) from None


# --- settings ---


def share_of(value: object) -> float:
    """Return a share: 0 to 1."""
    taken = "0, for none, to 1, for every hit, such as 0.001 for one in a thousand"
    return _number(value, lambda given: 0 <= given <= 1, "the share", taken)


def one_of(choices: Sequence[Any], value: object, *, what: str = "the value") -> Any:
    """Return one of some choices."""
    if value not in choices:
        msg = f"{what} is {repr_of(value)}; it takes one of {', '.join(map(repr, choices))}."
        raise ValueError(msg)
    return value


def mode_of(value: object) -> ModeName:
    """Return the name of a mode."""
    mode: ModeName = one_of(MODES, value, what="the mode")
    return mode


def refresher_of(value: object) -> Refresher:
    """Return what refreshes, if this Django has it."""
    refresher: Refresher = one_of(REFRESHERS, value)
    if refresher == "task" and django.VERSION < (6,):
        msg = f"'task' needs django.tasks, of Django 6; this is Django {django.__version__}."
        raise ValueError(msg)
    return refresher


def flag_of(value: object, *, what: str = "the value") -> bool:
    """Return True or False."""
    if not isinstance(value, bool):
        msg = f"{what} is {repr_of(value)}; it takes True or False."
        raise TypeError(msg)
    return value


def failures_of(value: object) -> int:
    """Return a number of failures."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        msg = f"the value is {repr_of(value)}; it takes a whole number of failures in a row, or 0 for no breaker."
        raise ValueError(msg)
    return value


def pause_of(value: Seconds | None) -> float:
    """Return seconds, more than 0."""
    seconds = 0.0 if value is None else span_of(value, what="the pause")
    if not seconds:
        msg = f"the pause is {repr_of(value)}; it takes more than 0 seconds."
        raise ValueError(msg)
    return seconds


def lag_of(value: object) -> Mapping[str, float] | float | None:
    """Return seconds, for all databases or by alias."""
    if value is None:
        return None
    if isinstance(value, Mapping):
        return {alias: span_of(lag, what=f"the lag of {alias!r}") for alias, lag in value.items()}
    return span_of(value, what="the lag")  # type: ignore[arg-type] # it refuses all else


def prefix_of(value: object) -> str:
    """Return a prefix of keys."""
    # 50 of memcached's 250 characters: Django's own prefix, and at least a digest, must fit beside it.
    if not isinstance(value, str) or not value.isascii() or not value.isprintable() or " " in value or len(value) > 50:  # noqa: PLR2004
        msg = f"the prefix is {repr_of(value)}; it takes at most 50 printable ASCII characters without spaces."
        raise ValueError(msg)
    return value


def signing_keys_of(value: object) -> tuple[bytes, ...]:
    """Return keys as bytes; only an empty list turns signatures off, and no variable that is not set, which is None."""
    return () if value in ([], ()) else secrets_of(value)


def list_of(value: object, *, items: str, pattern: str | None = "(?s).*", least: int = 0) -> tuple[Any, ...]:
    """
    Return a list, of so many items at least.

    *items* says in errors what they are: texts like a pattern, any texts by default, and anything if that is None.
    """
    if (
        not isinstance(value, list | tuple)
        or len(value) < least
        or not (pattern is None or all(isinstance(item, str) and re.fullmatch(pattern, item) for item in value))
    ):
        msg = f"the value is {repr_of(value)}; it takes a list of {items}."
        raise TypeError(msg)
    return tuple(value)


def tables_of(value: object) -> tuple[str, ...]:
    """Return names of tables: none is empty, or ends or begins with a dot, as where a part was forgotten."""
    return list_of(value, items="labels of apps, of 'app_label.Model', or of tables", pattern=r"(?s)[^.](.*[^.])?")


def tables_by_name(value: object) -> dict[str, tuple[str, ...]]:
    """Return lists of tables by name."""
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        msg = f"the value is {repr_of(value)}; it takes a dict: {{'name_of_a_view': ['app_label.Model']}}."
        raise TypeError(msg)
    return {name: tables_of(several) for name, several in value.items()}


def callables_of(value: object) -> tuple[Callable[[], object], ...]:
    """Return callables that take no arguments; those that are given by their paths are imported."""
    taken = "callables or of their dotted paths"
    given = list_of(value, items=taken, pattern=None)
    functions = tuple(_callable_at(item) if isinstance(item, str) else item for item in given)
    for function in functions:
        if not callable(function):
            msg = f"{repr_of(function)} is not callable; it takes a list of {taken}."
            raise TypeError(msg)
        check_returns(function, what="one of them")
        check_arguments(function, what="one of them", advice="each is called without arguments")
    return functions


def _callable_at(path: str) -> Any:
    try:
        return import_string(path)
    except ImportError as error:
        msg = f"{path!r} can't be imported: {error}. It takes dotted paths: 'django.utils.translation.get_language'."
        raise ImportError(msg) from error
