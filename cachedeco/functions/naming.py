"""The names of cached functions: one for events and statistics, one for keys."""

import inspect
import types
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

from django.utils.functional import LazyObject

from cachedeco.keys.encoders import KeyTypeError, encode

# Where each name was first used: two functions of one name would answer for each other.
_places: dict[str, tuple[object, ...]] = {}


def name_of(function: Callable[..., Any], name: str | None) -> str:
    """Return the function's name."""
    if name is None and function.__name__ in {"<lambda>", "_"}:
        what = "A lambda" if function.__name__ == "<lambda>" else "A function called _"
        msg = f"{what} has no name of its own ({function!r}): say name=, or write a def that has."
        raise TypeError(msg)
    if name is None:
        return f"{function.__module__}.{function.__qualname__}"
    if not isinstance(name, str) or not name or "(" in name:
        msg = f"name={name!r} for {function.__qualname__}(); it takes a text without '('."
        raise TypeError(msg)
    return name


def key_name_of(function: Callable[..., Any], name: str) -> str:
    """Return the function's name in keys, and refuse one that stands for another function already."""
    # What functools.wraps() was used on carries the name of what it wraps, and is another function.
    name = "@".join([name, *_wrappers_of(function)])
    place: tuple[object, ...] = (function.__module__, function.__qualname__)
    if "<" in function.__qualname__:  # lambdas, and functions inside another: two of one name can be there at once
        # Of the innermost: a decorator's wrapper has one line for all that it wraps.
        code = getattr(inspect.unwrap(function), "__code__", function.__code__)
        place = (*place, code.co_firstlineno)
    if _places.setdefault(name, place) != place:
        taken = " in ".join([str(part) for part in reversed(_places[name][:2])])
        msg = f"The name {name!r} is taken by {taken}: two functions would share entries. Choose another, with name=."
        raise TypeError(msg)
    return name


def _wrappers_of(function: Any) -> Iterator[str]:
    """Tell what functools.wraps() has put around a function, by their own names and what they were told."""
    while hasattr(function, "__wrapped__"):
        code = getattr(function, "__code__", None)
        if isinstance(code, types.CodeType):
            told = [f"{name}={text}" for name, text in _told(code.co_freevars, function.__closure__ or ())]
            yield f"{code.co_qualname}[{','.join(told)}]"
        else:
            yield type(function).__qualname__
        function = function.__wrapped__


def _told(names: Sequence[str], cells: Sequence[types.CellType]) -> Iterator[tuple[str, str]]:
    """Give what a decorator was told (`@times(3)`), as text; what has no text can't tell two of them apart."""
    for name, cell in zip(names, cells, strict=True):
        with suppress(ValueError, KeyTypeError):  # empty as yet, or a function, a logger, a lock
            if not issubclass(type(cell.cell_contents), LazyObject):  # nothing is to be evaluated at decoration
                yield name, encode(cell.cell_contents)
