"""`Call`: one call of a cached function as an object. The verbs are written here, once."""

from collections.abc import Callable, Coroutine
from enum import Enum
from functools import partial
from time import time
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, TypeVar, cast

from asgiref.sync import markcoroutinefunction, sync_to_async

from cachedeco.functions.base import Args, CachedFunction, Kwargs
from cachedeco.functions.spec import FunctionSpec
from cachedeco.invalidation import transactions
from cachedeco.invalidation.delivery import Invalidation, invalidate
from cachedeco.loading.computing import Miss, bypass_flow, refresh_flow
from cachedeco.loading.effects import Err, Flow, Ok, arun, run
from cachedeco.loading.materializing import materialize
from cachedeco.loading.policy import CachePolicy
from cachedeco.loading.reading import build_stamp, read_entry
from cachedeco.loading.writing import PendingEntry, store_value
from cachedeco.runtime import modes
from cachedeco.tracking.collector import mark_unauditable, record_dependency

U = TypeVar("U")  # what the plain function returns
V = TypeVar("V")  # the value

LONGEST_ARGUMENTS: Final = 200


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


def admit(spec: FunctionSpec, args: Args, kwargs: Kwargs) -> tuple[CachePolicy, list[str]] | None:
    """Return the policy and the keys of a call; None where the call bypasses the cache."""
    if modes.current_mode() != "on":
        if not spec.is_auditable:
            mark_unauditable()
        return None
    policy, keys = spec.resolve_call(args, kwargs)
    # What this transaction has invalidated is old for itself already, before the invalidation is sent at the commit.
    return None if transactions.waiting and transactions.invalidated_in_transaction(keys) else (policy, keys)


class BaseCall(Generic[U]):
    """
    A cached function with the arguments of one call.

    Two calls are equal where one invalidation reaches both: the same function, and arguments that its key does not tell
    apart, in any form. To compare calls, or to hash one, works out its key.
    """

    def __init__(self, function: CachedFunction[..., U], args: Args, kwargs: Kwargs) -> None:
        """Keep the function and the arguments; a verb is the first to look at them."""
        self._function = function
        self._spec = function._spec  # noqa: SLF001 -- a call is a part of its function
        self._args = args
        self._kwargs = kwargs

    def uncached(self) -> U:
        """Call the plain function: look nothing up, and store nothing."""
        return self._function.uncached(*self._args, **self._kwargs)

    def invalidate(self) -> None:
        """Invalidate this call. Otherwise as the verb of the function."""
        if modes.current_mode() != "off":
            invalidate(self._spec.options["using"], *self._own_tokens())

    async def ainvalidate(self) -> None:
        """Do as `invalidate()`, from async code."""
        await sync_to_async(self.invalidate)()

    def _arguments(self) -> Args:
        """Return the positional arguments, with what the function is bound to as the first."""
        self._function._check_order(self._args)  # noqa: SLF001 -- as above
        return self._function._head + self._args  # noqa: SLF001 -- as above

    def _own_tokens(self) -> list[Invalidation]:
        """Return what invalidates the call, and nothing else."""
        return [self._spec.own_token(self._arguments(), self._kwargs)]

    def _identity(self) -> tuple[str, ...]:
        return tuple([token.key for token in self._own_tokens()])

    def __eq__(self, other: object) -> bool:
        """Compare functions, and what tells calls of the function apart."""
        if not isinstance(other, BaseCall):
            return NotImplemented
        return self._spec is other._spec and self._identity() == other._identity()

    def __hash__(self) -> int:
        """Hash what is compared."""
        return hash(self._identity())

    def __repr__(self) -> str:
        """Show the function's name and the arguments, cut to a readable length."""
        args = self._function._head + self._args  # noqa: SLF001 -- as above
        text = ", ".join([*map(repr, args), *(f"{name}={value!r}" for name, value in self._kwargs.items())])
        cut = text if len(text) <= LONGEST_ARGUMENTS else f"{text[:LONGEST_ARGUMENTS]}..."
        return f"<call of {self._spec.name}({cut})>"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by the function, which is pickled by name, and the arguments."""
        return type(self), (self._function, self._args, self._kwargs)


class SingleCall(BaseCall[U], Generic[V, U]):
    """The verbs that sync and async calls share."""

    def peek(self) -> V | Missing:
        """
        Return the stored value, or `MISSING`; never compute, and count no hit or miss.

        `MISSING` wherever a call would compute: past the timeout, invalidated, bypassed.
        """
        admitted = self._admitted()
        if admitted is None:
            mark_unauditable()  # an audited computation does not see what is stored
            return MISSING
        asked, found, entry = read_entry(*admitted)
        if entry is None or entry.expires <= time():
            return MISSING
        record_dependency(admitted[0].store.alias, asked, found)
        return cast("V", entry.value)

    def set(self, value: V) -> None:
        """
        Store a value that the caller already has for this call.

        It must not be older than the last invalidation: only a computation that cachedeco runs itself can be checked
        for that. Stored as a computed value would be: not while bypassed, at commit inside `atomic()`, and not at all
        where the transaction's snapshot may be old. Where it is not stored, what is stored is invalidated.

        Raises:
            TypeError: The value is of a kind that the function may not return either, as an iterator.
        """
        admitted = self._admitted()
        if admitted is None:
            self.invalidate()
            return
        policy, keys = admitted
        outcome = materialize(policy.function, Ok(value))
        if isinstance(outcome, Err):
            raise outcome.error
        stamp = build_stamp(policy, keys, policy.store.get_many(keys[1:]))
        store_value(PendingEntry(policy, keys[0], stamp, {}, 0.0), value, self.invalidate)

    def key(self) -> str:
        """Return the key of the entry, as Django's cache takes it: without the prefix that Django adds."""
        return self._spec.resolve_call(self._arguments(), self._kwargs)[1][0]

    async def apeek(self) -> V | Missing:
        """Do as `peek()`, from async code."""
        return await sync_to_async(self.peek)()

    async def aset(self, value: V) -> None:
        """Do as `set()`, from async code."""
        await sync_to_async(self.set)(value)

    async def akey(self) -> str:
        """Do as `key()`, from async code: a key may read an attribute that needs the database."""
        return await sync_to_async(self.key)()

    def _admitted(self) -> tuple[CachePolicy, list[str]] | None:
        return admit(self._spec, self._arguments(), self._kwargs)

    def _refresh_flow(self) -> Flow[V]:
        """Return the flow that computes and stores; what it does not store it invalidates, as what is stored is old."""
        admitted = self._admitted()
        if admitted is None:
            return bypass_flow(self._spec.name, self.invalidate)
        policy, keys = admitted
        return refresh_flow(Miss(policy, keys, policy.store.get_many(keys[1:])), self.invalidate)

    def _computation(self) -> Callable[[], Any]:
        return partial(self._spec.source.function, *self._arguments(), **self._kwargs)


class Call(SingleCall[V, V], Generic[V]):
    """
    One call of a cached function: call it as the function, or use the verbs, which take no arguments here.

    ::

        call = club_classes.call(club)
        call()                         # as club_classes(club)
        call.invalidate()              # as club_classes.invalidate(club)
        call.set(classes)              # store a value that the caller already has
    """

    def __call__(self) -> V:
        """Return the stored value of the call, or compute it and store it."""
        return cast("V", cast("Any", self._function)(*self._args, **self._kwargs))

    def refresh(self) -> V:
        """Compute now, store, and return the value, also where one is stored. Otherwise as the verb of the function."""
        return run(self._refresh_flow(), self._computation())

    async def arefresh(self) -> V:
        """Do as `refresh()`, from async code."""
        return await sync_to_async(self.refresh)()


class AsyncCall(SingleCall[V, Coroutine[Any, Any, V]], Generic[V]):
    """One call of a cached async function. `refresh()` raises: only `arefresh()` can await the function."""

    def __init__(self, function: CachedFunction[..., Coroutine[Any, Any, V]], args: Args, kwargs: Kwargs) -> None:
        """Keep the function and the arguments, and look like an async function."""
        super().__init__(function, args, kwargs)
        markcoroutinefunction(cast("Any", self))

    async def __call__(self) -> V:
        """Return the stored value of the call, or compute it and store it."""
        return cast("V", await cast("Any", self._function)(*self._args, **self._kwargs))

    async def uncached(self) -> V:
        """Call the plain function: look nothing up, and store nothing."""
        return await super().uncached()

    async def arefresh(self) -> V:
        """Compute now, store, and return the value, also where one is stored."""
        flow = await sync_to_async(self._refresh_flow)()
        return await arun(flow, self._computation())

    if TYPE_CHECKING:
        pass
    else:  # type checkers report its use as that of a verb that is not there

        def refresh(self) -> None:
            """Raise: only `arefresh()` can await the function."""
            refuse_refresh(self._spec)


def refuse_refresh(spec: FunctionSpec) -> None:
    """
    Raise, in the place of the verb that an async function lacks.

    Raises:
        TypeError: Always.
    """
    msg = f"{spec.name}() is async, and refresh() would have to await it: use arefresh()."
    raise TypeError(msg)
