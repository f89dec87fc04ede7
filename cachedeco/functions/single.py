"""`CachedQuery`: a cached function, what a call of it does, and its verbs."""

from collections.abc import Coroutine
from functools import partial
from time import time
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    NamedTuple,
    ParamSpec,
    Self,
    TypeAlias,
    TypeVar,
    cast,
    overload,
)

from asgiref.sync import markcoroutinefunction, sync_to_async

from cachedeco.functions.base import Args, CachedFunction, Kwargs
from cachedeco.functions.calls import AsyncCall, Call, Missing, SingleCall, admit, refuse_refresh
from cachedeco.functions.spec import FunctionSpec
from cachedeco.loading.computing import Miss, bypass_flow
from cachedeco.loading.effects import Flow, arun, run
from cachedeco.loading.reading import read_entry
from cachedeco.loading.refreshing import enqueue, stale_flow
from cachedeco.loading.sampling import auditor, inspect_hit
from cachedeco.loading.single_flight import miss_flow
from cachedeco.runtime.events import Event
from cachedeco.runtime.hooks import emit
from cachedeco.tracking.collector import innermost, record_dependency

P = ParamSpec("P")
Q = ParamSpec("Q")
V = TypeVar("V")  # the value
U = TypeVar("U")  # what the plain function returns: the value, or a coroutine that gives it
S = TypeVar("S")


class _Reinvocation(NamedTuple):
    """How a call is repeated elsewhere."""

    cached: "SingleFunction[..., Any, Any]"
    args: Args
    kwargs: Kwargs

    def resolve_call(self) -> list[str]:
        """Return the keys of the call as they are here and now."""
        cached = self.cached
        keys: list[str] = cached._spec.resolve_call(cached._head + self.args, self.kwargs)[1]  # noqa: SLF001 -- ours
        return keys

    def enqueue(self, key: str) -> None:
        """Enqueue a task that refreshes the entry of this key."""
        enqueue(tuple(self), key)


class SingleFunction(CachedFunction[P, U], Generic[P, V, U]):
    """What sync and async cached functions share. Each verb is a shorthand: `f.peek(7)` is `f.call(7).peek()`."""

    def _served(self, args: Args, kwargs: Kwargs) -> tuple[V, None] | tuple[None, Flow[V]]:
        """Return the stored value, or else the flow that gives one. This is all that a hit does."""
        admitted = admit(self._spec, self._head + args, kwargs)
        if admitted is None:
            self._check_order(args)
            return None, bypass_flow(self._spec.name)
        policy, keys = admitted
        asked, found, entry = read_entry(policy, keys)
        if entry is not None and entry.expires > time():
            if policy.inspects_hits and (purpose := inspect_hit(policy, entry)):
                call = Miss(policy, keys, found, asked, entry, _Reinvocation(self, args, kwargs))
                return None, (stale_flow if purpose == "refresh" else auditor().audited_hit_flow)(call)
            if innermost.get() is not None:
                record_dependency(policy.store.alias, asked, found)
            emit(Event("hit", policy.function, keys[0], policy.store.alias, entry.seconds))
            return entry.value, None
        self._check_order(args)
        call = Miss(policy, keys, found, asked, entry, _Reinvocation(self, args, kwargs))
        is_due = entry is not None and entry.expires + policy.stale_while_revalidate > time()
        return None, (stale_flow if is_due else miss_flow)(call)

    # --- verbs ---

    def invalidate(self, /, *args: P.args, **kwargs: P.kwargs) -> None:
        """
        Invalidate this call: every entry of it, all variants included, and no other call's.

        Inside `atomic()` this takes effect for this connection at once, and for everybody when it commits. An
        invalidation that the cache does not acknowledge is delayed: logged at ERROR, counted, and delivered before this
        process reads from that cache again.
        """
        SingleCall(self, args, kwargs).invalidate()

    def peek(self, /, *args: P.args, **kwargs: P.kwargs) -> V | Missing:
        """
        Return the stored value, or `MISSING`; never compute, and count no hit or miss.

        `MISSING` wherever a call would compute: past the timeout, invalidated, bypassed.
        """
        return SingleCall(self, args, kwargs).peek()

    def key_for(self, /, *args: P.args, **kwargs: P.kwargs) -> str:
        """Return the key of this call's entry, as Django's cache takes it: without the prefix that Django adds."""
        return SingleCall(self, args, kwargs).key()

    async def ainvalidate(self, /, *args: P.args, **kwargs: P.kwargs) -> None:
        """Do as `invalidate()`, from async code."""
        await SingleCall(self, args, kwargs).ainvalidate()

    async def apeek(self, /, *args: P.args, **kwargs: P.kwargs) -> V | Missing:
        """Do as `peek()`, from async code."""
        return await SingleCall(self, args, kwargs).apeek()

    async def akey_for(self, /, *args: P.args, **kwargs: P.kwargs) -> str:
        """Do as `key_for()`, from async code: a key may read an attribute that needs the database."""
        return await SingleCall(self, args, kwargs).akey()


class CachedQuery(SingleFunction[P, V, V], Generic[P, V]):
    """
    A cached function: call it as before, or use its verbs.

    Each verb takes the arguments of a call, in any form that the function takes them, and has a twin for async code
    with an "a" before its name. Reached through an instance (or a class, for a classmethod), it is bound to it as a
    method is, verbs included. It may be used by many threads and tasks at once.
    """

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> V:
        """Return the stored value of this call, or compute it and store it."""
        value, flow = self._served(args, kwargs)
        if flow is None:
            return cast("V", value)
        return run(flow, partial(self._spec.source.function, *self._head, *args, **kwargs))

    def call(self, /, *args: P.args, **kwargs: P.kwargs) -> Call[V]:
        """Return the call as an object: all verbs of a call, without arguments, and `set(value)`."""
        return Call(self, args, kwargs)

    def refresh(self, /, *args: P.args, **kwargs: P.kwargs) -> V:
        """
        Compute now, store, and return the value, also where one is stored.

        Where the value is not stored, as inside `atomic()` on SQLite or while bypassed, what is stored is invalidated
        instead. A computation that began before is not stopped from storing what it has read: after a change of the
        data, `invalidate()`.
        """
        return self.call(*args, **kwargs).refresh()

    async def arefresh(self, /, *args: P.args, **kwargs: P.kwargs) -> V:
        """Do as `refresh()`, from async code."""
        return await self.call(*args, **kwargs).arefresh()

    if TYPE_CHECKING:

        @overload
        def __get__(self, instance: None, owner: type) -> Self: ...
        @overload
        def __get__(
            self: "CachedQuery[Concatenate[S, Q], V]", instance: S, owner: type | None = None
        ) -> "CachedQuery[Q, V]": ...
        def __get__(self, instance: object, owner: type | None = None) -> Any:
            """Bind to the instance, or to the class where a classmethod is decorated."""


class AsyncCachedQuery(SingleFunction[P, V, Coroutine[Any, Any, V]], Generic[P, V]):
    """
    A cached async function: await it as before, or use its verbs. `refresh()` raises: use `arefresh()`.

    What talks to the cache or the database runs in the thread where Django keeps those.
    """

    def __init__(self, spec: FunctionSpec, head: tuple[object, ...]) -> None:
        """Wrap the function of the spec, and look like an async function."""
        super().__init__(spec, head)
        markcoroutinefunction(cast("Any", self))

    async def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> V:
        """Return the stored value of this call, or compute it and store it."""
        value, flow = await sync_to_async(self._served)(args, kwargs)
        if flow is None:
            return cast("V", value)
        return await arun(flow, partial(self._spec.source.function, *self._head, *args, **kwargs))

    def call(self, /, *args: P.args, **kwargs: P.kwargs) -> AsyncCall[V]:
        """Return the call as an object: all verbs of a call, without arguments, and `set(value)`."""
        return AsyncCall(self, args, kwargs)

    async def arefresh(self, /, *args: P.args, **kwargs: P.kwargs) -> V:
        """Compute now, store, and return the value, also where one is stored. Otherwise as `CachedQuery.refresh()`."""
        return await self.call(*args, **kwargs).arefresh()

    if TYPE_CHECKING:

        @overload
        def __get__(self, instance: None, owner: type) -> Self: ...
        @overload
        def __get__(
            self: "AsyncCachedQuery[Concatenate[S, Q], V]", instance: S, owner: type | None = None
        ) -> "AsyncCachedQuery[Q, V]": ...
        def __get__(self, instance: object, owner: type | None = None) -> Any:
            """Bind to the instance, or to the class where a classmethod is decorated."""

    else:  # type checkers report the use of refresh() as that of a verb that is not there

        def refresh(self, /, *_args: object, **_kwargs: object) -> None:
            """Raise: only `arefresh()` can await the function."""
            refuse_refresh(self._spec)


AnyCachedQuery: TypeAlias = CachedQuery[P, V] | AsyncCachedQuery[P, V]  # of one call, sync or async
