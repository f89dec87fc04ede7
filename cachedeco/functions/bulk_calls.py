"""`CallMany`: one call of a cached function over many ids as an object; and the path of a hit over many ids."""

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
from cachedeco.invalidation import commits
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
U = TypeVar("U")  # the plain function's return type: a mapping, or a coroutine

Work = tuple[Flow[Values], Callable[[list[Any]], Any]]  # the arguments of run() and arun(): flow, computation


class BulkArguments(NamedTuple):
    """The arguments of a call over many ids, and the position of the ids in them."""

    args: Args
    kwargs: Kwargs
    position: int | str  #: index in the arguments, or name in the keyword arguments
    ids: list[Any]  #: in the order of the call, each once

    def for_id(self, one_id: object) -> tuple[Args, Kwargs]:
        """Return the arguments for the key of one id, which is called `each` there."""
        if isinstance(self.position, str):
            kwargs = {name: value for name, value in self.kwargs.items() if name != self.position}
            return self.args, {**kwargs, ONE_ID: one_id}
        return self.with_ids(one_id)

    def with_ids(self, ids: object) -> tuple[Args, Kwargs]:
        """Return the arguments with other ids, or with one id, in the place of the ids."""
        if isinstance(self.position, str):
            return self.args, {**self.kwargs, self.position: ids}
        return (*self.args[: self.position], ids, *self.args[self.position + 1 :]), self.kwargs


class AdmittedCall(NamedTuple):
    """A call that does not bypass the cache: its policy, and for each id the keys of its entry and tokens."""

    policy: CachePolicy
    keys: dict[Any, list[str]]  #: by id
    bypassed: AbstractSet[Any]  #: ids that this transaction has invalidated, which it must not read until the commit

    def read(self) -> Iterator[tuple[Any, Miss]]:
        """Read the entries of all ids that are not bypassed; yield each id with what a miss of it needs."""
        keys_by_id = {one_id: keys for one_id, keys in self.keys.items() if one_id not in self.bypassed}
        results = read_entries(self.policy, list(keys_by_id.values()))
        for (one_id, keys), (entry_keys, raw, entry) in zip(keys_by_id.items(), results, strict=True):
            yield one_id, Miss(self.policy, keys, raw, entry_keys, entry)

    def misses(self) -> dict[Any, Miss]:
        """Return a miss for each id, with the tokens as read now: to compute or store all ids anew."""
        tokens = dict.fromkeys(key for keys in self.keys.values() for key in keys[1:])
        raw = many_caches.get_many_across_caches(self.policy.store, list(tokens))
        return {one_id: Miss(self.policy, keys, raw) for one_id, keys in self.keys.items()}

    def invalidate(self, entry_keys: Sequence[str]) -> None:
        """Invalidate the ids whose entries have these keys."""
        own_tokens = {keys[0]: keys[1] for keys in self.keys.values()}
        store, lifetime = self.policy.store, self.policy.lifetime
        invalidate(self.policy.using, *[Invalidation(store, own_tokens[key], lifetime) for key in entry_keys])


class BulkSpec(NamedTuple):
    """A function over many ids: its spec, and which parameter takes the ids."""

    spec: FunctionSpec
    over: str
    signature: Signature

    def find_ids(self, args: Args, kwargs: Kwargs) -> BulkArguments:
        """
        Find the ids in the arguments of a call.

        Raises:
            TypeError: The function does not accept the arguments, or the ids are no collection.
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
        position = self.over if by_name else list(self.signature.parameters).index(self.over)
        return BulkArguments(bound.args, bound.kwargs, position, list(dict.fromkeys(ids)))

    def computation(self, call: BulkArguments) -> Callable[[list[Any]], Any]:
        """Return a callable that calls the plain function for some of the ids."""

        def compute(ids: list[Any]) -> Any:
            args, kwargs = call.with_ids(ids)
            return self.spec.source.function(*args, **kwargs)

        return compute

    def admit(self, call: BulkArguments) -> AdmittedCall | None:
        """Return the policy and the keys of a call; None if it bypasses the cache, or has no ids."""
        if not call.ids or modes.current_mode() != "on":
            if not self.spec.is_auditable:
                collector.mark_unauditable()
            return None
        policy, all_keys = self.spec.resolve_calls(map(call.for_id, call.ids))
        keys_by_id = dict(zip(call.ids, all_keys, strict=True))
        bypassed: set[Any] = set()
        if commits.has_pending():
            bypassed.update(one_id for one_id, keys in keys_by_id.items() if commits.invalidated_in_transaction(keys))
        return AdmittedCall(policy, keys_by_id, bypassed)

    def serve(self, args: Args, kwargs: Kwargs) -> tuple[dict[Any, Any], None] | tuple[None, Work]:
        """Return the stored values, or the flow that computes the others. This is all that a hit does."""
        call = self.find_ids(args, kwargs)
        admitted = self.admit(call)
        if admitted is None:
            return None, (bypass_each_flow(self.spec.name, call.ids), self.computation(call))
        policy, keys_by_id, bypassed = admitted
        values: Values = {}
        stale: dict[Any, Miss] = {}
        sampled: dict[Any, Miss] = {}  # hits to audit
        missing = {one_id: Miss(policy, keys_by_id[one_id], None) for one_id in bypassed}
        for one_id, result in admitted.read():
            entry = result.entry
            if entry is None or entry.expires + policy.stale_while_revalidate <= time():
                missing[one_id] = result
                continue
            purpose = "refresh" if entry.expires <= time() else policy.inspects_hits and inspect_hit(policy, entry)
            if purpose == "refresh":
                stale[one_id] = result
                continue
            values[one_id] = serve(result).value
            if purpose:
                sampled[one_id] = result
        if len(values) == len(keys_by_id) and not sampled:
            return without_absent(call.ids, values), None
        missing = {one_id: missing[one_id] for one_id in keys_by_id if one_id in missing}  # in the order of the call
        flow = batch_flow(Batch(policy, call.ids, values, stale, missing, bypassed))
        if sampled:
            flow = auditor().audited_batch_flow(sampled, partial(self._keys_of, call), flow)
        return None, (flow, self.computation(call))

    def _keys_of(self, call: BulkArguments, ids: Sequence[Any]) -> list[list[str]]:
        return self.spec.resolve_calls(map(call.for_id, ids))[1]


class BulkCall(BaseCall[U], Generic[K, V, U]):
    """The verbs that sync and async calls over many ids share. The collection of the ids is read once."""

    def __init__(self, function: CachedFunction[..., U], args: Args, kwargs: Kwargs) -> None:
        """Keep the function and the arguments; the first verb looks at them."""
        super().__init__(function, args, kwargs)
        self._bulk: BulkSpec = cast("Any", function)._bulk  # noqa: SLF001 -- a call is a part of its function

    def peek(self) -> dict[K, V]:
        """
        Return the stored values, by id; never compute, and count no hit or miss.

        Ids that a call would compute are left out, and ids that are stored as absent.
        """
        call = self._bulk_arguments
        admitted = self._bulk.admit(call)
        values: Values = dict.fromkeys(call.ids, ABSENT)
        if admitted is None:
            collector.mark_unauditable()  # an audited computation must not see stored values
        for one_id, result in admitted.read() if admitted else ():
            if result.entry is not None and result.entry.expires > time():
                collector.record_dependency(result.policy.store.alias, result.entry_keys, result.raw or {})
                values[one_id] = result.entry.value
        return cast("dict[K, V]", without_absent(call.ids, values))

    def set(self, values: Mapping[K, V]) -> None:
        """
        Store values that the caller already has: the mapping that the function would return for this call.

        Ids of the call without a value are stored as absent. Values of other ids are not stored. Otherwise as
        `Call.set()`: the values must not be older than the last invalidation, and an id that is not stored is
        invalidated.

        Raises:
            TypeError: The values are no mapping, or its ids have another type.
        """
        call = self._bulk_arguments
        outcome = materialize_each(self._spec.name, values, call.ids)
        if isinstance(outcome, Err):
            raise outcome.error
        admitted = self._bulk.admit(call)
        if admitted is None:
            self.invalidate()
            return
        misses = admitted.misses()
        stamps = stamps_of(admitted.policy, misses, admitted.bypassed)
        pending = [
            PendingEntry(admitted.policy, miss.keys[0], stamps[one_id], {}, 0.0) for one_id, miss in misses.items()
        ]
        store_values(list(zip(pending, outcome.value.values(), strict=True)), admitted.invalidate)

    def keys(self) -> dict[K, str]:
        """Return the keys of the entries, by id, as Django's cache takes them: without the prefix that Django adds."""
        call = self._bulk_arguments
        all_keys = self._spec.resolve_calls(map(call.for_id, call.ids))[1]
        return {one_id: keys[0] for one_id, keys in zip(call.ids, all_keys, strict=True)}

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
    def _bulk_arguments(self) -> BulkArguments:
        """The arguments with their ids, found once: a collection may be an iterator."""
        return self._bulk.find_ids(self._arguments(), self._kwargs)

    def _own_tokens(self) -> list[Invalidation]:
        return [self._spec.own_token(*self._bulk_arguments.for_id(one_id)) for one_id in self._bulk_arguments.ids]

    def _serve(self) -> tuple[dict[K, V], None] | tuple[None, Work]:
        return self._bulk.serve(*self._bulk_arguments.with_ids(self._bulk_arguments.ids))

    def _refresh_work(self) -> Work:
        """Return the flow that computes and stores; it invalidates ids that it can't store: their entries are old."""
        call = self._bulk_arguments
        admitted = self._bulk.admit(call)
        if admitted is None:
            return bypass_each_flow(self._spec.name, call.ids, self.invalidate), self._bulk.computation(call)
        batch = Batch(admitted.policy, call.ids, {}, {}, admitted.misses(), admitted.bypassed)
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
        """Return the stored values of the ids, and compute and store those that are missing."""
        values, work = self._serve()
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
        """Return the stored values of the ids, and compute and store those that are missing."""
        values, work = await sync_to_async(self._serve)()
        return cast("dict[K, V]", await arun(*work) if work else values)

    async def uncached(self) -> Mapping[K, V]:
        """Call the plain function, without the cache."""
        return await super().uncached()

    async def arefresh(self) -> dict[K, V]:
        """Compute now for all the ids, store, and return the values, even if some are stored."""
        return cast("dict[K, V]", await arun(*await sync_to_async(self._refresh_work)()))

    if TYPE_CHECKING:
        pass
    else:  # hidden from type checkers, so that they report a call of it

        def refresh(self) -> None:
            """Raise: only `arefresh()` can await the function."""
            refuse_refresh(self._spec)
