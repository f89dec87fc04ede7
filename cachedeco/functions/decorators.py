"""The decorators: `cached_query` and `cached_query_many`."""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import timedelta
from enum import Enum
from functools import wraps
from inspect import Parameter
from typing import TYPE_CHECKING, Any, Final, Never, ParamSpec, Protocol, TypeVar, Unpack, overload

from asgiref.sync import iscoroutinefunction

from cachedeco.functions.base import wrap_function
from cachedeco.functions.building import build_spec
from cachedeco.functions.bulk import AsyncCachedQueryMany, CachedQueryMany, wrap_many
from cachedeco.functions.options import CacheOptions, add_option_docs, complete, signature_of
from cachedeco.functions.single import AsyncCachedQuery, CachedQuery
from cachedeco.runtime.reprs import repr_of

if TYPE_CHECKING:
    from cachedeco.functions.single import Anything, GenericCachedQuery

F = TypeVar("F", bound="Callable[..., Anything]")
P = ParamSpec("P")
V = TypeVar("V")
K = TypeVar("K")


class _Nothing(Enum):
    """The type of the default that means "no positional argument"; UNSET is refused there, as other wrong types."""

    NOTHING = "nothing"

    def __repr__(self) -> str:
        """Return the text that `help()` shows."""
        return "..."


_NOTHING: Final = _Nothing.NOTHING


class Decorator(Protocol):
    """The type of `cached_query(...)`: takes the function."""

    # A coroutine is a value too, so the last one takes it as well, and goes last. To mypy a result that is a type
    # variable may be a coroutine, so that one goes first.
    @overload
    def __call__(self, function: F, /) -> "GenericCachedQuery[F]": ...
    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, V]], /) -> AsyncCachedQuery[P, V]: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, function: Callable[P, V], /) -> CachedQuery[P, V]: ...


@overload  # in this order, as above
def cached_query(function: F, /) -> "GenericCachedQuery[F]": ...
@overload
def cached_query(function: Callable[P, Coroutine[Any, Any, V]], /) -> AsyncCachedQuery[P, V]: ...  # type: ignore[overload-overlap]
@overload
def cached_query(function: Callable[P, V], /) -> CachedQuery[P, V]: ...
@overload
def cached_query(seconds: float | timedelta = ..., /, **options: Unpack[CacheOptions]) -> Decorator: ...
def cached_query(first: object = _NOTHING, /, *more: Never, **options: Unpack[CacheOptions]) -> Any:
    """
    Cache what a function returns; `.invalidate()` and the other verbs are then methods of the function.

    ::

        @cached_query(3600, key="{club.pk}", depends_on=[ClubClass])
        def club_classes(club):
            return ClubClass.objects.filter(club=club)

        club_classes(club)             # computed once, then served
        club_classes.invalidate(club)  # until this, or until a class is saved

    Works on functions, async functions and methods, with or without parentheses. Needs no settings and sends nothing
    to a cache until the first call. The cache never breaks a call; an exception of the function is raised, and
    cached if cache_exceptions names it.

    Args:
        first: The timeout, in seconds or as a timedelta, or the function, if there are no parentheses.

        more: Refused, as all else is given by name.

        {options}

    Raises:
        TypeError: A parameter, or a variable of the enclosing function, is not accounted for by key, vary or ignore; an
            option is unknown or of a wrong type; depends_on names no model or field; the function is a generator, or no
            function.
        ValueError: A template is malformed, or the timeout is 0, or a number is out of bounds.
        ImproperlyConfigured: depends_on is used, and "cachedeco" is not in INSTALLED_APPS.
    """
    first, given = _take_timeout(first, more, dict(options))
    completed = complete(given, "cached_query")

    def decorate(function: object, /) -> Any:
        spec = build_spec(function, completed)
        if iscoroutinefunction(spec.source.function):
            return wrap_function(AsyncCachedQuery, spec)
        return wrap_function(CachedQuery, spec)

    return decorate if first is _NOTHING else decorate(first)


def _take_timeout(first: object, more: Sequence[object], options: dict[str, Any]) -> tuple[object, dict[str, Any]]:
    """
    Return the function of a decorator without parentheses, if there is one, and the options with a positional timeout.

    Raises:
        TypeError: There is more than one positional argument, or it is neither, or there are two timeouts.
    """
    if more:
        given = ", ".join(map(repr_of, (first, *more)))
        msg = (
            f"cached_query({given}) takes one argument without a name, a timeout or the function; give all else by "
            "name, as in @cached_query(60, key='{club.pk}')."
        )
        raise TypeError(msg)
    if isinstance(first, int | float | timedelta) and not isinstance(first, bool):
        if "timeout" in options:
            both = f"{repr_of(first)}, timeout={repr_of(options['timeout'])}"
            msg = f"cached_query({both}) has two timeouts; give one."
            raise TypeError(msg)
        return _NOTHING, {**options, "timeout": first}
    if first is not _NOTHING and not (callable(first) or hasattr(type(first), "__get__")):
        msg = (
            f"cached_query({repr_of(first)}): a positional argument is a timeout, in seconds or as a timedelta, or the "
            "function; give all else by name, as in timeout=None or depends_on=[Club]."
        )
        raise TypeError(msg)
    return first, options


def _keywords_only(decorator: Callable[P, "ManyDecorator"]) -> Callable[P, "ManyDecorator"]:
    """Explain the two usual mistakes in the use of a decorator that needs *over*."""

    @wraps(decorator)
    def wrapper(*args: P.args, **options: P.kwargs) -> "ManyDecorator":
        if args or options.get("over") is None:
            named = [f"{name}={repr_of(value)}" for name, value in options.items()]
            given = ", ".join([*map(repr_of, args), *named])
            over = options.get("over") or "ids"
            seconds = args[0] if args and isinstance(args[0], int | float | timedelta) else options.get("timeout", 60)
            msg = (
                f"cached_query_many({given}) takes all by name, and needs over=, the parameter that takes the ids: "
                f"@cached_query_many(over={repr_of(over)}, timeout={repr_of(seconds)})."
            )
            raise TypeError(msg)
        return decorator(*args, **options)

    return wrapper


class ManyDecorator(Protocol):
    """The type of `cached_query_many(...)`: takes the function."""

    @overload
    def __call__(
        self, function: Callable[P, Coroutine[Any, Any, Mapping[K, V]]], /
    ) -> AsyncCachedQueryMany[P, K, V]: ...
    @overload
    def __call__(self, function: Callable[P, Mapping[K, V]], /) -> CachedQueryMany[P, K, V]: ...


@_keywords_only
def cached_query_many(*, over: str, **options: Unpack[CacheOptions]) -> ManyDecorator:
    """
    Cache what a function returns for each of many ids: call it only for those that are missing, all at once.

    ::

        @cached_query_many(over="ids", timeout=3600, namespace="club:{each}")
        def clubs_by_id(ids):
            return Club.objects.in_bulk(ids)

        clubs_by_id([3, 1, 2])         # {3: ..., 1: ..., 2: ...}: one command if all are stored
        clubs_by_id.invalidate([1])    # the others stay

    The function gets a list, and returns a mapping; an id that is not in it is stored as absent. Each id has an
    entry of its own. In key, vary and namespace one id is `each`: "{each}", or the parameter `each` of a callable.
    timeout and cache_if take the value of one id. They do not see an id that is absent: its timeout is the setting
    `TIMEOUT` if timeout is a callable. One of the callers refreshes, also if the setting `REFRESH` says otherwise.

    Args:
        over: Name of the parameter that takes the ids, any collection of them.

        {options}

    Raises:
        TypeError: There is no such parameter, or it is `*args` or `**kwargs`; otherwise as `cached_query`.
        ValueError: As `cached_query`.
    """
    completed = complete(dict(options), "cached_query_many")

    def decorate(function: Any, /) -> Any:
        spec = build_spec(function, completed, over)
        kind = AsyncCachedQueryMany if iscoroutinefunction(spec.source.function) else CachedQueryMany
        return wrap_many(kind, spec, over)

    return decorate


for _decorator, _first in (
    (cached_query, Parameter("first", Parameter.POSITIONAL_ONLY, default=_NOTHING)),
    (cached_query_many, Parameter("over", Parameter.KEYWORD_ONLY, annotation=str)),
):
    setattr(_decorator, "__signature__", signature_of(_first))  # noqa: B010 -- which no function type declares
    _decorator.__doc__ = add_option_docs(_decorator.__doc__ or "")
