"""The decorator, and its way into methods."""

import inspect
import sys
from collections.abc import Callable, Coroutine, Mapping
from datetime import timedelta
from inspect import Parameter
from types import CodeType, FrameType
from typing import Any, ParamSpec, Protocol, TypeVar, Unpack, overload

from asgiref.sync import iscoroutinefunction

from cachedeco.functions.bulk import AsyncCachedQueryMany, CachedQueryMany, ManyVerbs
from cachedeco.functions.options import CacheOptions, complete, documented, signature_of
from cachedeco.functions.single import AsyncCachedQuery, CachedQuery
from cachedeco.functions.spec import build_spec
from cachedeco.runtime.validation import UNSET
from cachedeco.storage.serializers import ABSENT

P = ParamSpec("P")
V = TypeVar("V")
K = TypeVar("K")


class Decorator(Protocol):
    """What `cached_query(...)` returns."""

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, V]], /) -> AsyncCachedQuery[P, V]: ...
    @overload
    def __call__(self, function: Callable[P, V], /) -> CachedQuery[P, V, V]: ...


@overload
def cached_query(function: Callable[P, Coroutine[Any, Any, V]], /) -> AsyncCachedQuery[P, V]: ...
@overload
def cached_query(function: Callable[P, V], /) -> CachedQuery[P, V, V]: ...
@overload
def cached_query(timeout: float | timedelta = ..., /, **options: Unpack[CacheOptions]) -> Decorator: ...
def cached_query(first: object = UNSET, /, **options: Unpack[CacheOptions]) -> Any:
    """
    Cache what a function returns; `.invalidate()` and the other verbs are then methods of the function.

    ::

        @cached_query(3600, key="{club.pk}", depends_on=[ClubClass])
        def club_classes(club):
            return ClubClass.objects.filter(club=club)

        club_classes(club)             # computed once, then served
        club_classes.invalidate(club)  # until this, or until a class is saved

    Works on functions, async functions and methods, with or without parentheses. Needs no settings and sends nothing
    to a cache until the first call. The cache never breaks a call; an exception of the function is raised, not cached.

    Args:
        first: The timeout, or the function where there are no parentheses.

        {options}

    Raises:
        TypeError: A parameter, or a variable of the enclosing function, is not accounted for by key, vary or ignore; an
            option is unknown or of a wrong type; depends_on names no model or field; the function is a generator, or no
            function.
        ValueError: A template is malformed, or the timeout is 0, or a number is out of bounds.
        ImproperlyConfigured: depends_on is used, and "cachedeco" is not in INSTALLED_APPS.
    """
    given: dict[str, Any] = dict(options)
    if isinstance(first, int | float | timedelta) and not isinstance(first, bool):
        if "timeout" in given:
            msg = f"cached_query({first!r}, timeout={given['timeout']!r}) has two timeouts; give one."
            raise TypeError(msg)
        given["timeout"], first = first, UNSET
    elif first is not UNSET and not (callable(first) or isinstance(first, classmethod | staticmethod)):
        msg = f"cached_query({first!r}): first comes a timeout, in seconds or as a timedelta, or the function."
        raise TypeError(msg)
    completed = complete(given, "cached_query")

    def decorate(given: object) -> CachedQuery[..., Any, Any]:
        spec = build_spec(given, completed)
        kind: type[CachedQuery[..., Any, Any]] = CachedQuery
        if iscoroutinefunction(spec.source.function):
            kind = AsyncCachedQuery
        cached = kind(spec, spec.source.head)
        _expect_classmethod(cached)
        return cached

    if first is UNSET:
        return lambda given: given if _is_trial(given) else decorate(given)
    return decorate(first)


class ManyDecorator(Protocol):
    """What `cached_query_many(...)` returns."""

    @overload
    def __call__(
        self, function: Callable[P, Coroutine[Any, Any, Mapping[K, V]]], /
    ) -> AsyncCachedQueryMany[P, K, V]: ...
    @overload
    def __call__(self, function: Callable[P, Mapping[K, V]], /) -> CachedQueryMany[P, K, V]: ...


def cached_query_many(*, over: str, **options: Unpack[CacheOptions]) -> ManyDecorator:
    """
    Cache what a function returns for each of many ids: it is called only for those that are missing, all at once.

    ::

        @cached_query_many(over="ids", timeout=3600, namespace="club:{each}")
        def clubs_by_id(ids):
            return Club.objects.in_bulk(ids)

        clubs_by_id([3, 1, 2])         # {3: ..., 1: ..., 2: ...}: one command where all are stored
        clubs_by_id.invalidate([1])    # the others stay

    The function gets a list, and returns a mapping; an id that is not in it is remembered as absent. Each id has an
    entry of its own. In key, vary and namespace one id is `each`: "{each}", or the parameter `each` of a callable.
    timeout and cache_if take the value of one id. They do not see an id that is absent: its timeout is the setting
    `TIMEOUT` where timeout is a callable. One of the callers refreshes, whatever the setting `REFRESH` is.

    Args:
        over: Name of the parameter that takes the ids, any collection of them.

        {options}

    Raises:
        TypeError: There is no such parameter, or it takes no collection; otherwise as `cached_query`.
        ValueError: As `cached_query`.
    """
    completed = complete(dict(options), "cached_query_many")
    cache_if = completed["cache_if"]
    if callable(cache_if):
        completed["cache_if"] = lambda value: value is ABSENT or cache_if(value)

    def decorate(given: Any) -> Any:
        if _is_trial(given):
            return given
        spec = build_spec(given, completed, over)
        kind = AsyncCachedQueryMany if iscoroutinefunction(spec.source.function) else CachedQueryMany
        cached: ManyVerbs[..., Any, Any, Any] = kind(spec, spec.source.head, over)
        _expect_classmethod(cached)
        return cached

    return decorate


for _decorator, _first in (
    (cached_query, Parameter("first", Parameter.POSITIONAL_ONLY, default=UNSET)),
    (cached_query_many, Parameter("over", Parameter.KEYWORD_ONLY, annotation=str)),
):
    setattr(_decorator, "__signature__", signature_of(_first))  # noqa: B010 -- which no function type declares
    _decorator.__doc__ = documented(_decorator.__doc__ or "")


def _is_trial(given: object) -> bool:
    """Tell the dummy on which Django's method_decorator() tries a decorator, for its attributes, before any call."""
    code = getattr(given, "__code__", None)
    return isinstance(code, CodeType) and code.co_qualname == "_update_method_wrapper.<locals>.dummy"


def _expect_classmethod(cached: Any) -> None:
    """
    Prepare for a `@classmethod` above us: since Python 3.13 it asks nobody how to bind what it wraps.

    `Club.total` is then a method object that calls us with the class, but `Club.total.invalidate` is looked up on us
    with no trace of the class. So where the decorator stands in the body of a class, leave there a helper that puts
    our own binding in the place of the classmethod's, once the class exists.
    """
    function = inspect.unwrap(cached)
    body, _, name = function.__qualname__.rpartition(".")
    frame: FrameType | None = None if not body or body.endswith("<locals>") else sys._getframe(2)  # noqa: SLF001 -- CPython
    while frame is not None:  # a decorator of the project's own may stand between us and the class
        if frame.f_code.co_qualname == body and frame.f_globals["__name__"] == function.__module__:
            frame.f_locals[f"__cachedeco_{name}"] = _Binding(cached)
            return
        frame = frame.f_back


class _Binding:
    """Replace the classmethods around a cached function by the function itself, bound to classes."""

    def __init__(self, cached: Any) -> None:
        self._cached = cached

    def __get__(self, instance: object, owner: type) -> object:
        """Be a descriptor, which no enum takes for a member."""
        return self

    def __set_name__(self, owner: type, name: str) -> None:
        """Do it as the class comes to be, and leave."""
        delattr(owner, name)
        cached: object = self._cached
        ours = [
            each for each, value in vars(owner).items() if isinstance(value, classmethod) and value.__func__ is cached
        ]
        for attribute in ours:
            setattr(owner, attribute, self._cached._for_class())  # noqa: SLF001 -- a part of it
