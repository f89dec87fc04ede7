"""`CallMany`: one call of a cached function over many ids as an object, with the verbs of a call."""

from collections.abc import Coroutine, Iterable, Iterator, Mapping
from functools import cached_property
from itertools import islice
from time import time
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from asgiref.sync import markcoroutinefunction, sync_to_async

from cachedeco.functions.admission import BypassError, admit_many, admit_many_on_loop
from cachedeco.functions.base import Args, Kwargs, WithoutRefresh
from cachedeco.functions.bulk_arguments import AdmittedCall, BulkArguments
from cachedeco.functions.bulk_serving import BulkServing
from cachedeco.functions.calls import BaseCall, SyncCall
from cachedeco.functions.explaining import Explanation, call_text, explain_calls
from cachedeco.functions.invalidation_advice import look_at_computed
from cachedeco.functions.work import Work, flow_of, present_values, without_absent
from cachedeco.loading.effects import arun, run, unwrap
from cachedeco.loading.found import Found, Wanted, record_found
from cachedeco.loading.load import Load, misses_of
from cachedeco.loading.lookup import look_closely
from cachedeco.loading.materializing import Values, materialize
from cachedeco.loading.unshared import bypass_flow, refresh_flow, store_given
from cachedeco.runtime.frames import from_async
from cachedeco.runtime.templates import alters_data
from cachedeco.storage.refusals import ValueOrigin
from cachedeco.storage.serializers import ABSENT
from cachedeco.tracking import collector

if TYPE_CHECKING:
    from cachedeco.functions.spec import Arguments

K = TypeVar("K")  # an id
V = TypeVar("V")  # its value
U = TypeVar("U")  # the plain function's return type: a mapping, or a coroutine


class BulkCall(BaseCall[U, dict[K, V]], Generic[K, V, U]):
    """The verbs that sync and async calls over many ids share. The collection of the ids is read once."""

    def _serving(self) -> BulkServing[..., K, V, U]:
        """Return the function, as what it is; mypy would take an attribute for a descriptor."""
        return cast("Any", self._function)  # type: ignore[no-any-return] # as said

    def _ask(self, wanted: list[Wanted]) -> AdmittedCall | Work:
        try:
            admitted = admit_many(self._spec, self._bulk_arguments)
        except BypassError as bypass:
            return self._serving()._bypass(self._bulk_arguments, bypass.reason)
        wanted += admitted.wanted
        return admitted

    def _ask_on_loop(self, wanted: list[Wanted]) -> AdmittedCall | None:
        call = self._bulk_arguments_on_loop()
        admitted = None if call is None else admit_many_on_loop(self._spec, call)
        if admitted is not None:
            wanted += admitted.wanted
        return admitted

    def _serve_found(self, asked: AdmittedCall, results: Iterator[Found]) -> object:
        # Taken before anything is served: what raises must not leave them to the next call.
        found = list(islice(results, len(asked.read_keys)))
        return self._serving()._serve_found(self._bulk_arguments, asked, found)

    def peek(self) -> dict[K, V]:
        """Return the stored values, by id; never compute. Otherwise as the verb of the function."""
        call = self._bulk_arguments
        values: Values = dict.fromkeys(call.ids, ABSENT)
        try:
            admitted = admit_many(self._spec, call)
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
        look_at_computed(self._spec, self._calls)
        given = unwrap(materialize(ValueOrigin(self._spec.name, is_given=True), values, call.ids, takes_ids=True))
        try:
            admitted = admit_many(self._spec, call)
        except BypassError:
            self.invalidate()
            return
        calls = {one_id: found for one_id, found in admitted.tokens().items() if one_id not in admitted.bypassed}
        store_given(admitted.policy, calls, given, admitted.invalidate)
        admitted.invalidate([admitted.keys[one_id][0] for one_id in admitted.bypassed])

    def explain(self) -> dict[K, Explanation]:
        """Say what a call would do now for each id, and why. Otherwise as `Call.explain()`."""
        return self._explanations()

    def keys(self) -> dict[K, str]:
        """Return the whole keys of the entries, by id, as the server gets them."""
        call = self._bulk_arguments
        return dict(zip(call.ids, self._entry_keys(), strict=True))

    apeek = from_async(peek)
    aset = from_async(set)  # noqa: A003 -- the verb above
    aexplain = from_async(explain)
    akeys = from_async(keys)  # which may read attributes that need the database

    @cached_property
    def _bulk_arguments(self) -> BulkArguments:
        """The arguments with their ids, found once: a collection may be an iterator."""
        return self._serving()._bulk.find_ids(self._arguments(), self._kwargs)

    def _bulk_arguments_on_loop(self) -> BulkArguments | None:
        """Return the arguments with their ids; None if a thread is to find them."""
        if "_bulk_arguments" not in vars(self):
            found = self._serving()._bulk.find_ids_on_loop(self._arguments(), self._kwargs)
            if found is None:
                return None
            vars(self)["_bulk_arguments"] = found
        return self._bulk_arguments

    def _explanations(self) -> dict[Any, Explanation]:
        call = self._bulk_arguments
        calls: dict[Any, Arguments] = dict(zip(call.ids, call.for_each(call.ids), strict=True))
        return explain_calls(self._spec, calls, {each: call_text(self._spec, *call.with_ids([each])) for each in calls})

    def _calls(self) -> Iterable[tuple[Args, Kwargs]]:
        return self._bulk_arguments.for_each(self._bulk_arguments.ids)

    def _serve(self) -> dict[K, V] | Work:
        return self._serving()._serve(self._bulk_arguments)

    def _refresh_work(self) -> Work:
        """Return what computes and stores; it invalidates ids that it can't store: their entries are old."""
        call = self._bulk_arguments
        try:
            admitted = admit_many(self._spec, call)
        except BypassError as bypass:
            flow = bypass_flow(self._spec.name, bypass.reason, call.ids, self._invalidate_if_possible)
        else:
            look_at_computed(self._spec, self._calls)
            misses = misses_of(admitted.tokens(), admitted.bypassed)
            arguments = self._spec.arguments_of(call.args, call.kwargs, self._calls())
            load = Load(admitted.policy, misses, takes_ids=True, arguments=arguments)
            flow = refresh_flow(load, admitted.invalidate)
        return Work(present_values(flow, call.ids), self._serving()._computation(call))


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
        return cast("dict[K, V]", run(*served)) if type(served) is Work else served


class AsyncCallMany(BulkCall[K, V, Coroutine[Any, Any, Mapping[K, V]]], WithoutRefresh, Generic[K, V]):
    """One call of a cached async function over many ids. `refresh()` raises: only `arefresh()` can await."""

    async def __call__(self) -> dict[K, V]:
        """Return the stored values of the ids, and compute and store those that are missing."""
        call = self._bulk_arguments_on_loop()
        served = await (sync_to_async(self._serve)() if call is None else self._serving()._serve_on_loop(call))
        return cast("dict[K, V]", await arun(*served)) if type(served) is Work else served

    async def uncached(self) -> Mapping[K, V]:
        """Call the plain function, without the cache."""
        return await super().uncached()

    @alters_data
    async def arefresh(self) -> dict[K, V]:
        """Compute now for all the ids, store, and return the values, even if some are stored."""
        return await arun(flow_of(self._refresh_work), self._compute)

    def _compute(self, ids: list[Any]) -> Any:
        # Not sooner: the ids may come from a database, and are read in the thread in which a flow runs.
        return self._serving()._computation(self._bulk_arguments)(ids)


# Each call looks like an async function. No decorator: to a type checker the class would be what it returns.
markcoroutinefunction(AsyncCallMany)
