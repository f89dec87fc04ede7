"""The names of cached functions: one for events and statistics, one for keys."""

import inspect
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary, ref


class _Place(NamedTuple):
    """Where a function is defined."""

    module: str
    qualname: str
    line: int | None  #: of a lambda, and of a function inside another one: two of one name can exist at once
    loaded: object  #: the module's spec, which importlib.reload() renews


class _Wrapping(NamedTuple):
    """A function that was decorated, and the wrappers that functools.wraps() put around it."""

    function: Callable[[], object]  #: weak
    codes: tuple[types.CodeType | None, ...]  #: their codes, None for one that may have been given something


# Where the function of each name is defined: two functions of one name would answer for each other.
_places: dict[str, _Place] = {}
# What was decorated, by its innermost function and its name.
_wrappings: WeakKeyDictionary[object, dict[str, _Wrapping]] = WeakKeyDictionary()


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


def key_name_of(function: Callable[..., Any], name: str, *, is_chosen: bool) -> str:
    """
    Return the function's name in keys: its own, and the names of the wrappers that functools.wraps() put around it.

    Args:
        function: The decorated function.

        name: The function's name.

        is_chosen: Whether the option *name* gives it.

    Raises:
        TypeError: The name stands for another function already.
    """
    # A wrapper has the name of what it wraps, and is another function.
    name = "@".join([name, *map(_shown, _layers_of(function))])
    _check_place(function, name)
    if not is_chosen:
        _check_wrapping(function, name)
    return name


def _check_place(function: Callable[..., Any], name: str) -> None:
    """Refuse the name of a function that is defined elsewhere; a reloaded module defines its functions anew."""
    line: int | None = None
    if "<" in function.__qualname__:
        # Of the innermost: a decorator's wrapper has one line for all that it wraps.
        line = getattr(inspect.unwrap(function), "__code__", function.__code__).co_firstlineno
    loaded = getattr(sys.modules.get(function.__module__), "__spec__", None)
    place = _Place(function.__module__, function.__qualname__, line, loaded)
    first = _places.setdefault(name, place)
    if first[:2] == place[:2] and first.loaded is not loaded:
        _places[name] = place
    elif first != place:
        msg = (
            f"The name {name!r} is taken by {first.qualname} in {first.module}: two functions would share entries. "
            "Choose another, with name=."
        )
        raise TypeError(msg)


def _check_wrapping(function: Callable[..., Any], name: str) -> None:
    """
    Refuse a name under which the same innermost function was decorated in another wrapping.

    What a decorator was given, `@times(3)`, shows nowhere: two wrappings are known to be equal where no decorator was
    given anything, or where they are one object. With a chosen name the user says that they are equal.
    """
    wrapping = _Wrapping(ref(function), tuple(map(_code_of, _layers_of(function))))
    first = _wrappings.setdefault(_innermost_of(function), {}).setdefault(name, wrapping)
    if first.function() is not function and (first.codes != wrapping.codes or None in wrapping.codes):
        msg = (
            f"{name}() was decorated before, in another wrapper of the same function, and what their decorators were "
            "given can't be seen: the two would share entries. Decorate it once, or choose a name for each, with name=."
        )
        raise TypeError(msg)


def _innermost_of(function: Callable[..., Any]) -> object:
    """Return what functools.wraps() was used on first, or the function where no weak reference can lead there."""
    innermost = inspect.unwrap(function)
    try:
        hash(ref(innermost))
    except TypeError:
        return function
    return innermost


def _layers_of(function: Any) -> Iterator[object]:
    """Return what functools.wraps() has put around a function, the outermost first."""
    while hasattr(function, "__wrapped__"):
        yield function
        function = function.__wrapped__


def _shown(wrapper: object) -> str:
    """Return a wrapper's own name, as functools.wraps() has put that of the function over it."""
    if isinstance(wrapper, types.FunctionType):
        return f"{wrapper.__globals__.get('__name__')}.{wrapper.__code__.co_qualname}"
    return f"{type(wrapper).__module__}.{type(wrapper).__qualname__}"


def _code_of(wrapper: object) -> types.CodeType | None:
    """Return the code of a wrapper that has nothing but the function that it wraps, None where there may be more."""
    if not isinstance(wrapper, types.FunctionType) or wrapper.__defaults__ or wrapper.__kwdefaults__:
        return None
    only = types.CellType(getattr(wrapper, "__wrapped__"))  # noqa: B009 -- which no function type declares
    return wrapper.__code__ if wrapper.__closure__ == (only,) else None
