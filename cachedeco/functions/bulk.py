"""A cached function over many ids: each has an entry of its own, and all that is missing is computed by one call."""

from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from inspect import Parameter, signature
from time import time
from typing import Any, Concatenate, Generic, NamedTuple, NoReturn, ParamSpec, Self, TypeVar, cast, overload

from asgiref.sync import markcoroutinefunction, sync_to_async

from cachedeco.functions.base import Args, CachedFunction, Kwargs
from cachedeco.functions.spec import FunctionSpec
from cachedeco.invalidation import transactions
from cachedeco.invalidation.delivery import Invalidation, invalidate
from cachedeco.loading.batch import given, materialize_each, read_entries, store_values
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

P = ParamSpec("P")
Q = ParamSpec("Q")
K = TypeVar("K")  # an id
V = TypeVar("V")  # its value
U = TypeVar("U")  # what the plain function returns: a mapping, or a coroutine that gives one
S = TypeVar("S")

Work = tuple[Flow[Values], Callable[[list[Any]], Any]]  # what a driver takes


def check_over(spec: FunctionSpec, over: str, ignore: Sequence[str]) -> None:
    """
    Check that the ids are told apart.

    Raises:
        TypeError: *over* names no parameter that can take a collection, or one that is ignored.
    """
    parameters = signature(spec.source.function).parameters
    kind = parameters[over].kind if over in parameters else Parameter.VAR_POSITIONAL
    if kind in {Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD}:
        taken = ", ".join(map(str, parameters.values())) or "no parameters"
        msg = f"over={over!r} for {spec.name}(); it names the parameter that takes the ids, of these: {taken}."
        raise TypeError(msg)
    if over in ignore:
        msg = f"{spec.name}() is over {over!r}, and ignore= names it too: all ids would share one entry."
        raise TypeError(msg)


class Placed(NamedTuple):
    """A call, and where in it the ids are."""

    args: Args
    kwargs: Kwargs
    place: int | str  #: index in the arguments, or name in the keyword arguments
    ids: list[Any]  #: in the order asked, each once

    def taking(self, what: object) -> tuple[Args, Kwargs]:
        """Return the arguments with something else in the place of the ids."""
        if isinstance(self.place, str):
            return self.args, {**self.kwargs, self.place: what}
        return (*self.args[: self.place], what, *self.args[self.place + 1 :]), self.kwargs


class Admitted(NamedTuple):
    """A call that goes to the cache: its terms, and for each id the keys of its entry and tokens."""

    policy: CachePolicy
    rows: dict[Any, list[str]]
    bypassed: AbstractSet[Any]  #: what this transaction has invalidated: old for itself, though nobody else knows

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


class ManyVerbs(CachedFunction[P, U], Generic[P, K, V, U]):
    """
    The verbs of a cached function over many ids.

    Each takes the arguments of a call, with a collection of ids among them, and has a twin for async code with an "a"
    before its name. Ids that are equal are one id, the first of them.
    """

    _decorator = "cached_query_many"

    def __init__(self, spec: FunctionSpec, head: tuple[object, ...], over: str) -> None:
        """Wrap the recipe's function; *over* names the parameter that takes the ids."""
        super().__init__(spec, head)
        self._over = over
        self._taken = signature(spec.source.function)

    def _placed(self, args: Args, kwargs: Kwargs) -> Placed:
        """Find the ids in the arguments of a call."""
        try:
            bound = self._taken.bind(*self._head, *args, **kwargs)
        except TypeError as error:
            msg = f"{self._spec.name}(): {error}"
            raise TypeError(msg) from None
        bound.apply_defaults()
        ids = bound.arguments[self._over]
        if isinstance(ids, str | bytes) or not isinstance(ids, Iterable):
            msg = f"{self._spec.name}() got {self._over}={ids!r}; it takes a collection of ids: [{ids!r}]."
            raise TypeError(msg)
        by_name = self._taken.parameters[self._over].kind is Parameter.KEYWORD_ONLY
        place = self._over if by_name else list(self._taken.parameters).index(self._over)
        return Placed(bound.args, bound.kwargs, place, list(dict.fromkeys(ids)))

    def _compute(self, call: Placed) -> Callable[[list[Any]], Any]:
        """Return what computes for some of the ids."""

        def compute(ids: list[Any]) -> Any:
            args, kwargs = call.taking(ids)
            return self._spec.source.function(*args, **kwargs)

        return compute

    def _admitted(self, call: Placed) -> Admitted | None:
        """Return the terms and the keys of a call; None where it goes past the cache, or is for no ids."""
        if not call.ids or modes.current_mode() != "on":
            if not self._spec.is_auditable:
                collector.mark_unauditable()
            return None
        policy, rows = self._spec.resolve_calls(map(call.taking, call.ids))
        bypassed: set[Any] = set()
        if transactions.waiting:
            bypassed.update(
                each for each, row in zip(call.ids, rows, strict=True) if transactions.invalidated_in_transaction(row)
            )
        return Admitted(policy, dict(zip(call.ids, rows, strict=True)), bypassed)

    def _served(self, args: Args, kwargs: Kwargs) -> tuple[dict[K, V], None] | tuple[None, Work]:
        """Return the stored values, or else the steps that give all. This is all that a hit does."""
        call = self._placed(args, kwargs)
        admitted = self._admitted(call)
        if admitted is None:
            return None, (bypass_each_flow(self._spec.name, call.ids), self._compute(call))
        policy, rows, bypassed = admitted
        values: Values = {}
        due: dict[Any, Miss] = {}
        sampled: dict[Any, Miss] = {}
        missing = {each: Miss(policy, rows[each], None) for each in bypassed}
        for each, one in admitted.looks():
            entry = one.entry
            if entry is None or entry.expires + policy.stale <= time():
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
            return cast("dict[K, V]", given(call.ids, values)), None
        missing = {each: missing[each] for each in rows if each in missing}  # in the order asked
        steps = batch_flow(Batch(policy, call.ids, values, due, missing, bypassed))
        if sampled:
            steps = auditor().audited_batch_flow(sampled, partial(self._keys_of, call), steps)
        return None, (steps, self._compute(call))

    def _keys_of(self, call: Placed, ids: Sequence[Any]) -> list[list[str]]:
        return self._spec.resolve_calls(map(call.taking, ids))[1]

    def _refreshed(self, args: Args, kwargs: Kwargs) -> Work:
        """Return the steps that compute and store; what can't be stored is invalidated, as what is stored is old."""
        call = self._placed(args, kwargs)
        admitted = self._admitted(call)
        if admitted is None:
            on_failure = partial(self._invalidate, call)
            return bypass_each_flow(self._spec.name, call.ids, on_failure), self._compute(call)
        batch = Batch(admitted.policy, call.ids, {}, {}, admitted.calls(), admitted.bypassed)
        return refresh_each_flow(batch, admitted.invalidate), self._compute(call)

    def _invalidate(self, call: Placed) -> None:
        if modes.current_mode() != "off":
            tokens = [self._spec.own_token(*call.taking(each)) for each in call.ids]
            invalidate(self._spec.options.using, *tokens)

    # --- verbs ---

    def invalidate(self, /, *args: P.args, **kwargs: P.kwargs) -> None:
        """
        Invalidate these ids: every entry of each, whatever it varies on, and no other id's. One command for all.

        Inside `atomic()` this takes effect for this connection at once, and for everybody when it commits. An
        invalidation that the cache does not acknowledge is logged at ERROR, and counted; this method does not raise.
        """
        self._invalidate(self._placed(args, kwargs))

    def peek(self, /, *args: P.args, **kwargs: P.kwargs) -> dict[K, V]:
        """
        Return the stored values, by id; never compute, and count no hit or miss.

        Ids for which a call would compute are not in it, nor are those that are remembered as absent.
        """
        call = self._placed(args, kwargs)
        admitted = self._admitted(call)
        values: Values = dict.fromkeys(call.ids, ABSENT)
        if admitted is None:
            collector.mark_unauditable()  # where it is audited, what is there is not looked at
        for each, one in admitted.looks() if admitted else ():
            if one.entry is not None and one.entry.expires > time():
                collector.record_dependency(one.policy.store.alias, one.asked, one.found or {})
                values[each] = one.entry.value
        return cast("dict[K, V]", given(call.ids, values))

    def put(self, values: Mapping[K, V], /, *args: P.args, **kwargs: P.kwargs) -> None:
        """
        Store values that the caller already has: what the function would return for this call.

        Ids of the call that are not among the values are remembered as absent. Values of other ids are not stored.
        Otherwise as `CachedQuery.put()`: they must not be older than the last invalidation, and what is not stored is
        invalidated.

        Raises:
            TypeError: The values are no mapping, or have the ids in another type.
        """
        call = self._placed(args, kwargs)
        outcome = materialize_each(self._spec.name, values, call.ids)
        if isinstance(outcome, Err):
            raise outcome.error
        admitted = self._admitted(call)
        if admitted is None:
            self._invalidate(call)
            return
        calls = admitted.calls()
        stamps = stamps_of(admitted.policy, calls, admitted.bypassed)
        drafts = [PendingEntry(admitted.policy, one.keys[0], stamps[each], {}, 0.0) for each, one in calls.items()]
        store_values(list(zip(drafts, outcome.value.values(), strict=True)), admitted.invalidate)

    def keys_for(self, /, *args: P.args, **kwargs: P.kwargs) -> dict[K, str]:
        """Return the keys of the entries, by id, as Django's cache takes them: without the prefix that Django adds."""
        call = self._placed(args, kwargs)
        rows = self._spec.resolve_calls(map(call.taking, call.ids))[1]
        return {each: row[0] for each, row in zip(call.ids, rows, strict=True)}

    # --- their twins ---

    async def ainvalidate(self, /, *args: P.args, **kwargs: P.kwargs) -> None:
        """Do as `invalidate()`, from async code."""
        await sync_to_async(partial(self.invalidate, *args, **kwargs))()

    async def apeek(self, /, *args: P.args, **kwargs: P.kwargs) -> dict[K, V]:
        """Do as `peek()`, from async code."""
        return await sync_to_async(partial(self.peek, *args, **kwargs))()

    async def aput(self, values: Mapping[K, V], /, *args: P.args, **kwargs: P.kwargs) -> None:
        """Do as `put()`, from async code."""
        await sync_to_async(partial(self.put, values, *args, **kwargs))()

    async def akeys_for(self, /, *args: P.args, **kwargs: P.kwargs) -> dict[K, str]:
        """Do as `keys_for()`, from async code: a key may read an attribute that needs the database."""
        return await sync_to_async(partial(self.keys_for, *args, **kwargs))()


class CachedQueryMany(ManyVerbs[P, K, V, Mapping[K, V]], Generic[P, K, V]):
    """
    A cached function over many ids: call it as before, or use its verbs.

    What a call returns is a dict in the order of the ids asked, without those that the function does not know. It may
    be used by many threads and tasks at once.
    """

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> dict[K, V]:
        """Return the stored values of these ids, and compute and store what is missing."""
        values, work = self._served(args, kwargs)
        return cast("dict[K, V]", run(*work) if work else values)

    def refresh(self, /, *args: P.args, **kwargs: P.kwargs) -> dict[K, V]:
        """Compute now for all these ids, store, and return the values. Otherwise as `CachedQuery.refresh()`."""
        return cast("dict[K, V]", run(*self._refreshed(args, kwargs)))

    async def arefresh(self, /, *args: P.args, **kwargs: P.kwargs) -> dict[K, V]:
        """Do as `refresh()`, from async code."""
        return await sync_to_async(partial(self.refresh, *args, **kwargs))()

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(
        self: "CachedQueryMany[Concatenate[S, Q], K, V]", instance: S, owner: type | None = None
    ) -> "CachedQueryMany[Q, K, V]": ...
    def __get__(self, instance: object, owner: type | None = None) -> Any:
        """Bind to the instance, or to the class where a classmethod is decorated."""
        return super().__get__(instance, owner)


class AsyncCachedQueryMany(ManyVerbs[P, K, V, Coroutine[Any, Any, Mapping[K, V]]], Generic[P, K, V]):
    """A cached async function over many ids."""

    def __init__(self, spec: FunctionSpec, head: tuple[object, ...], over: str) -> None:
        """Wrap the recipe's function, and look like an async function."""
        super().__init__(spec, head, over)
        markcoroutinefunction(self)

    async def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> dict[K, V]:
        """Return the stored values of these ids, and compute and store what is missing."""
        values, work = await sync_to_async(self._served)(args, kwargs)
        return cast("dict[K, V]", await arun(*work) if work else values)

    def refresh(self, /, *args: P.args, **kwargs: P.kwargs) -> NoReturn:  # noqa: ARG002 -- the signature of the verb
        """Raise: only `arefresh()` can await the function."""
        msg = f"{self._spec.name}() is async, and refresh() would have to await it: use arefresh()."
        raise TypeError(msg)

    async def arefresh(self, /, *args: P.args, **kwargs: P.kwargs) -> dict[K, V]:
        """Compute now for all these ids, store, and return the values, whatever is stored."""
        return cast("dict[K, V]", await arun(*await sync_to_async(self._refreshed)(args, kwargs)))

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(
        self: "AsyncCachedQueryMany[Concatenate[S, Q], K, V]", instance: S, owner: type | None = None
    ) -> "AsyncCachedQueryMany[Q, K, V]": ...
    def __get__(self, instance: object, owner: type | None = None) -> Any:
        """Bind to the instance, or to the class where a classmethod is decorated."""
        return super().__get__(instance, owner)
