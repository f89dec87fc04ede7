"""The decorator, and its way into methods."""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, ParamSpec, Protocol, TypeVar, overload

from asgiref.sync import iscoroutinefunction
from django.db import DEFAULT_DB_ALIAS

from cachedeco.functions.bulk import AsyncCachedQueryMany, CachedQueryMany, check_over
from cachedeco.functions.options import Options, Timeout, always
from cachedeco.functions.single import AsyncCachedQuery, CachedQuery
from cachedeco.functions.spec import build_spec
from cachedeco.keys.compiler import KeyOption, NamespaceOption
from cachedeco.keys.dependencies import DependsOn
from cachedeco.runtime.validation import UNSET, Seconds, Unset
from cachedeco.storage.serializers import ABSENT, SerializerName

P = ParamSpec("P")
V = TypeVar("V")
K = TypeVar("K")


class Decorator(Protocol):
    """What `cached_query(...)` returns."""

    @overload  # a coroutine is a value too, so the second one takes it as well, and the first one goes first
    def __call__(self, function: Callable[P, Coroutine[Any, Any, V]], /) -> AsyncCachedQuery[P, V]: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, function: Callable[P, V], /) -> CachedQuery[P, V]: ...


@overload
def cached_query(function: Callable[P, Coroutine[Any, Any, V]], /) -> AsyncCachedQuery[P, V]: ...  # type: ignore[overload-overlap] # as above
@overload
def cached_query(function: Callable[P, V], /) -> CachedQuery[P, V]: ...
@overload
def cached_query(
    *,
    timeout: Timeout | Unset = ...,
    key: KeyOption = ...,
    ignore: Sequence[str] = ...,
    vary: Callable[..., object] | Sequence[Callable[..., object]] = ...,
    namespace: NamespaceOption | Sequence[NamespaceOption] | None = ...,
    depends_on: Sequence[DependsOn] = ...,
    cache: str | None = ...,
    using: str = ...,
    version: int | str | None = ...,
    name: str | None = ...,
    stale: Seconds = ...,
    stale_on_error: Seconds = ...,
    early: float = ...,
    jitter: float | Unset = ...,
    wait: Seconds | Unset = ...,
    nested: bool = ...,
    format: SerializerName = ...,
    audit: bool = ...,
    cache_if: Callable[[Any], object] = ...,
) -> Decorator: ...
def cached_query(  # noqa: PLR0913 -- one name for each thing that can be said
    function: object = None,
    /,
    *,
    timeout: Timeout | Unset = UNSET,
    key: KeyOption = None,
    ignore: Sequence[str] = (),
    vary: Callable[..., object] | Sequence[Callable[..., object]] = (),
    namespace: NamespaceOption | Sequence[NamespaceOption] | None = None,
    depends_on: Sequence[DependsOn] = (),
    cache: str | None = None,
    using: str = DEFAULT_DB_ALIAS,
    version: int | str | None = None,
    name: str | None = None,
    stale: Seconds = 0,
    stale_on_error: Seconds = 0,
    early: float = 0,
    jitter: float | Unset = UNSET,
    wait: Seconds | Unset = UNSET,
    nested: bool = True,
    format: SerializerName = "pickle",  # noqa: A002 -- as users would call it
    audit: bool = True,
    cache_if: Callable[[Any], object] = always,
) -> Any:
    """
    Cache what a function returns; `.invalidate()` and the other verbs are then methods of the function.

    ::

        @cached_query(timeout=3600, key="{club.pk}", depends_on=[ClubClass])
        def club_classes(club):
            return ClubClass.objects.filter(club=club)

        club_classes(club)             # computed once, then served
        club_classes.invalidate(club)  # until this, or until a class is saved

    Works on functions, async functions and methods, with or without parentheses. Needs no settings and touches no
    cache until the first call. The cache never breaks a call; what the function raises is not cached, and is raised.

    Args:
        function: What is decorated, where there are no parentheses.

        timeout: Fresh for so long: seconds, a timedelta, None for ever, or a callable of the value that gives one of
            these (0: don't store). Default: the setting `TIMEOUT`, else the alias's own.

        key: What distinguishes calls. None: every argument. A template, "{club.pk}:{page}". A callable that takes some
            of the parameters by name, and gives any value that can be in a key.

        ignore: Names of parameters, and of variables of the function around it, that do not change the value.

        vary: What else the value depends on: a callable of nothing or of some of the parameters, or a sequence of
            them. One `invalidate()` reaches all its variants.

        namespace: What invalidates the entry along with others: a `Namespace`, a template, "club:{club.pk}", a callable
            that gives a Namespace or several, or a sequence of these.

        depends_on: Models whose saved, deleted or m2m-changed rows invalidate the entry: each the class, or its name,
            "app_label.Model". (ClubClass, "club_id"): only the rows that have, or had, this call's value there, which
            is the parameter `club_id` or `club`, or what a template gives, (ClubClass, "club_id", "{team.club_id}").

        cache: Alias of the cache, one of the setting `CACHES`. Default: the first of them.

        using: Alias of the database whose transaction invalidations wait for.

        version: Change it when the meaning of the result changes: entries of another version are not seen.

        name: Stable name for keys and statistics. Default: module and qualified name. Needed for a lambda.

        stale: Seconds, or a timedelta, past the timeout in which the old value may be served while one caller
            refreshes it. What was invalidated is never served.

        stale_on_error: Seconds, or a timedelta, past the timeout in which the old value may be served when the
            computation raises.

        early: XFetch's beta: how eagerly an entry is refreshed before its timeout. 0 is never, 1 the usual.

        jitter: Fraction by which each entry's timeout may be shortened at random. Default: the setting `JITTER`.

        wait: Longest that a caller waits, in seconds or as a timedelta, for what another one computes, before it
            computes itself. With 0 a miss takes no lease, and callers who miss at once each compute. Default: the
            setting `WAIT`.

        nested: Whether the entry depends on the cached calls inside the computation: an invalidation of one of them
            then makes it a miss too.

        format: How values are stored: "pickle" takes nearly everything. "json" takes plain data only (None, bool, int,
            float, str, lists, dicts with str for keys), and we unpickle nothing to read it; docs/trust.md has what else
            it takes for that to matter.

        audit: Whether hits may be audited, as the setting `AUDIT` says. False where the value changes by itself, and
            only the timeout ends it: one that tells the time of day, or draws lots.

        cache_if: Callable of the value: store only where true. Default: always.

    Raises:
        TypeError: A parameter, or a variable of the function around it, is not accounted for by key, vary or ignore; an
            option is of a wrong type; depends_on names no model, or a field of which nothing gives the value; the
            function is a generator, or no function.
        ValueError: A template is malformed, or the timeout is 0, or a number is out of bounds.
        ImproperlyConfigured: depends_on is used, and "cachedeco" is not in INSTALLED_APPS.
    """
    options = Options(
        timeout=timeout,
        cache=cache,
        using=using,
        version=version,
        cache_if=cache_if,
        stale=stale,
        stale_on_error=stale_on_error,
        early=early,
        jitter=jitter,
        wait=wait,
        nested=nested,
        format=format,
        audit=audit,
    )

    def decorate(given: object) -> CachedQuery[..., Any] | AsyncCachedQuery[..., Any]:
        spec = build_spec(
            given, options, key=key, ignore=ignore, vary=vary, namespace=namespace, depends_on=depends_on, name=name
        )
        kind = AsyncCachedQuery if iscoroutinefunction(spec.source.function) else CachedQuery
        return kind(spec, spec.source.head)

    if function is None:
        return decorate
    return decorate(function)


class ManyDecorator(Protocol):
    """What `cached_query_many(...)` returns."""

    @overload
    def __call__(
        self, function: Callable[P, Coroutine[Any, Any, Mapping[K, V]]], /
    ) -> AsyncCachedQueryMany[P, K, V]: ...
    @overload
    def __call__(self, function: Callable[P, Mapping[K, V]], /) -> CachedQueryMany[P, K, V]: ...


def cached_query_many(  # noqa: PLR0913 -- as cached_query, and one more
    *,
    over: str,
    timeout: Timeout | Unset = UNSET,
    key: KeyOption = None,
    ignore: Sequence[str] = (),
    vary: Callable[..., object] | Sequence[Callable[..., object]] = (),
    namespace: NamespaceOption | Sequence[NamespaceOption] | None = None,
    depends_on: Sequence[DependsOn] = (),
    cache: str | None = None,
    using: str = DEFAULT_DB_ALIAS,
    version: int | str | None = None,
    name: str | None = None,
    stale: Seconds = 0,
    stale_on_error: Seconds = 0,
    early: float = 0,
    jitter: float | Unset = UNSET,
    wait: Seconds | Unset = UNSET,
    nested: bool = True,
    format: SerializerName = "pickle",  # noqa: A002 -- as users would call it
    audit: bool = True,
    cache_if: Callable[[Any], object] = always,
) -> ManyDecorator:
    """
    Cache what a function returns for each of many ids: it is called only for those that are missing, all at once.

    ::

        @cached_query_many(over="ids", timeout=3600, namespace="club:{ids}")
        def clubs_by_id(ids):
            return Club.objects.in_bulk(ids)

        clubs_by_id([3, 1, 2])         # {3: ..., 1: ..., 2: ...}: one command where all are stored
        clubs_by_id.invalidate([1])    # the others stay

    The function gets a list, and returns a mapping; an id that is not in it is remembered as absent. Each id has an
    entry of its own, so what is said of a call in `cached_query` is here said of an id: in key, vary and namespace the
    parameter's name stands for one id, and timeout and cache_if are asked about one value. They are not asked about an
    id that is absent: it is kept for the timeout, where that is a callable for the setting `TIMEOUT`. What is due is
    refreshed by one of the callers, whatever the setting `REFRESH` says.

    *over* names the parameter that takes the ids, any collection of them; all else is as in `cached_query`.


    Raises:
        TypeError: There is no such parameter, or it takes no collection; otherwise as `cached_query`.
        ValueError: As `cached_query`.
    """
    options = Options(
        timeout=timeout,
        cache=cache,
        using=using,
        version=version,
        cache_if=(lambda value: value is ABSENT or cache_if(value)) if callable(cache_if) else cache_if,
        stale=stale,
        stale_on_error=stale_on_error,
        early=early,
        jitter=jitter,
        wait=wait,
        nested=nested,
        format=format,
        audit=audit,
    )

    def decorate(given: Any) -> Any:
        spec = build_spec(
            given, options, key=key, ignore=ignore, vary=vary, namespace=namespace, depends_on=depends_on, name=name
        )
        check_over(spec, over, ignore)
        kind = AsyncCachedQueryMany if iscoroutinefunction(spec.source.function) else CachedQueryMany
        return kind(spec, spec.source.head, over)

    return decorate
