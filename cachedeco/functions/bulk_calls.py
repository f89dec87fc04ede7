"""`CallMany`: one call of a cached function over many ids as an object; and the path of a hit over many ids."""

from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from inspect import Parameter, Signature
from itertools import islice
from time import time
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar, cast

from asgiref.sync import markcoroutinefunction, sync_to_async
from django.core.exceptions import SynchronousOnlyOperation

from cachedeco.functions.base import Args, CachedFunction, Kwargs
from cachedeco.functions.bulk_arguments import IN_MEMORY, AdmittedCall, BulkArguments
from cachedeco.functions.bypassing import BY_MODE, BypassError, bypass_without_key
from cachedeco.functions.calls import BaseCall, SyncCall, Work, may_ask_on_loop, refuse_refresh
from cachedeco.functions.explaining import Arguments, Explanation, call_text, explain_calls
from cachedeco.functions.spec import FunctionSpec
from cachedeco.functions.vain import remember_kinds
from cachedeco.invalidation import commits
from cachedeco.loading.computing import Load, bypass_flow, present_values, refresh_flow, serve_each, store_given
from cachedeco.loading.effects import Err, Flow, Ok, arun, run, unwrap
from cachedeco.loading.lookup import Found, Wanted, recall_or_look_up, record_found
from cachedeco.loading.materializing import Values, materialize, without_absent
from cachedeco.loading.on_loop import recall_or_look_up_on_loop
from cachedeco.loading.refreshing import enqueue, stale_flow
from cachedeco.loading.sampling import auditor, inspect_hit
from cachedeco.loading.single_flight import load_flow
from cachedeco.loading.tables import look_closely
from cachedeco.runtime import modes
from cachedeco.runtime.interrupts import pass_interrupt
from cachedeco.runtime.reprs import repr_of
from cachedeco.runtime.templates import alters_data
from cachedeco.storage.serializers import ABSENT, Raised
from cachedeco.tracking import collector

K = TypeVar("K")  # an id
V = TypeVar("V")  # its value
U = TypeVar("U")  # the plain function's return type: a mapping, or a coroutine


class BulkSpec(NamedTuple):
    """A function over many ids: its spec, and which parameter takes the ids."""

    spec: FunctionSpec
    over: str
    signature: Signature

    def find_ids(self, args: Args, kwargs: Kwargs, *, on_loop: bool = False) -> BulkArguments:
        """
        Find the ids in the arguments of a call.

        Raises:
            TypeError: The function does not accept the arguments, or the ids are no collection.
            SynchronousOnlyOperation: Ids that may come from a database can't be read on an event loop.
        """
        try:
            bound = self.signature.bind(*args, **kwargs)
        except TypeError as error:
            msg = f"{self.spec.name}(): {error}"
            raise TypeError(msg) from None
        bound.apply_defaults()
        ids = bound.arguments[self.over]
        if on_loop and type(ids) not in IN_MEMORY:
            raise SynchronousOnlyOperation
        if isinstance(ids, str | bytes) or not isinstance(ids, Iterable):
            given = repr_of(ids, self.over)
            msg = f"{self.spec.name}() got {self.over}={given}; it takes a collection of ids: [{given}]."
            raise TypeError(msg)
        by_name = self.signature.parameters[self.over].kind is Parameter.KEYWORD_ONLY
        position = self.over if by_name else list(self.signature.parameters).index(self.over)
        return BulkArguments(bound.args, bound.kwargs, position, list(dict.fromkeys(ids)))

    def find_ids_on_loop(self, args: Args, kwargs: Kwargs) -> BulkArguments | None:
        """Do as `find_ids()` on an event loop; return None if a thread is to do it. Then no iterator was begun."""
        try:
            return self.find_ids(args, kwargs, on_loop=True)
        except Exception as error:  # noqa: BLE001 -- an id may ask the database for its hash; the thread tries it again
            pass_interrupt(error)
            return None

    def computation(self, call: BulkArguments) -> Callable[[list[Any]], Any]:
        """Return a callable that calls the plain function for some of the ids."""

        def compute(ids: list[Any]) -> Any:
            args, kwargs = call.with_ids([*ids])  # its own list: it may change it
            return self.spec.source.function(*args, **kwargs)

        return compute

    def admit(self, call: BulkArguments) -> AdmittedCall:
        """
        Return the policy and the keys of a call.

        Raises:
            BypassError: The call bypasses the cache, or has no ids.
        """
        mode = modes.current_mode()
        if not call.ids or mode != "on":
            if not self.spec.is_auditable:
                collector.mark_unauditable()
            raise BypassError(BY_MODE[mode] if call.ids else "")
        try:
            policy, all_keys = self.spec.resolve_calls(call.for_each(call.ids))
        except Exception as error:
            pass_interrupt(error)
            bypass = bypass_without_key(self.spec, error, *next(call.for_each(call.ids)))
            if bypass is None:
                raise
            raise bypass from None
        keys_by_id = dict(zip(call.ids, all_keys, strict=True))
        bypassed: set[Any] = set()
        if commits.has_pending():
            bypassed.update(one_id for one_id, keys in keys_by_id.items() if commits.invalidated_in_transaction(keys))
        return AdmittedCall(policy, keys_by_id, bypassed)

    def serve(self, function: CachedFunction[..., Any], call: BulkArguments) -> dict[Any, Any] | Work:
        """Return the stored values, or the work that computes the others. This is all that a hit does."""
        try:
            admitted = self.admit(call)
        except BypassError as bypass:
            return self.bypass(call, bypass.reason)
        return self.serve_found(function, call, admitted, recall_or_look_up(admitted.wanted))

    async def serve_on_loop(self, function: CachedFunction[..., Any], call: BulkArguments) -> dict[Any, Any] | Work:
        """Do as `serve()`, for async code: hits that need no thread are served here. This is all that they do."""
        admitted = self.admit_on_loop(call)
        results = None if admitted is None else await recall_or_look_up_on_loop(admitted.wanted)
        if admitted is None or results is None:
            return await sync_to_async(self.serve)(function, call)
        if callable(results):
            return Work(self._serve_later(function, call, admitted, results), self.computation(call))
        return self.serve_found(function, call, admitted, results)

    def admit_on_loop(self, call: BulkArguments) -> AdmittedCall | None:
        """Do as `admit()` if the entries can be looked up on an event loop; else return None."""
        if not call.ids or not may_ask_on_loop(self.spec):
            return None
        try:
            policy, all_keys = self.spec.resolve_calls(call.for_each(call.ids))
        except Exception as error:  # noqa: BLE001 -- as of one call; the thread tries it again
            pass_interrupt(error)
            return None
        return AdmittedCall(policy, dict(zip(call.ids, all_keys, strict=True)), frozenset())

    def _serve_later(
        self,
        function: CachedFunction[..., Any],
        call: BulkArguments,
        admitted: AdmittedCall,
        look_up: Callable[[], Sequence[Found]],
    ) -> Flow[dict[Any, Any]]:
        """End a look-up in the thread in which a flow runs, and return the stored values, or compute the others."""
        served = self.serve_found(function, call, admitted, look_up())
        return (yield from served.flow) if isinstance(served, Work) else Ok(served)

    def bypass(self, call: BulkArguments, reason: str) -> Work:
        """Return the work of a call that bypasses the cache, or has no ids."""
        return Work(present_values(bypass_flow(self.spec.name, reason, call.ids), call.ids), self.computation(call))

    def serve_found(
        self,
        function: CachedFunction[..., Any],
        call: BulkArguments,
        admitted: AdmittedCall,
        results: Sequence[Found],
    ) -> dict[Any, Any] | Work:
        """Return the values that a look-up of the wanted ids has found, or the work that computes the others."""
        policy, keys_by_id, bypassed = admitted
        hits: dict[Any, Found] = {}
        stale: dict[Any, Found] = {}
        sampled: dict[Any, Found] = {}  # hits to audit
        missing = {one_id: Found(keys_by_id[one_id]) for one_id in bypassed}
        error: Raised | None = None  # it may be asked for alone, or with others: the function raises for it
        now, inspects = time(), policy.inspects_hits
        for one_id, found in zip(admitted.read_keys, results, strict=True):
            entry = found.entry
            # Without the values that were read it was a plain hit, and is one, though it may have ended since.
            is_over = entry is None or (entry.expires <= now and found.raw is not None)
            if entry is None or (is_over and policy.stale_until(entry) <= now):
                missing[one_id] = found
                continue
            purpose = "refresh" if is_over else inspects and inspect_hit(policy, entry)
            if purpose == "refresh":
                stale[one_id] = found
                continue
            hits[one_id] = found
            if entry.is_error:
                error = error or entry.value
            if purpose:
                sampled[one_id] = found
        values = serve_each(policy, hits)
        if error:
            raise error.let_go()
        if len(values) == len(keys_by_id) and not sampled:
            return without_absent(call.ids, values)
        missing = {one_id: missing[one_id] for one_id in keys_by_id if one_id in missing}  # in the order of the call
        remember_kinds(self.spec, partial(call.for_each, missing))
        load = Load(policy, missing, takes_ids=True, unstamped=bypassed, reinvocation=_Repeat(self, function, call))
        load = load._replace(arguments=(call.args, call.kwargs))
        flow = present_values(_complete(values, load._replace(misses=stale), load), call.ids)
        if sampled:
            flow = auditor().audited_flow(load._replace(misses=sampled), flow)
        return Work(flow, self.computation(call))


def _complete(values: Values, stale: Load, missing: Load) -> Flow[Values]:
    """Serve or refresh the stale ids, compute the missing ones, and return all values."""
    for load, flow in ((stale, stale_flow), (missing, load_flow)):
        if load.misses:
            outcome = yield from flow(load)
            if isinstance(outcome, Err):
                return outcome
            values = values | outcome.value
    return Ok(values)


class _Repeat(NamedTuple):
    """A way to repeat a call for some of its ids in another thread or task, to refresh their entries."""

    bulk: BulkSpec
    function: CachedFunction[..., Any]
    call: BulkArguments

    def resolve_keys(self, ids: Sequence[Any], /) -> list[list[str]]:
        """Return the keys of these ids in this thread: they may depend on its state, by `vary`."""
        return self.bulk.spec.resolve_calls(self.call.for_each(ids))[1]

    def enqueue(self, ids: Sequence[Any], /) -> None:
        """Enqueue a task that refreshes the entries of these ids."""
        args, kwargs = self.call.with_ids(list(ids))
        bound = len(self.function._bound_args)  # noqa: SLF001 -- ours
        call = cast("Any", self.function).call(*args[bound:], **kwargs)
        enqueue(call, [keys[0] for keys in self.resolve_keys(ids)])


class BulkCall(BaseCall[U, dict[K, V]], Generic[K, V, U]):
    """The verbs that sync and async calls over many ids share. The collection of the ids is read once."""

    def __init__(self, function: CachedFunction[..., U], args: Args, kwargs: Kwargs) -> None:
        """Keep the function and the arguments; the first verb looks at them."""
        super().__init__(function, args, kwargs)
        self._bulk: BulkSpec = cast("Any", function)._bulk  # noqa: SLF001 -- a call is a part of its function

    def _ask(self, wanted: list[Wanted]) -> AdmittedCall | Work:
        try:
            admitted = self._bulk.admit(self._bulk_arguments)
        except BypassError as bypass:
            return self._bulk.bypass(self._bulk_arguments, bypass.reason)
        wanted += admitted.wanted
        return admitted

    def _ask_on_loop(self, wanted: list[Wanted]) -> AdmittedCall | None:
        call = self._bulk_arguments_on_loop()
        admitted = None if call is None else self._bulk.admit_on_loop(call)
        if admitted is not None:
            wanted += admitted.wanted
        return admitted

    def _serve_found(self, asked: AdmittedCall, results: Iterator[Found]) -> object:
        # Taken before anything is served: what raises must not leave them to the next call.
        found = list(islice(results, len(asked.read_keys)))
        return self._bulk.serve_found(self._function, self._bulk_arguments, asked, found)

    def peek(self) -> dict[K, V]:
        """
        Return the stored values, by id; never compute, and count no hit or miss.

        Ids that a call would compute are left out, and ids that are stored as absent.
        """
        call = self._bulk_arguments
        values: Values = dict.fromkeys(call.ids, ABSENT)
        try:
            admitted = self._bulk.admit(call)
        except BypassError:
            collector.mark_unauditable()  # an audited computation must not see stored values
            collector.mark_uncacheable()
            return {}
        keys_by_id = admitted.read_keys
        for one_id, found in zip(keys_by_id, look_closely(admitted.policy, list(keys_by_id.values())), strict=True):
            if found.entry is not None and found.entry.expires > time():
                record_found(admitted.policy, found)
                if not found.entry.is_error:
                    values[one_id] = found.entry.value
            else:
                collector.mark_uncacheable(collector.NOTHING_FOUND.format(self._spec.name))
        return cast("dict[K, V]", without_absent(call.ids, values))

    @alters_data
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
        remember_kinds(self._spec, self._calls)
        given = unwrap(materialize(self._spec.name, values, call.ids, takes_ids=True))
        try:
            admitted = self._bulk.admit(call)
        except BypassError:
            self.invalidate()
            return
        calls = {one_id: found for one_id, found in admitted.tokens().items() if one_id not in admitted.bypassed}
        store_given(admitted.policy, calls, given, admitted.invalidate)
        admitted.invalidate([admitted.keys[one_id][0] for one_id in admitted.bypassed])

    def explain(self) -> dict[K, Explanation]:
        """Say what a call would do now for each id, and why. Otherwise as `Call.explain()`."""
        return self._explained()

    def keys(self) -> dict[K, str]:
        """Return the whole keys of the entries, by id, as the server gets them."""
        call = self._bulk_arguments
        return dict(zip(call.ids, self._entry_keys(), strict=True))

    async def apeek(self) -> dict[K, V]:
        """Do as `peek()`, from async code."""
        return await sync_to_async(self.peek)()

    @alters_data
    async def aset(self, values: Mapping[K, V]) -> None:
        """Do as `set()`, from async code."""
        await sync_to_async(self.set)(values)

    async def aexplain(self) -> dict[K, Explanation]:
        """Do as `explain()`, from async code."""
        return await sync_to_async(self.explain)()

    async def akeys(self) -> dict[K, str]:
        """Do as `keys()`, from async code: a key may read an attribute that needs the database."""
        return await sync_to_async(self.keys)()

    @cached_property
    def _bulk_arguments(self) -> BulkArguments:
        """The arguments with their ids, found once: a collection may be an iterator."""
        return self._bulk.find_ids(self._arguments(), self._kwargs)

    def _bulk_arguments_on_loop(self) -> BulkArguments | None:
        """Return the arguments with their ids; None if a thread is to find them."""
        if "_bulk_arguments" not in vars(self):
            found = self._bulk.find_ids_on_loop(self._arguments(), self._kwargs)
            if found is None:
                return None
            vars(self)["_bulk_arguments"] = found
        return self._bulk_arguments

    def _entry_keys(self) -> list[str]:
        call = self._bulk_arguments
        return [keys[0] for keys in self._spec.resolve_calls(call.for_each(call.ids))[1]]

    def _explained(self) -> dict[Any, Explanation]:
        call = self._bulk_arguments
        calls: dict[Any, Arguments] = dict(zip(call.ids, call.for_each(call.ids), strict=True))
        return explain_calls(self._spec, calls, {each: call_text(self._spec, *call.with_ids([each])) for each in calls})

    def _calls(self) -> Iterable[tuple[Args, Kwargs]]:
        return self._bulk_arguments.for_each(self._bulk_arguments.ids)

    def _serve(self) -> dict[K, V] | Work:
        return self._bulk.serve(self._function, self._bulk_arguments)

    def _refresh_work(self) -> Work:
        """Return the flow that computes and stores; it invalidates ids that it can't store: their entries are old."""
        call = self._bulk_arguments
        try:
            admitted = self._bulk.admit(call)
        except BypassError as bypass:
            flow = bypass_flow(self._spec.name, bypass.reason, call.ids, self._invalidate_if_possible)
            return Work(present_values(flow, call.ids), self._bulk.computation(call))
        load = Load(
            admitted.policy,
            admitted.tokens(),
            takes_ids=True,
            unstamped=admitted.bypassed,
            arguments=(call.args, call.kwargs),
        )
        remember_kinds(self._spec, self._calls)
        flow = refresh_flow(load, admitted.invalidate)
        return Work(present_values(flow, call.ids), self._bulk.computation(call))


class CallMany(BulkCall[K, V, Mapping[K, V]], SyncCall[dict[K, V]], Generic[K, V]):
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
        served = self._serve()
        return cast("dict[K, V]", run(*served)) if isinstance(served, Work) else served

    @alters_data
    def refresh(self) -> dict[K, V]:
        """Compute now for all the ids, store, and return the values. Otherwise as `CachedQuery.refresh()`."""
        return cast("dict[K, V]", run(*self._refresh_work()))

    @alters_data
    async def arefresh(self) -> dict[K, V]:
        """Do as `refresh()`, from async code."""
        return await sync_to_async(self.refresh)()


@markcoroutinefunction  # each call looks like an async function
class AsyncCallMany(BulkCall[K, V, Coroutine[Any, Any, Mapping[K, V]]], Generic[K, V]):
    """One call of a cached async function over many ids. `refresh()` raises: only `arefresh()` can await."""

    async def __call__(self) -> dict[K, V]:
        """Return the stored values of the ids, and compute and store those that are missing."""
        call = self._bulk_arguments_on_loop()
        serving = self._bulk.serve_on_loop(self._function, call) if call else sync_to_async(self._serve)()
        served = await serving
        return cast("dict[K, V]", await arun(*served)) if isinstance(served, Work) else served

    async def uncached(self) -> Mapping[K, V]:
        """Call the plain function, without the cache."""
        return await super().uncached()

    @alters_data
    async def arefresh(self) -> dict[K, V]:
        """Compute now for all the ids, store, and return the values, even if some are stored."""
        return await arun(self._refresh_in_thread(), self._compute)

    def _compute(self, ids: list[Any]) -> Any:
        # Not sooner: the ids may come from a database, and are read in the thread in which a flow runs.
        return self._bulk.computation(self._bulk_arguments)(ids)

    def _refresh_in_thread(self) -> Flow[dict[K, V]]:
        return (yield from self._refresh_work().flow)

    if TYPE_CHECKING:
        pass
    else:  # hidden from type checkers, so that they report a call of it

        @alters_data
        def refresh(self) -> None:
            """Raise: only `arefresh()` can await the function."""
            refuse_refresh(self._spec)
