"""Refusals: what can't be in a key, and what to pass instead."""

import weakref
from collections.abc import Callable, ItemsView, Iterator, KeysView, ValuesView
from functools import partial
from typing import Final, NoReturn

from cachedeco.runtime.reprs import describe
from cachedeco.storage.refusals import belongs_to_visitor, is_request, path_of

# What it means that a row has no primary key, or none that is saved.
INDISTINCT: Final = "nothing distinguishes it from another one"
FUNCTION: Final = (
    "a function has no text that says what it does: pass key=, or name it in ignore= if it changes nothing"
)
REQUEST: Final = (
    "it is another one at each call. Views are not for this decorator: let a function take what the value depends "
    "on, such as request.user.pk, decorate that, and call it in the view; or cache the whole response with "
    "Django's cache_page()"
)
OF_ONE_VISITOR: Final = (
    "it belongs to one visitor. Let a function outside of it take what the value depends on, such as "
    "request.user.pk, and decorate that"
)
OF_FRAMEWORK: Final = (
    "it is made anew for each use, and does not say what the value depends on: let a function outside the class "
    "take that, and decorate the function"
)
QUERY: Final = "pass what selects the rows (ids, a filter's value), as the rows themselves may change under the key"
OF_MANAGER: Final = (
    "a cached method that is called on the manager of a model says ignore=('self',), and any other one is a function "
    "outside the class"
)
OF_SOME_ROWS: Final = (
    "a cached method that ignores 'self' is called on all rows of a model, as Club.objects has them, and on no part of "
    "them: let a function outside the class take the filter's value"
)
NO_METHOD: Final = (
    "its __cache_key__ is no method: write def __cache_key__(self), without @property, and return what distinguishes it"
)
REGISTER: Final = "with cachedeco.register_key_type(), give it a __cache_key__ method, or pass key="

_WEAK: Final = (weakref.ref, *weakref.ProxyTypes)
# Bases of classes whose objects are made for a request, a command or a task. Their own decorators are often tried.
_OF_FRAMEWORKS: Final = {
    "celery.app.task.Task",
    "django.contrib.admin.options.BaseModelAdmin",
    "django.contrib.admin.sites.AdminSite",
    "django.core.management.base.BaseCommand",
    "django.forms.forms.BaseForm",
    "django.forms.formsets.BaseFormSet",
    "django.utils.deprecation.MiddlewareMixin",
    "rest_framework.fields.Field",
    "rest_framework.permissions.BasePermission",
}


class KeyTypeError(TypeError):
    """A value can't be in a cache key: a fault in the key of a decorated function, or in its call."""

    def __init__(self, value: object, advice: str, *, shown: str = "") -> None:
        """Describe the value, by its class alone: the argument may be secret; *shown* says it in other words."""
        self.what = shown or describe(value)
        self.advice = advice
        super().__init__(f"Can't encode {self.what} in a cache key; {advice}.")


def refuse(value: object) -> NoReturn:
    """
    Refuse a value for which no rule has an encoder.

    Raises:
        KeyTypeError: Always.
    """
    # A subclass of one in the table may add data that the text of its base would ignore (a currency, say).
    name = path_of(type(value))
    if type(value) in _WEAK:
        raise KeyTypeError(value, "it may be gone at any time: pass the object itself")
    if hasattr(type(value), "__await__"):
        raise KeyTypeError(value, "it has not been awaited: pass what await gives")
    if hasattr(type(value), "readline"):
        raise KeyTypeError(value, "a file may be read, and changed: pass what it contains, or its name")
    if isinstance(value, Iterator):
        raise KeyTypeError(value, f"a {name} can be read only once: pass a list or tuple of what it gives")
    if type(value) is object:
        raise KeyTypeError(value, "it is another one in each process: take None, or a member of an enum, in its place")
    if isinstance(value, KeysView | ValuesView | ItemsView | memoryview):
        raise KeyTypeError(value, "it shows what another object has: pass a list, tuple, dict or bytes made of it")
    if any(is_request(type(part)) for part in getattr(value, "__dict__", {}).values()):
        raise KeyTypeError(value, OF_ONE_VISITOR)
    raise KeyTypeError(value, f"register its type {name} {REGISTER}")


def refuse_query(value: object, advice: str = QUERY) -> NoReturn:
    """
    Refuse what selects rows.

    Raises:
        KeyTypeError: Always.
    """
    raise KeyTypeError(value, advice, shown=f"a {type(value).__name__}")


def refuse_expression(value: object) -> NoReturn:
    """
    Refuse a part of a query, as `Q`: its text leaves out the types of values, and takes rows of one name for one row.

    Raises:
        KeyTypeError: Always.
    """
    raise KeyTypeError(value, "pass the values in it, and make this part of the query inside, or pass key=")


def refuse_function(value: object, *, shown: str = "") -> NoReturn:
    """
    Refuse a function as a part of a key.

    Raises:
        KeyTypeError: Always.
    """
    raise KeyTypeError(value, FUNCTION, shown=shown)


def refusal_of(cls: type) -> Callable[[object], NoReturn] | None:
    """Return what refuses instances that are made for one visitor, or by a framework; None for other classes."""
    if belongs_to_visitor(cls):
        return partial(_refuse_by_kind, REQUEST if is_request(cls) else OF_ONE_VISITOR)
    if not callable(getattr(cls, "__cache_key__", cls)):
        return partial(_refuse_by_kind, NO_METHOD)
    is_of_framework = not _OF_FRAMEWORKS.isdisjoint(map(path_of, cls.__mro__))
    return partial(_refuse_by_kind, OF_FRAMEWORK) if is_of_framework else None


def _refuse_by_kind(advice: str, value: object) -> NoReturn:
    raise KeyTypeError(value, advice)
