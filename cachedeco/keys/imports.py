"""
Free variables that hold what was imported, or a type parameter: they are in the key by their names.

What a name leads to is the same in each process, but a variable may hold another module or class in each closure.
"""

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from types import BuiltinFunctionType, CellType, FunctionType, MethodType, ModuleType
from typing import Any, Final, ParamSpec, TypeVar, TypeVarTuple

from django.utils.functional import LazyObject

from cachedeco.keys.encoders import encode, found_by_name
from cachedeco.keys.refusals import KeyTypeError
from cachedeco.storage.refusals import path_of

_FUNCTIONS: Final = frozenset({BuiltinFunctionType, FunctionType, MethodType, partial})
TYPE_PARAMETERS: Final = (TypeVar, ParamSpec, TypeVarTuple)


def imports_of(function: Callable[..., object], free: frozenset[str]) -> Mapping[str, CellType]:
    """Return the cells of the free variables that hold a module, what can be imported, or a type parameter."""
    return {name: cell for name, cell in _cells_of(function, free) if _name_of(cell.cell_contents)}


def functions_among(function: Callable[..., object], free: frozenset[str]) -> frozenset[str]:
    """Return the names of the free variables that hold a function."""
    # By the type: a lazy object is worked out by isinstance(). A cached function is of none of these.
    return frozenset(
        name
        for name, cell in _cells_of(function, free)
        if type(cell.cell_contents) in _FUNCTIONS or hasattr(type(cell.cell_contents), "invalidate_all")
    )


def _cells_of(function: Callable[..., object], free: frozenset[str]) -> Iterator[tuple[str, CellType]]:
    """Yield the free variables that have a value, and their cells."""
    if free:
        innermost: Any = inspect.unwrap(function)
        closure = zip(innermost.__code__.co_freevars, innermost.__closure__ or (), strict=True)
        yield from ((name, cell) for name, cell in closure if name in free and _is_filled(cell))


def text_of_import(value: object) -> str:
    """
    Return the text of what a free variable holds.

    Raises:
        KeyTypeError: The variable was given another value since the function was decorated.
    """
    name = _name_of(value)
    if name is None:
        raise KeyTypeError(value, "no variable that held an import may get another value: make it a parameter")
    return encode(name)


def _is_filled(cell: CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018 -- it raises
    except ValueError:
        return False
    return True


def _name_of(value: Any) -> str | None:
    """Return the name under which a value is imported, or the name of a type parameter; None if it has none."""
    if issubclass(type(value), LazyObject):
        return None  # it would be made to ask it, by a query perhaps
    if isinstance(value, ModuleType):
        return value.__name__ if sys.modules.get(value.__name__) is value else None
    if isinstance(value, TYPE_PARAMETERS):
        return value.__name__
    module, qualname = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(qualname, str):
        return None
    if found_by_name(value) is not value:
        return None
    return path_of(value) if isinstance(value, type) else f"{module}.{qualname}"
