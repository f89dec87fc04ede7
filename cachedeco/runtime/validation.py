"""Parse and validate settings and parameters, with their error messages."""

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import timedelta
from difflib import get_close_matches
from enum import Enum
from functools import partial
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
Seconds = float | int | timedelta | None

MODES: Final = get_args(ModeName)
REFRESHERS: Final = get_args(Refresher)


class Unset(Enum):
    """The type of `UNSET`, which means "not given": None is a value that can be given."""

    UNSET = "UNSET"

    def __repr__(self) -> str:
        """Return the name, for signatures in the documentation."""
        return "UNSET"


UNSET: Final = Unset.UNSET


def seconds_of(timeout: Seconds, *, what: str = "timeout", or_callable: bool = False) -> float | None:
    """
    Return a timeout as seconds, None for ever; the error says whether the caller accepts callables, too.

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
            alternative=", None for ever, or a callable of the value" if or_callable else ", or None for ever",
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
    """
    Return a fraction: 0 or more, and less than 1.

    Raises:
        TypeError: It is no number.
        ValueError: It is out of bounds.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        msg = f"{what} is {repr_of(value)}; it takes a fraction, such as 0.1."
        raise TypeError(msg)
    if not 0 <= value < 1:
        msg = f"{what} is {repr_of(value)}; it takes 0 or more, and less than 1."
        raise ValueError(msg)
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
    """Return the end of an error about an unknown name: the nearest known one, or else all of them."""
    near = get_close_matches(name, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"it takes {', '.join(known)}."


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


def _share_of(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        msg = f"the share is {repr_of(value)}; it takes a number, such as 0.001 for one hit in a thousand."
        raise TypeError(msg)
    if not 0 <= value <= 1:
        msg = f"the share is {repr_of(value)}; it takes 0, for none, to 1, for every hit."
        raise ValueError(msg)
    return float(value)


def mode_of(value: object) -> ModeName:
    """
    Return the name of a mode.

    Raises:
        ValueError: It is no name of a mode.
    """
    mode: ModeName = _one_of(MODES, value, what="the mode")
    return mode


def _aliases_of(value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not value or not all(isinstance(alias, str) for alias in value):
        msg = f"the value is {repr_of(value)}; it takes a list of one or more aliases of Django's CACHES."
        raise TypeError(msg)
    return tuple(value)


def _vary_of(value: object) -> tuple[Callable[[], object], ...]:
    if not isinstance(value, list | tuple):
        msg = f"the value is {repr_of(value)}; it takes a list of callables or of their dotted paths."
        raise TypeError(msg)
    functions = tuple(_callable_at(item) if isinstance(item, str) else item for item in value)
    for function in functions:
        if not callable(function):
            msg = f"{repr_of(function)} is not callable; it takes a list of callables or of their dotted paths."
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


def _prefix_of(value: object) -> str:
    # 50 of memcached's 250 characters: Django's own prefix, and at least a digest, must fit beside it.
    if not isinstance(value, str) or not value.isascii() or not value.isprintable() or " " in value or len(value) > 50:  # noqa: PLR2004
        msg = f"the prefix is {repr_of(value)}; it takes at most 50 printable ASCII characters without spaces."
        raise ValueError(msg)
    return value


def _one_of(choices: Sequence[Any], value: object, *, what: str = "the value") -> Any:
    if value not in choices:
        msg = f"{what} is {repr_of(value)}; it takes one of {', '.join(map(repr, choices))}."
        raise ValueError(msg)
    return value


def _refresher_of(value: object) -> Refresher:
    refresher: Refresher = _one_of(REFRESHERS, value)
    if refresher == "task" and django.VERSION < (6,):
        msg = f"'task' needs django.tasks, of Django 6; this is Django {django.__version__}."
        raise ValueError(msg)
    return refresher


def _flag_of(value: object) -> bool:
    if not isinstance(value, bool):
        msg = f"the value is {repr_of(value)}; it takes True or False."
        raise TypeError(msg)
    return value


def _failures_of(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        msg = f"the value is {repr_of(value)}; it takes a whole number of failures in a row, or 0 for no breaker."
        raise ValueError(msg)
    return value


def _pause_of(value: Seconds) -> float:
    seconds = 0.0 if value is None else span_of(value, what="the pause")
    if not seconds:
        msg = f"the pause is {repr_of(value)}; it takes more than 0 seconds."
        raise ValueError(msg)
    return seconds


def _modules_of(value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(
        isinstance(name, str) and all(part.isidentifier() for part in name.split(".")) for name in value
    ):
        msg = f"the value is {repr_of(value)}; it takes a list of names of modules inside your apps, such as 'queries'."
        raise TypeError(msg)
    return tuple(value)


def _signing_keys_of(value: object) -> tuple[bytes, ...]:
    # Only an empty list turns signatures off: None, as of an environment variable that is not set, is refused.
    return () if value in ([], ()) else secrets_of(value)


def _dependencies_of(value: object) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        msg = f"the value is {repr_of(value)}; it takes a list of models, of names 'app_label.Model', or of 'auto'."
        raise TypeError(msg)
    return tuple(value)


def _tables_of(value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(name, str) for name in value):
        msg = f"the value is {repr_of(value)}; it takes a list of labels of apps, of 'app_label.Model', or of tables."
        raise TypeError(msg)
    return tuple(value)


def _columns_of(value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(
        isinstance(name, str) and len(name.split(".")) == len(("app", "Model", "field")) for name in value
    ):
        msg = f"the value is {repr_of(value)}; it takes a list of fields, such as 'auth.User.last_login'."
        raise TypeError(msg)
    return tuple(value)


def _names_of_tables(value: object) -> dict[str, tuple[str, ...]]:
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        msg = f"the value is {repr_of(value)}; it takes a dict: {{'name_of_a_view': ['app_label.Model']}}."
        raise TypeError(msg)
    return {name: _tables_of(several) for name, several in value.items()}


def _lag_of(value: object) -> Mapping[str, float] | float | None:
    if value is None:
        return None
    if isinstance(value, Mapping):
        return {alias: span_of(lag, what=f"the lag of {alias!r}") for alias, lag in value.items()}
    return span_of(value, what="the lag")  # type: ignore[arg-type] # it refuses all else


PARSERS: dict[str, Callable[[Any], object]] = {
    "MODE": mode_of,
    "ALIASES": _aliases_of,
    "TIMEOUT": seconds_of,
    "VARY": _vary_of,
    "KEY_ERRORS": partial(_one_of, get_args(KeyErrors)),
    "KEY_PREFIX": _prefix_of,
    "JITTER": partial(fraction_of, what="the jitter"),
    "WAIT": partial(span_of, what="the wait"),
    "REFRESH": _refresher_of,
    "AUDIT": _share_of,
    "AUDIT_SECONDS": _pause_of,
    "OUTBOX_SECONDS": partial(span_of, what="the value"),
    "BREAKER_FAILURES": _failures_of,
    "BREAKER_SECONDS": _pause_of,
    "MODULES": _modules_of,
    "DEPENDS_ON": _dependencies_of,
    "IGNORED_TABLES": _tables_of,
    "IGNORED_COLUMNS": _columns_of,
    "TABLES": _names_of_tables,
    "REPLICA_LAG": _lag_of,
    "LOG_ARGUMENTS": _flag_of,
    "SHARED_STATISTICS": partial(span_of, what="the interval"),
    "SIGNING_KEYS": _signing_keys_of,
}
