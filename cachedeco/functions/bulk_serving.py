"""The path of a call over many ids: serve what is stored of them, or return the work that computes what is missing."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from time import time
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, cast

from asgiref.sync import sync_to_async

from cachedeco.functions.admission import BypassError, admit_many, admit_many_on_loop
from cachedeco.functions.base import CachedFunction
from cachedeco.functions.bulk_arguments import AdmittedCall, BulkArguments, BulkSignature
from cachedeco.functions.invalidation_advice import look_at_computed
from cachedeco.functions.work import Work, flow_of, present_values, without_absent
from cachedeco.loading.effects import Err, Flow, Ok
from cachedeco.loading.found import Found
from cachedeco.loading.load import Load, misses_of
from cachedeco.loading.lookup import recall_or_look_up
from cachedeco.loading.lookup_on_loop import recall_or_look_up_on_loop
from cachedeco.loading.materializing import Values
from cachedeco.loading.refreshing import stale_flow
from cachedeco.loading.sampling import auditor, inspect_hit
from cachedeco.loading.serving import serve_each
from cachedeco.loading.single_flight import load_flow
from cachedeco.loading.unshared import bypass_flow

if TYPE_CHECKING:
    from cachedeco.storage.serializers import Raised

P = ParamSpec("P")
K = TypeVar("K")  # an id
V = TypeVar("V")  # its value
U = TypeVar("U")  # the plain function's return type: a mapping, or a coroutine


class BulkServing(CachedFunction[P, U], Generic[P, K, V, U]):
    """How a call of a cached function over many ids is served; of a single call see `SingleServing`."""

    _bulk: BulkSignature

    def _serve(self, call: BulkArguments) -> dict[K, V] | Work:
        """Return the stored values, or the work that computes the others. This is all that a hit does."""
        try:
            admitted = admit_many(self._spec, call)
        except BypassError as bypass:
            return self._bypass(call, bypass.reason)
        return self._serve_found(call, admitted, recall_or_look_up(admitted.wanted))

    async def _serve_on_loop(self, call: BulkArguments) -> dict[K, V] | Work:
        """Do as `_serve()`, for async code: hits that need no thread are served here. This is all that they do."""
        admitted = admit_many_on_loop(self._spec, call)
        results = None if admitted is None else await recall_or_look_up_on_loop(admitted.wanted)
        if admitted is None or results is None:
            return await sync_to_async(self._serve)(call)
        if callable(results):
            return self._serve_later(call, admitted, results)
        return self._serve_found(call, admitted, results)

    def _serve_found(self, call: BulkArguments, admitted: AdmittedCall, results: Sequence[Found]) -> dict[K, V] | Work:
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
            raise error.take_error()
        if len(values) == len(keys_by_id) and not sampled:
            return without_absent(call.ids, values)
        missing = {one_id: missing[one_id] for one_id in keys_by_id if one_id in missing}  # in the order of the call
        load = self._load(call, admitted, missing)
        flow = present_values(_complete(values, load.with_misses(misses_of(stale)), load), call.ids)
        if sampled:
            flow = auditor().audited_flow(load.with_misses(misses_of(sampled)), flow)
        return Work(flow, self._computation(call))

    def _load(self, call: BulkArguments, admitted: AdmittedCall, missing: Mapping[Any, Found]) -> Load:
        """Return the load of the ids that have no entry."""
        look_at_computed(self._spec, partial(call.for_each, missing))
        return Load(
            admitted.policy,
            misses_of(missing, admitted.bypassed),
            takes_ids=True,
            call_of=partial(self._call_again, call),
            arguments=self._spec.arguments_of(call.args, call.kwargs, call.for_each(call.ids)),
        )

    def _call_again(self, call: BulkArguments, ids: list[Any]) -> Any:
        """Return the call for some of its ids as an object, for another thread or a task to repeat it."""
        args, kwargs = call.with_ids(ids)
        return cast("Any", self).call(*args[len(self._bound_args) :], **kwargs)

    def _serve_later(self, call: BulkArguments, admitted: AdmittedCall, look_up: Callable[[], Sequence[Found]]) -> Work:
        """Return the work that ends a look-up in the thread in which a flow runs, and serves what it finds."""
        return Work(flow_of(lambda: self._serve_found(call, admitted, look_up())), self._computation(call))

    def _bypass(self, call: BulkArguments, reason: str) -> Work:
        """Return the work of a call that bypasses the cache, or has no ids."""
        return Work(present_values(bypass_flow(self._spec.name, reason, call.ids), call.ids), self._computation(call))

    def _computation(self, call: BulkArguments) -> Callable[[list[Any]], U]:
        """Return a callable that calls the plain function for some of the ids."""

        def compute(ids: list[Any]) -> Any:
            args, kwargs = call.with_ids([*ids])  # its own list: it may change it
            return self._spec.source.function(*args, **kwargs)

        return compute


def _complete(values: Values, stale: Load, missing: Load) -> Flow[Values]:
    """Serve or refresh the stale ids, compute the missing ones, and return all values."""
    for load, flow in ((stale, stale_flow), (missing, load_flow)):
        if load.misses:
            outcome = yield from flow(load)
            if isinstance(outcome, Err):
                return outcome
            values = values | outcome.value
    return Ok(values)
