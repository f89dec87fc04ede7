"""`Call`: one call of a cached function as an object, with the verbs of a call."""

from collections.abc import Callable, Coroutine, Hashable, Iterable, Iterator, Sequence
from enum import Enum
from time import time
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, NoReturn, TypeVar, cast

from asgiref.sync import markcoroutinefunction, sync_to_async

from cachedeco.functions.admission import BypassError, admit, admit_on_loop, bypass_without_key
from cachedeco.functions.base import Args, CachedFunction, Kwargs, WithoutRefresh, refuse_attribute
from cachedeco.functions.explaining import Explanation, call_text, explain_calls
from cachedeco.functions.invalidation_advice import look_at_computed, look_at_invalidated
from cachedeco.functions.single_serving import SingleServing
from cachedeco.functions.work import Work, flow_of, only_value
from cachedeco.invalidation.delivery import Invalidation, invalidate
from cachedeco.keys.signatures import parameters_of
from cachedeco.loading.effects import arun, run, unwrap
from cachedeco.loading.found import Found, Wanted, record_found
from cachedeco.loading.load import Load, Miss
from cachedeco.loading.lookup import look_closely
from cachedeco.loading.materializing import materialize
from cachedeco.loading.policy import CachePolicy
from cachedeco.loading.unshared import bypass_flow, refresh_flow, store_given
from cachedeco.runtime import modes
from cachedeco.runtime.frames import from_async
from cachedeco.runtime.interrupts import pass_interrupt
from cachedeco.runtime.reprs import format_arguments
from cachedeco.runtime.templates import alters_data
from cachedeco.storage.keyspace import KeyFunctionError
from cachedeco.storage.refusals import ValueOrigin
from cachedeco.tracking.collector import NOTHING_FOUND, mark_unauditable, mark_uncacheable

if TYPE_CHECKING:
    from cachedeco.functions.spec import Arguments

U = TypeVar("U")  # the plain function's return type
V = TypeVar("V")  # the value
R_co = TypeVar("R_co", covariant=True)  # what the call returns, or what it returns when it is awaited


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


def _invalidation_of(policy: CachePolicy, keys: Sequence[str]) -> Callable[[Sequence[str]], None]:
    """
    Return a function that invalidates a call by the key that it has now.

    It may be called at a commit, when an argument has lost its primary key, or another tenant is current.
    """
    own = Invalidation(policy.store, keys[1], policy.lifetime)
    return lambda _: invalidate(policy.using, own)


class SyncCall(Generic[R_co]):
    """What only calls of sync functions have; `gather()` takes these."""

    if TYPE_CHECKING:

        def _refresh_work(self) -> Work: ...

    @alters_data
    def refresh(self) -> R_co:
        """Compute now, store, and return the value, even if one is stored. Otherwise as the verb of the function."""
        return cast("R_co", run(*self._refresh_work()))

    @alters_data
    async def arefresh(self) -> R_co:
        """Do as `refresh()`, from async code."""
        return await sync_to_async(self.refresh)()


class BaseCall(Generic[U, R_co]):
    """
    A cached function with the arguments of one call.

    Two calls are equal if one invalidation reaches both: the same function, and arguments with the same key. To compare
    or hash a call computes its key.
    """

    def __init__(self, function: CachedFunction[..., U], args: Args, kwargs: Kwargs) -> None:
        """Keep the function and the arguments; the first verb looks at them."""
        self._function = function
        self._spec = function._spec
        self._args = args
        self._kwargs = kwargs

    if TYPE_CHECKING:  # what calls of one id and of many have, for `gather()`

        def _ask(self, wanted: list[Wanted]) -> object:
            """Add to what is wanted of one look-up; if the call bypasses the cache, return its `Work`."""

        def _ask_on_loop(self, wanted: list[Wanted]) -> object:
            """Do as `_ask()` on an event loop; return None if the thread of Django's connections is to ask."""

        def _serve_found(self, asked: Any, results: Iterator[Found]) -> object:
            """Return the result by what the look-up gives next, or `Work`; *asked* is what `_ask()` has returned."""

    else:

        def __getattr__(self, name: str) -> NoReturn:
            """Refuse what a call does not have; the function may have it."""
            refuse_attribute(self, name, type(vars(self).get("_function")))

    def uncached(self) -> U:
        """Call the plain function, without the cache."""
        return self._function.uncached(*self._args, **self._kwargs)

    @alters_data
    def invalidate(self) -> None:
        """Invalidate this call. Otherwise as the verb of the function."""
        if modes.current_mode() != "off":
            invalidate(self._spec.options["using"], *self._own_tokens())
            look_at_invalidated(self._spec, self._calls, self._function._bound_args)

    ainvalidate = from_async(invalidate)

    def _invalidate_if_possible(self) -> None:
        """Invalidate the call, of many ids those whose keys can be made: a key that can't be is an event."""
        if modes.current_mode() == "off":
            return
        tokens = []
        for args, kwargs in self._calls():
            try:
                tokens.append(self._spec.own_token(args, kwargs))
            except Exception as error:
                pass_interrupt(error)
                if not isinstance(error, KeyFunctionError) and not bypass_without_key(self._spec, error, args, kwargs):
                    raise
        invalidate(self._spec.options["using"], *tokens)

    def _arguments(self) -> Args:
        """Return the positional arguments, with those that the function is bound to first."""
        self._function._check_order(self._args)
        return self._function._bound_args + self._args

    def _resolve_keys(self) -> list[list[str]]:
        """Return the keys of the call's entries, each with those of its tokens, as they are in this thread."""
        return self._spec.resolve_calls(self._calls())[1]

    def _entry_keys(self) -> list[str]:
        """Return the keys of the call's entries."""
        return [keys[0] for keys in self._resolve_keys()]

    def _calls(self) -> Iterable[tuple[Args, Kwargs]]:
        """Return the arguments of each entry's key."""
        return [(self._arguments(), self._kwargs)]

    def _explanations(self) -> dict[Any, Explanation]:
        """Return the explanations of each entry's call, by number."""
        calls: dict[Hashable, Arguments] = dict(enumerate(self._calls()))
        return explain_calls(self._spec, calls, {n: call_text(self._spec, *each) for n, each in calls.items()})

    def _own_tokens(self) -> list[Invalidation]:
        """Return the invalidations of the call's own tokens."""
        return [self._spec.own_token(*arguments) for arguments in self._calls()]

    def _identity(self) -> tuple[str, ...]:
        return tuple([token.key for token in self._own_tokens()])

    def __eq__(self, other: object) -> bool:
        """Compare functions, and the keys of the calls' own tokens."""
        if not isinstance(other, BaseCall):
            return NotImplemented
        return self._spec is other._spec and self._identity() == other._identity()

    def __hash__(self) -> int:
        """Hash the keys of the own tokens."""
        return hash(self._identity())

    def __repr__(self) -> str:
        """Show the function's name and the arguments: short, and without secrets."""
        args = self._function._bound_args + self._args
        parameters = parameters_of(self._spec.source.function)
        return f"<call of {self._spec.name}({format_arguments(parameters, args, self._kwargs)})>"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by the function, which is pickled by name, and the arguments."""
        return type(self), (self._function, self._args, self._kwargs)


class SingleCall(BaseCall[U, V], Generic[V, U]):
    """The verbs that sync and async calls share."""

    def _serving(self) -> SingleServing[..., V, U]:
        """Return the function, as what it is; mypy would take an attribute for a descriptor."""
        return cast("Any", self._function)  # type: ignore[no-any-return] # as said

    def _ask(self, wanted: list[Wanted]) -> Wanted | Work:
        # As a call of the function does: a verb checks more, for which a hit has no time.
        try:
            admitted = admit(self._spec, self._function._bound_args + self._args, self._kwargs)
        except BypassError as bypass:
            self._function._check_order(self._args)
            return self._serving()._bypass(self._args, self._kwargs, bypass.reason)
        wanted.append(admitted)
        return admitted

    def _ask_on_loop(self, wanted: list[Wanted]) -> Wanted | None:
        admitted = admit_on_loop(self._spec, self._function._bound_args + self._args, self._kwargs)
        if admitted is not None:
            wanted.append(admitted)
        return admitted

    def _serve_found(self, asked: Wanted, results: Iterator[Found]) -> object:
        return self._serving()._serve_found(asked[0], next(results), self._args, self._kwargs)

    def peek(self) -> V | Missing:
        """Return the stored value, or `MISSING`; never compute. Otherwise as the verb of the function."""
        try:
            policy, keys = self._admit()
        except BypassError:
            mark_unauditable()  # an audited computation must not see stored values
            mark_uncacheable()
            return MISSING
        [found] = look_closely(policy, [keys])
        if found.entry is None or found.entry.expires <= time():
            mark_uncacheable(NOTHING_FOUND.format(policy.function))
            return MISSING
        record_found(policy, found)
        return MISSING if found.entry.is_error else cast("V", found.entry.value)

    @alters_data
    def set(self, value: V) -> None:
        """
        Store a value that the caller already has for this call.

        The value must not be older than the last invalidation: only a computation that cachedeco runs itself can be
        checked for that. It is stored as a computed value is: not while bypassed, at commit inside `atomic()`, and not
        if the transaction's snapshot may be old. If it is not stored, the call is invalidated.

        Raises:
            TypeError: The value can't be cached, such as an iterator; or it is `MISSING`.
        """
        if value is MISSING:
            origin = ValueOrigin(self._spec.name, is_given=True)
            msg = f"{origin.subject} MISSING, by which peek() says that nothing is stored: look at its result before."
            raise TypeError(msg)
        try:
            policy, keys = self._admit()
        except BypassError:
            self.invalidate()
            return
        look_at_computed(self._spec, self._calls)
        values = unwrap(materialize(ValueOrigin(policy.function, is_given=True), value, [None], takes_ids=False))
        found = Found(keys, policy.store.get_many(keys[1:]))
        store_given(policy, {None: found}, values, _invalidation_of(policy, keys))

    def explain(self) -> Explanation:
        """Say what a call would do now, and why. Otherwise as the verb of the function."""
        [explanation] = self._explanations().values()
        return explanation

    def key(self) -> str:
        """Return the whole key of the entry, as the server gets it."""
        return self._entry_keys()[0]

    apeek = from_async(peek)
    aset = from_async(set)  # noqa: A003 -- the verb above
    aexplain = from_async(explain)
    akey = from_async(key)  # which may read an attribute that needs the database

    def _admit(self) -> tuple[CachePolicy, list[str]]:
        return admit(self._spec, self._arguments(), self._kwargs)

    def _refresh_work(self) -> Work:
        """Return what computes and stores; if it can't store, it invalidates the call: its entry is old."""
        try:
            policy, keys = self._admit()
        except BypassError as bypass:
            flow = bypass_flow(self._spec.name, bypass.reason, after=self._invalidate_if_possible)
        else:
            look_at_computed(self._spec, self._calls)
            arguments = self._spec.arguments_of(self._arguments(), self._kwargs)
            load = Load(policy, [Miss(None, Found(keys, policy.store.get_many(keys[1:])))], arguments=arguments)
            flow = refresh_flow(load, _invalidation_of(policy, keys))
        return Work(only_value(flow), self.uncached)


class Call(SingleCall[V, V], SyncCall[V], Generic[V]):
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


class AsyncCall(SingleCall[V, Coroutine[Any, Any, V]], WithoutRefresh, Generic[V]):
    """One call of a cached async function. `refresh()` raises: only `arefresh()` can await the function."""

    async def __call__(self) -> V:
        """Return the stored value of the call, or compute it and store it."""
        return cast("V", await cast("Any", self._function)(*self._args, **self._kwargs))

    async def uncached(self) -> V:
        """Call the plain function, without the cache."""
        return await super().uncached()

    @alters_data
    async def arefresh(self) -> V:
        """Compute now, store, and return the value, even if one is stored."""
        return await arun(flow_of(self._refresh_work), self.uncached)


# Each call looks like an async function. No decorator: to a type checker the class would be what it returns.
markcoroutinefunction(AsyncCall)
