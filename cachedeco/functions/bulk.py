"""`CachedQueryMany`: a cached function over many ids. Each id has an entry; one call computes all missing ids."""

from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, Self, TypeVar, cast, overload

from asgiref.sync import sync_to_async

from cachedeco.functions.base import Args, Kwargs, WithoutRefresh, wrap_function
from cachedeco.functions.bulk_arguments import BulkSignature
from cachedeco.functions.bulk_calls import AsyncCallMany, BulkCall, CallMany
from cachedeco.functions.bulk_serving import BulkServing
from cachedeco.functions.explaining import Explanation
from cachedeco.functions.spec import FunctionSpec
from cachedeco.functions.work import Work
from cachedeco.keys.signatures import bare_signature
from cachedeco.loading.effects import arun, run
from cachedeco.runtime.frames import from_async
from cachedeco.runtime.templates import alters_data

P = ParamSpec("P")
Q = ParamSpec("Q")
K = TypeVar("K")  # an id
V = TypeVar("V")  # its value
U = TypeVar("U")  # the plain function's return type: a mapping, or a coroutine
S = TypeVar("S")


class BulkFunction(BulkServing[P, K, V, U], Generic[P, K, V, U]):
    """
    The common part of sync and async cached functions over many ids.

    Each verb takes the arguments of a call, with a collection of ids among them, and has a twin for async code with an
    "a" before its name. Of equal ids only the first counts. Each verb is a shorthand: `f.peek([7])` is
    `f.call([7]).peek()`.
    """

    _decorator = "cached_query_many"

    def _verb(self, args: Args, kwargs: Kwargs) -> BulkCall[K, V, U]:
        self._check_bound(args, kwargs)
        return BulkCall(self, args, kwargs)

    # --- verbs ---

    @alters_data
    def invalidate(self, /, *args: P.args, **kwargs: P.kwargs) -> None:
        """
        Invalidate these ids: all their entries, those of all variants, and no other id's. One command for all.

        Otherwise as `CachedQuery.invalidate()`.
        """
        self._verb(args, kwargs).invalidate()

    def peek(self, /, *args: P.args, **kwargs: P.kwargs) -> dict[K, V]:
        """
        Return the stored values, by id; never compute, and count no hit or miss.

        Ids that a call would compute are left out, and ids that are stored as absent.
        """
        return self._verb(args, kwargs).peek()

    def explain(self, /, *args: P.args, **kwargs: P.kwargs) -> dict[K, Explanation]:
        """Say what a call would do now for each id, and why. Otherwise as `CachedQuery.explain()`."""
        return self._verb(args, kwargs).explain()

    def keys_for(self, /, *args: P.args, **kwargs: P.kwargs) -> dict[K, str]:
        """Return the whole keys of the entries, by id, as the server gets them."""
        return self._verb(args, kwargs).keys()

    @alters_data
    async def arefresh(self, /, *args: P.args, **kwargs: P.kwargs) -> dict[K, V]:
        """Compute now for all these ids, store, and return the values. Otherwise as `CachedQuery.refresh()`."""
        self._check_bound(args, kwargs)
        values: dict[K, V] = await cast("Any", self).call(*args, **kwargs).arefresh()
        return values

    ainvalidate = from_async(invalidate)
    apeek = from_async(peek)
    aexplain = from_async(explain)
    akeys_for = from_async(keys_for)  # which may read attributes that need the database


F = TypeVar("F", bound=BulkFunction[..., Any, Any, Any])


def wrap_many(kind: type[F], spec: FunctionSpec, over: str) -> F:
    """Return the cached function of a spec, of one of the kinds; *over* names the parameter that takes the ids."""
    cached = wrap_function(kind, spec)
    cached.__dict__["_bulk"] = BulkSignature(spec.name, over, bare_signature(spec.source.function))
    return cached


class CachedQueryMany(BulkFunction[P, K, V, Mapping[K, V]], Generic[P, K, V]):
    """
    A cached function over many ids: call it as before, or use its verbs.

    A call returns a dict in the order of its ids, without those that the function does not return. Thread-safe.
    """

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> dict[K, V]:
        """Return the stored values of these ids, and compute and store those that are missing."""
        served = self._serve(self._bulk.find_ids(self._bound_args + args, kwargs))
        if type(served) is not Work:
            return served
        self._check_order(args)
        return cast("dict[K, V]", run(*served))

    def call(self, /, *args: P.args, **kwargs: P.kwargs) -> CallMany[K, V]:
        """Return the call as an object: all verbs of a call, without arguments, and `set(values)`."""
        return CallMany(self, args, kwargs)

    @alters_data
    def refresh(self, /, *args: P.args, **kwargs: P.kwargs) -> dict[K, V]:
        """Compute now for all these ids, store, and return the values. Otherwise as `CachedQuery.refresh()`."""
        self._check_bound(args, kwargs)
        return self.call(*args, **kwargs).refresh()

    if TYPE_CHECKING:

        @overload  # a classmethod
        def __get__(
            self: Callable[Concatenate[S, Q], dict[K, V]], instance: object, owner: S
        ) -> "CachedQueryMany[Q, K, V]": ...
        @overload  # a method of an instance
        def __get__(
            self: Callable[Concatenate[S, Q], dict[K, V]], instance: S, owner: type | None = None
        ) -> "CachedQueryMany[Q, K, V]": ...
        @overload  # a staticmethod, or a method of the class
        def __get__(self, instance: object, owner: type | None = None) -> Self: ...
        def __get__(self: Any, instance: object, owner: Any = None) -> Any:
            """Bind to the instance; a decorated classmethod is bound to the class."""


class AsyncCachedQueryMany(BulkFunction[P, K, V, Coroutine[Any, Any, Mapping[K, V]]], WithoutRefresh, Generic[P, K, V]):
    """A cached async function over many ids: await it as before, or use its verbs. `refresh()` raises."""

    async def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> dict[K, V]:
        """Return the stored values of these ids, and compute and store those that are missing."""
        call = self._bulk.find_ids_on_loop(self._bound_args + args, kwargs)
        if call is None:
            call = await sync_to_async(self._bulk.find_ids)(self._bound_args + args, kwargs)
        served = await self._serve_on_loop(call)
        if type(served) is not Work:
            return served
        self._check_order(args)
        return cast("dict[K, V]", await arun(*served))

    def call(self, /, *args: P.args, **kwargs: P.kwargs) -> AsyncCallMany[K, V]:
        """Return the call as an object: all verbs of a call, without arguments, and `set(values)`."""
        return AsyncCallMany(self, args, kwargs)

    if TYPE_CHECKING:

        @overload  # a classmethod
        def __get__(
            self: Callable[Concatenate[S, Q], Coroutine[Any, Any, dict[K, V]]], instance: object, owner: S
        ) -> "AsyncCachedQueryMany[Q, K, V]": ...
        @overload  # a method of an instance
        def __get__(
            self: Callable[Concatenate[S, Q], Coroutine[Any, Any, dict[K, V]]], instance: S, owner: type | None = None
        ) -> "AsyncCachedQueryMany[Q, K, V]": ...
        @overload  # a staticmethod, or a method of the class
        def __get__(self, instance: object, owner: type | None = None) -> Self: ...
        def __get__(self: Any, instance: object, owner: Any = None) -> Any:
            """Bind to the instance; a decorated classmethod is bound to the class."""
