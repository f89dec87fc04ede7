"""The cached functions of the project: all that are imported, with those of views, and one by its dotted path."""

import inspect
from collections.abc import Iterator
from difflib import get_close_matches
from functools import cached_property
from importlib import import_module
from typing import Any, Final

from django.conf import settings
from django.urls import URLResolver, get_resolver
from django.utils.functional import cached_property as django_cached_property

from cachedeco.functions.base import CachedFunction
from cachedeco.functions.spec import FunctionSpec, all_specs
from cachedeco.runtime.interrupts import pass_interrupt
from cachedeco.runtime.reprs import repr_of, shorten, shorten_error

MOST_NEAR: Final = 3  # names that one error shows


class UnknownFunctionError(LookupError):
    """No cached function has a name; the text says which are near."""


def decorated_functions() -> list[FunctionSpec]:
    """
    Return the specs of all functions, with those of the modules that the URLconf imports.

    Django imports these in a check of its own, which may run before ours or after, or not at all.
    """
    import_views()
    return all_specs()


def import_views() -> Exception | None:
    """Import the modules that the URLconf names; return what one of them raises, which Django's own check raises."""
    try:
        if getattr(settings, "ROOT_URLCONF", None):
            _import_patterns(get_resolver())
    except Exception as error:  # noqa: BLE001 -- a module of the user's may raise anything
        pass_interrupt(error)
        return error
    return None


def _import_patterns(resolver: URLResolver) -> None:
    for pattern in resolver.url_patterns:
        if isinstance(pattern, URLResolver):
            _import_patterns(pattern)


def find_function(path: str) -> CachedFunction[..., Any]:
    """
    Return a cached function by its dotted path, or by its name if that is another one; its module is imported.

    A method is found by its class, `clubs.models.Club.total`: unbound, so that the object is the first argument.

    Raises:
        UnknownFunctionError: There is none; or it is defined inside another function, which no path leads to.
    """
    found = _by_path(path)
    if isinstance(found, CachedFunction):
        return found
    for spec in decorated_functions():
        if spec.name == path:
            source = spec.source.function
            found = _by_path(f"{source.__module__}.{source.__qualname__}")
            if isinstance(found, CachedFunction) and found._spec is spec:
                return found
            if isinstance(found, Exception):
                break  # its module has failed behind it
            msg = (
                f"{path} is cached, and no dotted path leads to it: it is defined inside another function, or its name "
                "stands for another object by now."
            )
            raise UnknownFunctionError(msg)
    raise UnknownFunctionError(_explain(path, found))


def _by_path(path: str) -> object:
    """Return the cached function that a path leads to; else the object there, or the exception of an import."""
    if not all(part.isidentifier() for part in path.split(".")):
        return None
    for module, attributes in _splits(path):
        try:
            found: Any = import_module(module)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{module}.".startswith(f"{error.name}."):
                return error  # the module is there, and what it imports is not
            continue
        except Exception as error:  # noqa: BLE001 -- a module of the user's may raise anything
            pass_interrupt(error)
            return error
        for name in attributes:
            found = getattr(found, name, None)
        return _unwrap(found)
    return None


def _splits(path: str) -> Iterator[tuple[str, list[str]]]:
    """Yield each way to split a path into a module and attributes, the longest module first."""
    parts = path.split(".")
    for count in range(len(parts) - 1, 0, -1):
        yield ".".join(parts[:count]), parts[count:]


def _unwrap(found: Any) -> object:
    """Return the cached function inside what decorators have put around it; else the object itself."""
    inside: Any = found.fget if isinstance(found, property) else found
    inside = inside.func if isinstance(inside, cached_property | django_cached_property) else inside
    try:
        inside = inspect.unwrap(inside, stop=lambda each: isinstance(each, CachedFunction))
    except Exception as error:  # noqa: BLE001 -- a circle, or an attribute of a lazy object, which may raise anything
        pass_interrupt(error)
    return inside if isinstance(inside, CachedFunction) else found


def _explain(path: str, found: object) -> str:
    if isinstance(found, Exception):
        return f"The module of {repr_of(path)} can't be imported: {shorten_error(found)}"
    if found is not None:
        return f"{shorten(path)} is no cached function: decorate it with @cached_query, or name another one."
    names = [spec.name for spec in decorated_functions()]
    last = {name: name.rpartition(".")[2] for name in names}
    given = path.rpartition(".")[2]
    lasts = [given, *get_close_matches(given, last.values(), n=MOST_NEAR)]
    near = [name for each in lasts for name in names if last[name] == each]
    near = list(dict.fromkeys([*near, *get_close_matches(path, names, n=MOST_NEAR)]))[:MOST_NEAR]
    remedy = f"did you mean {' or '.join(near)}?" if near else "it takes a dotted path, such as clubs.queries.of_club."
    return f"There is no cached function {repr_of(path)}; {remedy}"
