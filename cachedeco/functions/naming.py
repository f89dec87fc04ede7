"""
Function names: one for events and statistics, one for keys. Each belongs to one function only.

Entries outlive the functions that stored them, so a name stays taken when its function is gone, and keeps its counts.
That holds for the last `MOST_UNUSED` of such names: a function can be decorated in a loop, under a new name each time.
"""

import inspect
import sys
import types
from collections import deque
from collections.abc import Callable, Iterator
from types import CodeType
from typing import Any, Final, NamedTuple
from weakref import ReferenceType, WeakKeyDictionary, ref

from cachedeco.runtime import statistics
from cachedeco.runtime.locks import RLock
from cachedeco.runtime.reprs import repr_of

# Names that no living function has: some hundred bytes each.
MOST_UNUSED: Final = 1000
# Functions of one name, each of which replaced the one before: a module is loaded again by hand, and not often.
MOST_EARLIER: Final = 10


class _Place(NamedTuple):
    """Where a function is defined."""

    module: str
    qualname: str
    file: str
    line: int | None  #: of a lambda, and of a nested function: two of the same name can exist at once
    loaded: object  #: the module's spec, which importlib.reload() renews
    code: CodeType
    earlier: tuple[CodeType, ...] = ()  #: of functions that it replaces: other modules may still call what defines them


# Where the function of each name is defined: two functions with the same name would share entries.
_places: dict[str, _Place] = {}
# Weak references to decorated functions, by their innermost function and their name.
_wrappings: WeakKeyDictionary[object, dict[str, Callable[[], object]]] = WeakKeyDictionary()

_Names = tuple[str, str]  # the name of a function, and its name in keys

# How many living functions have each pair of names; and the pairs that no function has any more, the oldest first.
_users: dict[_Names, int] = {}
_unused: dict[_Names, None] = {}
# The names that each living function has taken.
_taken: dict[ReferenceType[object], _Names] = {}
# Appended to when a function is collected: that may happen at any line, so no lock may be needed for it.
_collected: deque[ReferenceType[object]] = deque()
_lock = RLock()


def name_of(function: Callable[..., Any], name: str | None) -> str:
    """
    Return the function's name in events and statistics.

    Raises:
        TypeError: The function has no name of its own, or the option *name* is no name.
    """
    if name is None and function.__name__ in {"<lambda>", "_"}:
        what = "A lambda" if function.__name__ == "<lambda>" else "A function called _"
        msg = f"{what} has no name of its own ({repr_of(function)}): say name=, or write a def that has."
        raise TypeError(msg)
    if name is None:
        return f"{function.__module__}.{function.__qualname__}"
    if not isinstance(name, str) or not name or "(" in name:
        msg = f"name={repr_of(name)} for {function.__qualname__}(); it takes a text without '('."
        raise TypeError(msg)
    return name


def key_name_of(function: Callable[..., Any], name: str) -> str:
    """
    Return the function's name in keys: its own, and the names of the wrappers that functools.wraps() put around it.

    A wrapper has the name of the function that it wraps, and returns other values.
    """
    return "@".join([name, *map(_name_of_wrapper, _layers_of(function))])


def take_names(user: object, function: Callable[..., Any], name: str, key_name: str, *, is_chosen: bool) -> None:
    """
    Take the name of a function, and its name in keys, for as long as *user* lives, which stands for the function.

    Raises:
        TypeError: Another function has the name already; *is_chosen* tells whether the option *name* gives it.
    """
    innermost = inspect.unwrap(function)
    with _lock:
        _check_place(function, innermost, key_name)
        # With a chosen name the user says that all wrappers under it return the same values.
        if not is_chosen:
            _check_wrapping(function, innermost, key_name)
        names = name, key_name
        _users[names] = _users.get(names, 0) + 1
        _taken[ref(user, _collected.append)] = names
        _unused.pop(names, None)
        _drop_unused()


def _drop_unused() -> None:
    """Forget the oldest of the names that no function has any more. The caller holds the lock."""
    while _collected:
        names = _taken.pop(_collected.popleft())
        _users[names] -= 1
        if not _users[names]:
            del _users[names]
            _unused[names] = None
    while len(_unused) > MOST_UNUSED:
        names = name, key_name = next(iter(_unused))
        del _unused[names]
        _places.pop(key_name, None)
        if not any(name == used for used, _ in _users):
            statistics.forget(name)


def _check_place(function: Callable[..., Any], innermost: Callable[..., Any], name: str) -> None:
    """Refuse the name of a function that is defined elsewhere; what is loaded again defines its functions anew."""
    # Of the innermost: a decorator's wrapper has one line for all functions that it wraps.
    code = getattr(innermost, "__code__", function.__code__)
    module = sys.modules.get(function.__module__)
    place = _Place(
        function.__module__,
        function.__qualname__,
        code.co_filename,
        code.co_firstlineno if "<" in function.__qualname__ else None,
        getattr(module, "__spec__", None),
        code,
    )
    first = _places.setdefault(name, place)
    if first[:5] == place[:5] or any(code is each for each in first.earlier):
        return
    is_the_same = first[:2] == place[:2]
    if is_the_same and (first.loaded is not place.loaded or _is_typed_again(first, place, innermost, module)):
        _places[name] = place._replace(earlier=(*first.earlier, first.code)[-MOST_EARLIER:])
        return
    msg = (
        f"The name {name!r} is taken by {first.qualname} in {first.module}: two functions would share entries. "
        "Choose another, with name=."
    )
    raise TypeError(msg)


def _is_typed_again(first: _Place, place: _Place, function: Callable[..., Any], module: object) -> bool:
    """
    Tell whether a function was defined anew without an import: in a shell, in a notebook, by `exec()`.

    A function that is defined inside another one has its place anew if the other one no longer has the earlier code.
    """
    names = getattr(function, "__globals__", {})
    is_in_module = names is getattr(module, "__dict__", None)
    if place.line is None and is_in_module:  # the later one of two has the name in Python, too
        return True
    is_in_shell = names.get("__name__") == "__main__" and "__file__" not in names
    is_in_shell |= first.file[:1] == place.file[:1] == "<"
    if not is_in_shell and (is_in_module or first.file != place.file):
        return False
    outer, *inner = place.qualname.partition(".<locals>")[0].split(".")
    found = names.get(outer)
    for each in inner:
        found = getattr(found, each, None)
    found = inspect.unwrap(found) if callable(found) else None
    # Equal code may be of another file.
    nested = {id(each) for each in _nested_codes(getattr(found, "__code__", None))}
    return id(first.code) not in nested and (id(place.code) in nested or first.file != place.file)


def _nested_codes(code: CodeType | None) -> Iterator[CodeType]:
    """Yield the code of the functions that are defined inside a function, at any depth."""
    for each in code.co_consts if code else ():
        if isinstance(each, CodeType):
            yield each
            yield from _nested_codes(each)


def _check_wrapping(function: Callable[..., Any], innermost: object, name: str) -> None:
    """
    Refuse the name of another wrapper around the same innermost function.

    The arguments of a decorator, `@times(3)`, are not in the name, so two wrappers with the same name may return
    different values. The same function object may be decorated again. A function that is defined inside another one,
    or in a module that is reloaded, is a new innermost function each time.
    """
    # Entries outlive the functions that stored them, so the first wrapper keeps the name after it was collected.
    key = innermost if _takes_reference(innermost) else function
    first = _wrappings.setdefault(key, {}).setdefault(name, ref(function))
    if first() is not function:
        msg = (
            f"The name {name!r} is taken by another wrapper of the same function: the two would share entries. "
            "Choose another, with name=."
        )
        raise TypeError(msg)


def _takes_reference(function: object) -> bool:
    """Tell whether a function can be a key of a `WeakKeyDictionary`."""
    try:
        hash(ref(function))
    except TypeError:
        return False
    return True


def _layers_of(function: Any) -> Iterator[object]:
    """Yield the wrappers that functools.wraps() put around a function, the outermost first."""
    while hasattr(function, "__wrapped__"):
        yield function
        function = function.__wrapped__


def _name_of_wrapper(wrapper: object) -> str:
    """Return a wrapper's own name: functools.wraps() has replaced its `__qualname__` by that of the function."""
    if type(wrapper) is types.FunctionType:  # a cached function says that it is one
        return f"{wrapper.__globals__.get('__name__')}.{wrapper.__code__.co_qualname}"
    return f"{type(wrapper).__module__}.{type(wrapper).__qualname__}"
