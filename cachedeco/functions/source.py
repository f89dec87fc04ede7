"""`Source`: what is decorated, as a function and how it is bound; what can't be cached is refused."""

import inspect
import types
from collections.abc import Callable
from functools import cached_property, partial
from typing import Any, Literal, NamedTuple, Self

from django.db.models import Model
from django.utils.decorators import method_decorator
from django.utils.functional import cached_property as django_cached_property
from django.utils.functional import classproperty

from cachedeco.functions.views import refuse_view
from cachedeco.runtime.reprs import repr_of
from cachedeco.storage.refusals import VIEWS


class Source(NamedTuple):
    """The decorated function, and how it is bound."""

    function: Callable[..., Any]
    binding: Literal["instance", "class", "none"]
    bound_args: tuple[object, ...] = ()  #: arguments of a decorated partial or bound method

    @classmethod
    def of(cls, decorated: object, decorator: str) -> Self:
        """
        Find the function inside a classmethod, staticmethod, partial or bound method.

        Raises:
            TypeError: It can't be cached.
        """
        binding: Literal["instance", "class", "none"] = "instance"
        function: Any = decorated
        if issubclass(type(function), classmethod | staticmethod):  # isinstance() would take cached functions for these
            binding = "class" if isinstance(function, classmethod) else "none"
            function = function.__func__
        function, bound_args = _unbind(function)
        if getattr(function, "__module__", None) == method_decorator.__module__:  # it tries decorators on a dummy first
            msg = (
                "A method needs no method_decorator(): put our decorator right above it, and its verbs are bound too. "
                f"{VIEWS}"
            )
            raise TypeError(msg)
        if type(function) is not types.FunctionType:
            msg = (
                f"{decorator} can't decorate {repr_of(function)}; it takes a function or method{_remedy_for(function)}."
            )
            raise TypeError(msg)
        refuse_view(function)
        if function.__code__.co_flags & (inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR):
            msg = f"{function.__qualname__}() is a generator: its values can be used only once. Return a list."
            raise TypeError(msg)
        return cls(function, "none" if bound_args else binding, bound_args)


def _unbind(function: Any) -> tuple[Any, tuple[object, ...]]:
    """
    Return what is inside partials and bound methods, and the arguments that they put before those of a call.

    Raises:
        TypeError: A partial sets keyword arguments.
    """
    bound_args: tuple[object, ...] = ()
    while isinstance(function, partial | types.MethodType):
        if isinstance(function, types.MethodType):
            function, bound_args = function.__func__, (function.__self__, *bound_args)
            continue
        if function.keywords:
            msg = (
                f"A partial of {repr_of(function.func)} sets keyword arguments; decorate the function itself, or a def "
                "that calls it."
            )
            raise TypeError(msg)
        function, bound_args = function.func, (*function.args, *bound_args)
    return function, bound_args


def _remedy_for(decorated: object) -> str:
    """Return the end of an error about what can't be decorated."""
    kind = type(decorated)
    if hasattr(kind, "invalidate_all"):
        return ". It is cached already: decorate it once"
    if issubclass(kind, property | cached_property | django_cached_property | classproperty):
        return f". Put @{kind.__name__} above it: the property then returns what is cached"
    if isinstance(decorated, type) and issubclass(decorated, Model):
        return f". What it reads invalidates it by itself; to say so by hand: depends_on=[{decorated.__name__}]"
    if issubclass(kind, type):
        return ". Decorate a method of the class, or a function that makes the object"
    if callable(decorated):
        return ". If another decorator has made it, put ours below that one; else decorate a def that calls it"
    return ". It stands above a def"
