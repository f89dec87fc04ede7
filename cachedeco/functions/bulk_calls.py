"""`CallMany`: one call of a cached function over many ids as an object, and how the ids of a call are found."""

from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import cached_property, partial
from inspect import Parameter, Signature
from time import time
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar, cast

from asgiref.sync import markcoroutinefunction, sync_to_async

from cachedeco.functions.base import Args, CachedFunction, Kwargs
from cachedeco.functions.calls import BaseCall, refuse_refresh
from cachedeco.functions.spec import FunctionSpec
from cachedeco.invalidation import transactions
from cachedeco.invalidation.delivery import Invalidation, invalidate
from cachedeco.keys.expressions import ONE_ID
from cachedeco.loading.batch import materialize_each, read_entries, store_values, without_absent
from cachedeco.loading.bulk import Batch, Values, batch_flow, bypass_each_flow, refresh_each_flow, stamps_of
from cachedeco.loading.computing import Miss, serve
from cachedeco.loading.effects import Err, Flow, arun, run
from cachedeco.loading.policy import CachePolicy
from cachedeco.loading.sampling import auditor, inspect_hit
from cachedeco.loading.writing import PendingEntry
from cachedeco.runtime import modes
from cachedeco.storage import many_caches
from cachedeco.storage.serializers import ABSENT
from cachedeco.tracking import collector

K = TypeVar("K")  # an id
V = TypeVar("V")  # its value
U = TypeVar("U")  # what the plain function returns: a mapping, or a coroutine that gives one

Work = tuple[Flow[Values], Callable[[list[Any]], Any]]  # what a driver takes


class Placed(NamedTuple):
    """A call, and where in it the ids are."""

    args: Args
    kwargs: Kwargs
    place: int | str  #: index in the arguments, or name in the keyword arguments
    ids: list[Any]  #: in the order asked, each once

    def of_one(self, one_id: object) -> tuple[Args, Kwargs]:
        """Return the arguments of the key of one id, which is called `each` there."""
        if isinstance(self.place, str):
            kwargs = {name: value for name, value in self.kwargs.items() if name != self.place}
            return self.args, {**kwargs, ONE_ID: one_id}
        return self.taking(one_id)

    def taking(self, what: object) -> tuple[Args, Kwargs]:
        """Return the arguments with something else in the place of the ids."""
        if isinstance(self.place, str):
            return self.args, {**self.kwargs, self.place: what}
        return (*self.args[: self.place], what, *self.args[self.place + 1 :]), self.kwargs


class Admitted(NamedTuple):
    """A call that goes to the cache: its policy, and for each id the keys of its entry and tokens."""

    policy: CachePolicy
    rows: dict[Any, list[str]]
    bypassed: AbstractSet[
        Any
    ]  #: what this transaction has invalidated: old for this transaction alone, until the commit

    def looks(self) -> Iterator[tuple[Any, Miss]]:
        """Look up all that is not bypassed."""
        rows = {each: row for each, row in self.rows.items() if each not in self.bypassed}
        looks = read_entries(self.policy, list(rows.values()))
        for (each, row), (asked, found, entry) in zip(rows.items(), looks, strict=True):
            yield each, Miss(self.policy, row, found, asked, entry)

    def calls(self) -> dict[Any, Miss]:
        """Return the calls to compute for all ids, with their tokens as they are now."""
        tokens = dict.fromkeys(key for row in self.rows.values() for key in row[1:])
        found = many_caches.get_many_across_caches(self.policy.store, list(tokens))
        return {each: Miss(self.policy, row, found) for each, row in self.rows.items()}

    def invalidate(self, keys: Sequence[str]) -> None:
        """Invalidate the ids whose entries have these keys."""
        own = {row[0]: row[1] for row in self.rows.values()}
        store, lifetime = self.policy.store, self.policy.lifetime
        invalidate(self.policy.using, *[Invalidation(store, own[key], lifetime) for key in keys])


class BulkSpec(NamedTuple):
    """A function over many ids: its spec, and which parameter takes the ids."""

    spec: FunctionSpec
    over: str
    signature: Signature

    def place(self, args: Args, kwargs: Kwargs) -> Placed:
        """
        Find the ids in the arguments of a call.

        Raises:
            TypeError: The function does not take the arguments, or the ids are no collection.
        """
        try:
            bound = self.signature.bind(*args, **kwargs)
        except TypeError as error:
            msg = f"{self.spec.name}(): {error}"
            raise TypeError(msg) from None
        bound.apply_defaults()
        ids = bound.arguments[self.over]
        if isinstance(ids, str | bytes) or not isinstance(ids, Iterable):
            msg = f"{self.spec.name}() got {self.over}={ids!r}; it takes a collection of ids: [{ids!r}]."
            raise TypeError(msg)
        by_name = self.signature.parameters[self.over].kind is Parameter.KEYWORD_ONLY
        place = self.over if by_name else list(self.signature.parameters).index(self.over)
        return Placed(bound.args, bound.kwargs, place, list(dict.fromkeys(ids)))

    def computation(self, call: Placed) -> Callable[[list[Any]], Any]:
        """Return what computes for some of the ids."""

        def compute(ids: list[Any]) -> Any:
            args, kwargs = call.taking(ids)
            return self.spec.source.function(*args, **kwargs)

        return compute

    def admit(self, call: Placed) -> Admitted | None:
        """Return the policy and the keys of a call; None where it bypasses the cache, or is for no ids."""
        if not call.ids or modes.current_mode() != "on":
            if not self.spec.is_auditable:
                collector.mark_unauditable()
            return None
        policy, rows = self.spec.resolve_calls(map(call.of_one, call.ids))
        bypassed: set[Any] = set()
        if transactions.waiting:
            bypassed.update(
                each for each, row in zip(call.ids, rows, strict=True) if transactions.invalidated_in_transaction(row)
            )
        return Admitted(policy, dict(zip(call.ids, rows, strict=True)), bypassed)

    def serve(self, args: Args, kwargs: Kwargs) -> tuple[dict[Any, Any], None] | tuple[None, Work]:
        """Return the stored values, or else the flow that gives all. This is all that a hit does."""
        call = self.place(args, kwargs)
        admitted = self.admit(call)
        if admitted is None:
            return None, (bypass_each_flow(self.spec.name, call.ids), self.computation(call))
        policy, rows, bypassed = admitted
        values: Values = {}
        due: dict[Any, Miss] = {}
        sampled: dict[Any, Miss] = {}
        missing = {each: Miss(policy, rows[each], None) for each in bypassed}
        for each, one in admitted.looks():
            entry = one.entry
            if entry is None or entry.expires + policy.stale_while_revalidate <= time():
                missing[each] = one
                continue
            purpose = "refresh" if entry.expires <= time() else policy.inspects_hits and inspect_hit(policy, entry)
            if purpose == "refresh":
                due[each] = one
                continue
            values[each] = serve(one).value
            if purpose:
                sampled[each] = one
        if len(values) == len(rows) and not sampled:
            return without_absent(call.ids, values), None
        missing = {each: missing[each] for each in rows if each in missing}  # in the order asked
        flow = batch_flow(Batch(policy, call.ids, values, due, missing, bypassed))
        if sampled:
            flow = auditor().audited_batch_flow(sampled, partial(self._keys_of, call), flow)
        return None, (flow, self.computation(call))

    def _keys_of(self, call: Placed, ids: Sequence[Any]) -> list[list[str]]:
        return self.spec.resolve_calls(map(call.of_one, ids))[1]


class BulkCall(BaseCall[U], Generic[K, V, U]):
    """The verbs that sync and async calls over many ids share. The collection of the ids is read once."""

    def __init__(self, function: CachedFunction[..., U], args: Args, kwargs: Kwargs) -> None:
        """Keep the function and the arguments; the first verb looks at them."""
        super().__init__(function, args, kwargs)
        self._bulk: BulkSpec = cast("Any", function)._bulk  # noqa: SLF001 -- a call is a part of its function

    def peek(self) -> dict[K, V]:
        """
        Return the stored values, by id; never compute, and count no hit or miss.

        Ids for which a call would compute are not in it, nor are those that are remembered as absent.
        """
        call = self._placed
        admitted = self._bulk.admit(call)
        values: Values = dict.fromkeys(call.ids, ABSENT)
        if admitted is None:
            collector.mark_unauditable()  # an audited computation does not see what is stored
        for each, one in admitted.looks() if admitted else ():
            if one.entry is not None and one.entry.expires > time():
                collector.record_dependency(one.policy.store.alias, one.entry_keys, one.raw or {})
                values[each] = one.entry.value
        return cast("dict[K, V]", without_absent(call.ids, values))

    def set(self, values: Mapping[K, V]) -> None:
        """
        Store values that the caller already has: what the function would return for this call.

        Ids of the call that are not among the values are remembered as absent. Values of other ids are not stored.
        Otherwise as `Call.set()`: they must not be older than the last invalidation, and what is not stored is
        invalidated.

        Raises:
            TypeError: The values are no mapping, or have the ids in another type.
        """
        call = self._placed
        outcome = materialize_each(self._spec.name, values, call.ids)
        if isinstance(outcome, Err):
            raise outcome.error
        admitted = self._bulk.admit(call)
        if admitted is None:
            self.invalidate()
            return
        calls = admitted.calls()
        stamps = stamps_of(admitted.policy, calls, admitted.bypassed)
        pending = [PendingEntry(admitted.policy, one.keys[0], stamps[each], {}, 0.0) for each, one in calls.items()]
        store_values(list(zip(pending, outcome.value.values(), strict=True)), admitted.invalidate)

    def keys(self) -> dict[K, str]:
        """Return the keys of the entries, by id, as Django's cache takes them: without the prefix that Django adds."""
        call = self._placed
        rows = self._spec.resolve_calls(map(call.of_one, call.ids))[1]
        return {each: row[0] for each, row in zip(call.ids, rows, strict=True)}

    async def apeek(self) -> dict[K, V]:
        """Do as `peek()`, from async code."""
        return await sync_to_async(self.peek)()

    async def aset(self, values: Mapping[K, V]) -> None:
        """Do as `set()`, from async code."""
        await sync_to_async(self.set)(values)

    async def akeys(self) -> dict[K, str]:
        """Do as `keys()`, from async code: a key may read an attribute that needs the database."""
        return await sync_to_async(self.keys)()

    @cached_property
    def _placed(self) -> Placed:
        """The arguments with the ids found in them; a collection may be one that can be read once only."""
        return self._bulk.place(self._arguments(), self._kwargs)

    def _own_tokens(self) -> list[Invalidation]:
        return [self._spec.own_token(*self._placed.of_one(each)) for each in self._placed.ids]

    def _served(self) -> tuple[dict[K, V], None] | tuple[None, Work]:
        return self._bulk.serve(*self._placed.taking(self._placed.ids))

    def _refresh_work(self) -> Work:
        """Return the flow that computes and stores; what it does not store it invalidates, as what is stored is old."""
        call = self._placed
        admitted = self._bulk.admit(call)
        if admitted is None:
            return bypass_each_flow(self._spec.name, call.ids, self.invalidate), self._bulk.computation(call)
        batch = Batch(admitted.policy, call.ids, {}, {}, admitted.calls(), admitted.bypassed)
        return refresh_each_flow(batch, admitted.invalidate), self._bulk.computation(call)


class CallMany(BulkCall[K, V, Mapping[K, V]], Generic[K, V]):
    """
    One call of a cached function over many ids: call it as the function, or use the verbs without arguments.

    ::

        call = clubs_by_id.call([1, 2])
        call()                         # as clubs_by_id([1, 2])
        call.invalidate()              # as clubs_by_id.invalidate([1, 2])
        call.set({1: club})            # store values that the caller already has: here 2 is absent
    """

    def __call__(self) -> dict[K, V]:
        """Return the stored values of the ids, and compute and store what is missing."""
        values, work = self._served()
        return cast("dict[K, V]", run(*work) if work else values)

    def refresh(self) -> dict[K, V]:
        """Compute now for all the ids, store, and return the values. Otherwise as `CachedQuery.refresh()`."""
        return cast("dict[K, V]", run(*self._refresh_work()))

    async def arefresh(self) -> dict[K, V]:
        """Do as `refresh()`, from async code."""
        return await sync_to_async(self.refresh)()


class AsyncCallMany(BulkCall[K, V, Coroutine[Any, Any, Mapping[K, V]]], Generic[K, V]):
    """One call of a cached async function over many ids. `refresh()` raises: only `arefresh()` can await."""

    def __init__(
        self, function: CachedFunction[..., Coroutine[Any, Any, Mapping[K, V]]], args: Args, kwargs: Kwargs
    ) -> None:
        """Keep the function and the arguments, and look like an async function."""
        super().__init__(function, args, kwargs)
        markcoroutinefunction(cast("Any", self))

    async def __call__(self) -> dict[K, V]:
        """Return the stored values of the ids, and compute and store what is missing."""
        values, work = await sync_to_async(self._served)()
        return cast("dict[K, V]", await arun(*work) if work else values)

    async def uncached(self) -> Mapping[K, V]:
        """Call the plain function: look nothing up, and store nothing."""
        return await super().uncached()

    async def arefresh(self) -> dict[K, V]:
        """Compute now for all the ids, store, and return the values, also where some are stored."""
        return cast("dict[K, V]", await arun(*await sync_to_async(self._refresh_work)()))

    if TYPE_CHECKING:
        pass
    else:  # type checkers report its use as that of a verb that is not there

        def refresh(self) -> None:
            """Raise: only `arefresh()` can await the function."""
            refuse_refresh(self._spec)
