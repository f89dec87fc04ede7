"""A cached function: what a call does, and the verbs."""

from collections.abc import Callable, Coroutine
from enum import Enum
from functools import partial
from time import time
from typing import (
    Any,
    Concatenate,
    Final,
    Generic,
    Literal,
    NamedTuple,
    NoReturn,
    ParamSpec,
    Self,
    TypeVar,
    cast,
    overload,
)

from asgiref.sync import markcoroutinefunction, sync_to_async

from cachedeco.functions.base import Args, CachedFunction, Kwargs
from cachedeco.functions.spec import FunctionSpec
from cachedeco.invalidation import transactions
from cachedeco.invalidation.delivery import invalidate
from cachedeco.loading.computing import Miss, bypass_flow, refresh_flow
from cachedeco.loading.effects import Err, Flow, Ok, arun, run
from cachedeco.loading.materializing import materialize
from cachedeco.loading.policy import CachePolicy
from cachedeco.loading.reading import build_stamp, read_entry
from cachedeco.loading.refreshing import enqueue, stale_flow
from cachedeco.loading.sampling import auditor, inspect_hit
from cachedeco.loading.single_flight import miss_flow
from cachedeco.loading.writing import PendingEntry, store_value
from cachedeco.runtime import modes
from cachedeco.runtime.events import Event
from cachedeco.runtime.hooks import emit
from cachedeco.tracking.collector import innermost, mark_unauditable, record_dependency

P = ParamSpec("P")
Q = ParamSpec("Q")
V = TypeVar("V")  # the value
R = TypeVar("R")  # what a call returns: the value, or a coroutine that gives it
S = TypeVar("S")


class Missing(Enum):
    """The type of `MISSING`, for annotations."""

    MISSING = "MISSING"

    def __repr__(self) -> str:
        """Return the name under which it is imported."""
        return "cachedeco.MISSING"

    __str__ = __repr__

    def __bool__(self) -> Literal[False]:
        """Be false: nothing is there."""
        return False


MISSING: Final = Missing.MISSING


class _Reinvocation(NamedTuple):
    """How a call is repeated elsewhere."""

    cached: "CachedQuery[Any, Any, Any]"
    args: Args
    kwargs: Kwargs

    def resolve_call(self) -> list[str]:
        """Return the keys of the call as they are here and now."""
        return self.cached._spec.resolve_call(self.cached._head + self.args, self.kwargs)[1]  # noqa: SLF001 -- ours

    def enqueue(self, key: str) -> None:
        """Enqueue a task that refreshes the entry of this key."""
        enqueue(tuple(self), key)


class CachedQuery(CachedFunction[P, R], Generic[P, V, R]):
    """
    A cached function: call it as before, or use its verbs.

    Each verb takes the arguments of a call, in any form that the function takes them, and has a twin for async code
    with an "a" before its name. Reached through an instance (or a class, for a classmethod), it is bound to it as a
    method is, verbs included. It may be used by many threads and tasks at once.
    """

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Return the stored value of this call, or compute it and store it."""
        value, steps = self._served(args, kwargs)
        return cast("R", run(steps, self._computation(args, kwargs)) if steps else value)

    def _served(self, args: Args, kwargs: Kwargs) -> tuple[V, None] | tuple[None, Flow[V]]:
        """Return the stored value, or else the steps that give one. This is all that a hit does."""
        admitted = self._admitted(args, kwargs)
        if admitted is None:
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
        call = Miss(policy, keys, found, asked, entry, _Reinvocation(self, args, kwargs))
        is_due = entry is not None and entry.expires + policy.stale > time()
        return None, (stale_flow if is_due else miss_flow)(call)

    def _admitted(self, args: Args, kwargs: Kwargs) -> tuple[CachePolicy, list[str]] | None:
        """Return the terms and the keys of a call; None where it goes past the cache."""
        if modes.current_mode() != "on":
            if not self._spec.is_auditable:
                mark_unauditable()
            return None
        policy, keys = self._spec.resolve_call(self._head + args, kwargs)
        # What this transaction has invalidated is old for itself already, though nobody else may know yet.
        return None if transactions.waiting and transactions.invalidated_in_transaction(keys) else (policy, keys)

    def _refreshed(self, args: Args, kwargs: Kwargs) -> Flow[V]:
        """Return the steps that compute and store; what can't be stored invalidates, as what is stored is old."""
        on_failure = partial(self.invalidate, *args, **kwargs)
        admitted = self._admitted(args, kwargs)
        if admitted is None:
            return bypass_flow(self._spec.name, on_failure)
        policy, keys = admitted
        return refresh_flow(Miss(policy, keys, policy.store.get_many(keys[1:])), on_failure)

    def _computation(self, args: Args, kwargs: Kwargs) -> Callable[[], Any]:
        return partial(self._spec.source.function, *self._head, *args, **kwargs)

    # --- verbs ---

    def invalidate(self, /, *args: P.args, **kwargs: P.kwargs) -> None:
        """
        Invalidate this call: every entry of it, whatever it varies on, and no other call's.

        Inside `atomic()` this takes effect for this connection at once, and for everybody when it commits. An
        invalidation that the cache does not acknowledge is delayed: logged at ERROR, counted, and delivered before this
        process reads from that cache again.
        """
        if modes.current_mode() != "off":
            invalidate(self._spec.options.using, self._spec.own_token(self._head + args, kwargs))

    def refresh(self, /, *args: P.args, **kwargs: P.kwargs) -> V:
        """
        Compute now, store, and return the value, whatever is stored.

        Where the value is not stored, as inside `atomic()` on SQLite or while bypassed, what is stored is invalidated
        instead. A computation that began before is not stopped from storing what it has read: after a change of the
        data, `invalidate()`.

        Raises:
            TypeError: The function is async, so that only `arefresh()` can await it.
        """
        return run(self._refreshed(args, kwargs), self._computation(args, kwargs))

    def peek(self, /, *args: P.args, **kwargs: P.kwargs) -> V | Missing:
        """
        Return the stored value, or `MISSING`; never compute, and count no hit or miss.

        `MISSING` wherever a call would compute: past the timeout, invalidated, bypassed.
        """
        admitted = self._admitted(args, kwargs)
        if admitted is None:
            mark_unauditable()  # where it is audited, what is there is not looked at
            return MISSING
        asked, found, entry = read_entry(*admitted)
        if entry is None or entry.expires <= time():
            return MISSING
        record_dependency(admitted[0].store.alias, asked, found)
        return cast("V", entry.value)

    def put(self, value: V, /, *args: P.args, **kwargs: P.kwargs) -> None:
        """
        Store a value that the caller already has for this call.

        It must not be older than the last invalidation: only a computation that cachedeco runs itself can be checked
        for that. Stored as a computed value would be: not while bypassed, at commit inside `atomic()`, and not at all
        where the transaction's snapshot may be old. Where it is not stored, what is stored is invalidated.
        """
        on_failure = partial(self.invalidate, *args, **kwargs)
        admitted = self._admitted(args, kwargs)
        if admitted is None:
            on_failure()
            return
        policy, keys = admitted
        outcome = materialize(policy.function, Ok(value))
        if isinstance(outcome, Err):
            raise outcome.error
        stamp = build_stamp(policy, keys, policy.store.get_many(keys[1:]))
        store_value(PendingEntry(policy, keys[0], stamp, {}, 0.0), value, on_failure)

    def key_for(self, /, *args: P.args, **kwargs: P.kwargs) -> str:
        """Return the key of this call's entry, as Django's cache takes it: without the prefix that Django adds."""
        return self._spec.resolve_call(self._head + args, kwargs)[1][0]

    # --- their twins ---

    async def ainvalidate(self, /, *args: P.args, **kwargs: P.kwargs) -> None:
        """Do as `invalidate()`, from async code."""
        await sync_to_async(partial(self.invalidate, *args, **kwargs))()

    async def arefresh(self, /, *args: P.args, **kwargs: P.kwargs) -> V:
        """Do as `refresh()`, from async code; the only way for an async function."""
        return await sync_to_async(partial(self.refresh, *args, **kwargs))()

    async def apeek(self, /, *args: P.args, **kwargs: P.kwargs) -> V | Missing:
        """Do as `peek()`, from async code."""
        return await sync_to_async(partial(self.peek, *args, **kwargs))()

    async def aput(self, value: V, /, *args: P.args, **kwargs: P.kwargs) -> None:
        """Do as `put()`, from async code."""
        await sync_to_async(partial(self.put, value, *args, **kwargs))()

    async def akey_for(self, /, *args: P.args, **kwargs: P.kwargs) -> str:
        """Do as `key_for()`, from async code: a key may read an attribute that needs the database."""
        return await sync_to_async(partial(self.key_for, *args, **kwargs))()

    # --- how it is reached ---

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(
        self: "CachedQuery[Concatenate[S, Q], V, R]", instance: S, owner: type | None = None
    ) -> "CachedQuery[Q, V, R]": ...
    def __get__(self, instance: object, owner: type | None = None) -> Any:
        """Bind to the instance, or to the class where a classmethod is decorated."""
        return super().__get__(instance, owner)


class AsyncCachedQuery(CachedQuery[P, V, Coroutine[Any, Any, V]]):
    """A cached async function. What talks to the cache or the database runs in the thread where Django keeps those."""

    def __init__(self, spec: FunctionSpec, head: tuple[object, ...]) -> None:
        """Wrap the recipe's function, and look like an async function."""
        super().__init__(spec, head)
        markcoroutinefunction(self)

    async def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> V:
        """Return the stored value of this call, or compute it and store it."""
        value, steps = await sync_to_async(self._served)(args, kwargs)
        return cast("V", await arun(steps, self._computation(args, kwargs)) if steps else value)

    def refresh(self, /, *args: P.args, **kwargs: P.kwargs) -> NoReturn:  # noqa: ARG002 -- the signature of the verb
        """Raise: only `arefresh()` can await the function."""
        msg = f"{self._spec.name}() is async, and refresh() would have to await it: use arefresh()."
        raise TypeError(msg)

    async def arefresh(self, /, *args: P.args, **kwargs: P.kwargs) -> V:
        """Compute now, store, and return the value, whatever is stored."""
        steps = await sync_to_async(self._refreshed)(args, kwargs)
        return await arun(steps, self._computation(args, kwargs))
