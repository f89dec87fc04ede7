"""The path of a call: admit it, look it up, serve what is stored, or return the work that computes what is not."""

from collections.abc import Callable
from functools import partial
from time import time
from typing import Any, Generic, ParamSpec, TypeVar, cast

from cachedeco.functions.admission import BypassError, admit
from cachedeco.functions.base import Args, CachedFunction, Kwargs
from cachedeco.functions.invalidation_advice import look_at_computed
from cachedeco.functions.work import Work, flow_of, only_value
from cachedeco.loading.found import Found, record_found
from cachedeco.loading.load import Load, Miss
from cachedeco.loading.lookup import look_up_one
from cachedeco.loading.policy import CachePolicy
from cachedeco.loading.refreshing import stale_flow
from cachedeco.loading.sampling import auditor, inspect_hit
from cachedeco.loading.serving import serve_flow
from cachedeco.loading.single_flight import load_flow
from cachedeco.loading.unshared import bypass_flow
from cachedeco.runtime.hooks import emit_hit
from cachedeco.tracking.collector import innermost

P = ParamSpec("P")
V = TypeVar("V")  # the value
U = TypeVar("U")  # the plain function's return type: the value, or a coroutine


class SingleServing(CachedFunction[P, U], Generic[P, V, U]):
    """How a call of a cached function is served; of one over many ids see `BulkServing`."""

    def _serve(self, args: Args, kwargs: Kwargs) -> V | Work:
        """Return the stored value, or the work that computes one. This is all that a hit does."""
        try:
            policy, keys = admit(self._spec, self._bound_args + args, kwargs)
        except BypassError as bypass:
            self._check_order(args)
            return self._bypass(args, kwargs, bypass.reason)
        found = look_up_one(policy, keys)
        entry = found.entry
        # Without the values that were read it is a plain hit: fresh, and nothing is around it.
        if entry is None or found.raw is not None:
            return self._serve_found(policy, found, args, kwargs)
        emit_hit(policy.function, keys[0], policy.store.alias, entry.seconds)
        if entry.is_error:
            raise cast("Any", entry.value).take_error()
        return entry.value  # type: ignore[no-any-return] # no cast(): it is called, and a hit has no time for it

    def _serve_found(self, policy: CachePolicy, found: Found, args: Args, kwargs: Kwargs) -> V | Work:
        """Return the value of the entry that a look-up has found, or the work that computes one."""
        entry = found.entry
        if entry is not None and entry.expires > time():
            if policy.inspects_hits and (purpose := inspect_hit(policy, entry)):
                load = self._load(policy, found, args, kwargs)
                flow = stale_flow(load) if purpose == "refresh" else auditor().audited_flow(load, serve_flow(load))
                return Work(only_value(flow), self._computation(args, kwargs))
            if innermost.get() is not None:
                record_found(policy, found)
            emit_hit(policy.function, found.keys[0], policy.store.alias, entry.seconds)
            if entry.is_error:
                raise cast("Any", entry.value).take_error()
            return cast("V", entry.value)
        self._check_order(args)
        load = self._load(policy, found, args, kwargs)
        is_stale = entry is not None and policy.stale_until(entry) > time()
        return Work(only_value((stale_flow if is_stale else load_flow)(load)), self._computation(args, kwargs))

    def _serve_later(self, policy: CachePolicy, look_up: Callable[[], Found], args: Args, kwargs: Kwargs) -> Work:
        """Return the work that ends a look-up in the thread in which a flow runs, and serves what it finds."""
        flow = flow_of(lambda: self._serve_found(policy, look_up(), args, kwargs))
        return Work(flow, self._computation(args, kwargs))

    def _bypass(self, args: Args, kwargs: Kwargs, reason: str) -> Work:
        """Return the work of a call that bypasses the cache."""
        return Work(only_value(bypass_flow(self._spec.name, reason)), self._computation(args, kwargs))

    def _load(self, policy: CachePolicy, found: Found, args: Args, kwargs: Kwargs) -> Load:
        look_at_computed(self._spec, lambda: [(self._bound_args + args, kwargs)])
        arguments = self._spec.arguments_of(self._bound_args + args, kwargs)
        call_of = partial(self._call_again, args, kwargs)
        return Load(policy, [Miss(None, found)], call_of=call_of, arguments=arguments)

    def _call_again(self, args: Args, kwargs: Kwargs, _ids: list[Any]) -> Any:
        """Return the call as an object, for another thread or a task to repeat it."""
        return cast("Any", self).call(*args, **kwargs)

    def _computation(self, args: Args, kwargs: Kwargs) -> Callable[[], U]:
        """Return a callable that calls the plain function."""
        return partial(self._spec.source.function, *self._bound_args, *args, **kwargs)
