"""`CachedQuery` and `AsyncCachedQuery`: what a cached function is called with, and its verbs."""

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, Self, TypeAlias, TypeVar, cast, overload

from asgiref.sync import sync_to_async

from cachedeco.functions.admission import admit_on_loop
from cachedeco.functions.base import Args, Kwargs, WithoutRefresh
from cachedeco.functions.calls import AsyncCall, Call, Missing, SingleCall
from cachedeco.functions.explaining import Explanation
from cachedeco.functions.single_serving import SingleServing
from cachedeco.functions.work import Work
from cachedeco.loading.effects import arun, run
from cachedeco.loading.found import Found
from cachedeco.loading.lookup_on_loop import look_up_one_on_loop
from cachedeco.runtime.frames import from_async
from cachedeco.runtime.hooks import emit_hit
from cachedeco.runtime.templates import alters_data

P = ParamSpec("P")
Q = ParamSpec("Q")
V = TypeVar("V")  # the value
U = TypeVar("U")  # the plain function's return type: the value, or a coroutine
S = TypeVar("S")


class SingleFunction(SingleServing[P, V, U], Generic[P, V, U]):
    """What sync and async cached functions share. Each verb is a shorthand: `f.peek(7)` is `f.call(7).peek()`."""

    def _verb(self, args: Args, kwargs: Kwargs) -> SingleCall[V, U]:
        self._check_bound(args, kwargs)
        return SingleCall(self, args, kwargs)

    # --- verbs ---

    @alters_data
    def invalidate(self, /, *args: P.args, **kwargs: P.kwargs) -> None:
        """
        Invalidate this call: all its entries, those of all variants, and no other call's.

        Inside `atomic()` this takes effect for this connection at once, and for all others at commit. An
        invalidation that the cache does not acknowledge is delayed: logged at ERROR, counted, and delivered before this
        process reads from that cache again.
        """
        self._verb(args, kwargs).invalidate()

    def peek(self, /, *args: P.args, **kwargs: P.kwargs) -> V | Missing:
        """
        Return the stored value, or `MISSING`; never compute, and count no hit or miss.

        Returns `MISSING` if a call would compute: past the timeout, invalidated, bypassed. Also if it would raise
        an exception that *cache_exceptions* has stored: no value is.
        """
        return self._verb(args, kwargs).peek()

    def explain(self, /, *args: P.args, **kwargs: P.kwargs) -> Explanation:
        """
        Say what a call would do now, and why: its key, its entry, and what it depends on.

        Nothing is computed, changed, counted or told, and a cache that is out of reach is part of the answer. What a
        call that is refused would raise, this raises.
        """
        return self._verb(args, kwargs).explain()

    def key_for(self, /, *args: P.args, **kwargs: P.kwargs) -> str:
        """Return the whole key of this call's entry, as the server gets it."""
        return self._verb(args, kwargs).key()

    @alters_data
    async def arefresh(self, /, *args: P.args, **kwargs: P.kwargs) -> V:
        """Compute now, store, and return the value, even if one is stored. Otherwise as `CachedQuery.refresh()`."""
        self._check_bound(args, kwargs)
        value: V = await cast("Any", self).call(*args, **kwargs).arefresh()
        return value

    ainvalidate = from_async(invalidate)
    apeek = from_async(peek)
    aexplain = from_async(explain)
    akey_for = from_async(key_for)  # which may read an attribute that needs the database


class CachedQuery(SingleFunction[P, V, V], Generic[P, V]):
    """
    A cached function: call it as before, or use its verbs.

    Each verb takes the arguments of a call, in any form that the function takes them, and has a twin for async code
    with an "a" before its name. An attribute look-up on an instance (or on a class, for a classmethod) binds it as a
    method, verbs included. Thread-safe.
    """

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> V:
        """Return the stored value of this call, or compute it and store it."""
        served = self._serve(args, kwargs)
        # No cast(): it is called, and a hit has no time for it.
        return run(*served) if type(served) is Work else served  # pyright: ignore[reportReturnType] -- as said

    def call(self, /, *args: P.args, **kwargs: P.kwargs) -> Call[V]:
        """Return the call as an object: all verbs of a call, without arguments, and `set(value)`."""
        return Call(self, args, kwargs)

    @alters_data
    def refresh(self, /, *args: P.args, **kwargs: P.kwargs) -> V:
        """
        Compute now, store, and return the value, even if one is stored.

        If the value can't be stored, as inside `atomic()` on SQLite or while bypassed, the call is invalidated instead.
        A computation that began earlier may still store older data: after a change of the data, use `invalidate()`.
        """
        self._check_bound(args, kwargs)
        return self.call(*args, **kwargs).refresh()

    if TYPE_CHECKING:
        # Each self is a Callable, since mypy finds no S in a CachedQuery[Concatenate[S, Q], V].

        @overload  # a classmethod
        def __get__(self: Callable[Concatenate[S, Q], V], instance: object, owner: S) -> "CachedQuery[Q, V]": ...
        @overload  # a method of an instance
        def __get__(
            self: Callable[Concatenate[S, Q], V], instance: S, owner: type | None = None
        ) -> "CachedQuery[Q, V]": ...
        @overload  # a staticmethod, or a method of the class
        def __get__(self, instance: object, owner: type | None = None) -> Self: ...
        def __get__(self: Any, instance: object, owner: Any = None) -> Any:
            """Bind to the instance; a decorated classmethod is bound to the class."""


class AsyncCachedQuery(SingleFunction[P, V, Coroutine[Any, Any, V]], WithoutRefresh, Generic[P, V]):
    """
    A cached async function: await it as before, or use its verbs. `refresh()` raises: use `arefresh()`.

    A hit runs on the event loop where it can; all else that is not the function itself, in the thread where Django
    keeps its connections.
    """

    async def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> V:
        """Return the stored value of this call, or compute it and store it."""
        # One coroutine for all: each further one is woken, and passes the value on, at each hit.
        served: V | Work
        admitted = admit_on_loop(self._spec, self._bound_args + args, kwargs)
        found = None if admitted is None else await look_up_one_on_loop(*admitted)
        if admitted is None or found is None:
            served = await sync_to_async(self._serve)(args, kwargs)
        elif isinstance(found, Found):
            entry = found.entry
            if found.raw is None and entry is not None and not entry.is_error:  # a plain hit, as of `_serve()`
                policy, keys = admitted
                emit_hit(policy.function, keys[0], policy.store.alias, entry.seconds)
                return entry.value  # type: ignore[no-any-return] # no cast(), as of a sync call
            served = self._serve_found(admitted[0], found, args, kwargs)
        else:
            served = self._serve_later(admitted[0], found, args, kwargs)
        return await arun(*served) if type(served) is Work else served  # pyright: ignore[reportReturnType] -- likewise

    def call(self, /, *args: P.args, **kwargs: P.kwargs) -> AsyncCall[V]:
        """Return the call as an object: all verbs of a call, without arguments, and `set(value)`."""
        return AsyncCall(self, args, kwargs)

    if TYPE_CHECKING:

        @overload  # a classmethod
        def __get__(
            self: Callable[Concatenate[S, Q], Coroutine[Any, Any, V]], instance: object, owner: S
        ) -> "AsyncCachedQuery[Q, V]": ...
        @overload  # a method of an instance
        def __get__(
            self: Callable[Concatenate[S, Q], Coroutine[Any, Any, V]], instance: S, owner: type | None = None
        ) -> "AsyncCachedQuery[Q, V]": ...
        @overload  # a staticmethod, or a method of the class
        def __get__(self, instance: object, owner: type | None = None) -> Self: ...
        def __get__(self: Any, instance: object, owner: Any = None) -> Any:
            """Bind to the instance; a decorated classmethod is bound to the class."""


if TYPE_CHECKING:

    class Anything:
        """What only a function that is generic in its result can return: mypy lets it return a coroutine, too."""

    F = TypeVar("F", bound=Callable[..., Anything])

    class GenericCachedQuery(CachedQuery[..., Any], Generic[F]):
        """A cached function whose result is a type variable: its calls are checked, its verbs take everything."""

        @property
        def __call__(self) -> F:  # pyright: ignore[reportIncompatibleMethodOverride] -- mypy takes it as a method
            """The function."""
            raise NotImplementedError

        # To mypy a callable that is bound has no type variables.
        def __get__(self, instance: object, owner: type | None = None) -> CachedQuery[..., Any]:  # type: ignore[override]
            """Bind to the instance; a decorated classmethod is bound to the class."""


AnyCachedQuery: TypeAlias = CachedQuery[P, V] | AsyncCachedQuery[P, V]  # of one call, sync or async
