"""The path of a hit over many ids: find the ids in a call, serve what is stored, and compute what is missing."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from inspect import Parameter, Signature
from time import time
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from asgiref.sync import sync_to_async
from django.core.exceptions import SynchronousOnlyOperation

from cachedeco.functions.admission import Work, may_ask_on_loop
from cachedeco.functions.base import Args, CachedFunction, Kwargs
from cachedeco.functions.bulk_arguments import IN_MEMORY, AdmittedCall, BulkArguments
from cachedeco.functions.bypassing import BY_MODE, BypassError, bypass_without_key
from cachedeco.functions.invalidation_advice import remember_kinds
from cachedeco.functions.spec import FunctionSpec
from cachedeco.invalidation import commits
from cachedeco.loading.effects import Err, Flow, Ok
from cachedeco.loading.found import Found
from cachedeco.loading.load import Load
from cachedeco.loading.lookup import recall_or_look_up
from cachedeco.loading.materializing import Values
from cachedeco.loading.on_loop import recall_or_look_up_on_loop
from cachedeco.loading.refreshing import enqueue, stale_flow
from cachedeco.loading.returning import present_values, without_absent
from cachedeco.loading.sampling import auditor, inspect_hit
from cachedeco.loading.serving import serve_each
from cachedeco.loading.single_flight import load_flow
from cachedeco.loading.unshared import bypass_flow
from cachedeco.runtime import modes
from cachedeco.runtime.interrupts import pass_interrupt
from cachedeco.runtime.reprs import repr_of
from cachedeco.tracking import collector

if TYPE_CHECKING:
    from cachedeco.storage.serializers import Raised


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
        try:
            return BulkArguments(bound.args, bound.kwargs, position, list(dict.fromkeys(ids)))
        except TypeError as error:
            if "unhashable" not in str(error):  # of an iterator of the user's
                raise
            what = f"{self.spec.name}() got {self.over}="
            msg = f"{what} with an id that has no hash; it takes numbers, texts, saved rows."
            raise TypeError(msg) from error

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
            raise error.take_error()
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
