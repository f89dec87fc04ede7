"""What one function's decorator was told, and what that comes to under the settings in force."""

import inspect
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from inspect import Parameter, Signature
from typing import Any, Final, Literal, NamedTuple, Self
from weakref import WeakSet

from django.core.exceptions import ImproperlyConfigured
from django.utils.decorators import method_decorator

from cachedeco.functions.naming import key_name_of, name_of
from cachedeco.functions.options import Timeout, check
from cachedeco.invalidation.delivery import Invalidation
from cachedeco.keys.compiler import CompiledKeys, KeyPlan, token_of_function
from cachedeco.keys.dependencies import dependencies_of
from cachedeco.keys.encoders import KeyTypeError
from cachedeco.keys.expressions import ONE_ID, Subject, free_variables
from cachedeco.loading.policy import CachePolicy
from cachedeco.loading.sampling import share_to_audit
from cachedeco.runtime import conf
from cachedeco.runtime.validation import UNSET, Unset, seconds_of, span_of
from cachedeco.storage.cache_keys import shorten_keys
from cachedeco.storage.entries import EntryCodec
from cachedeco.storage.serializers import ABSENT, build_serializer
from cachedeco.storage.store import Store

# A call's own token outlives its entries, or it would take them along. It is minted with a life of this many timeouts,
# so that one entry in four at most ends early, and the server is rid of it soon after the last entry.
TOKEN_TIMEOUTS: Final = 4
SHORTEST_LIFETIME: Final = 60.0
# With a callable, the timeout is not known when the token is minted: so long lives the token, and the longest entry.
LIFETIME_WHEN_UNKNOWN: Final = timedelta(days=30).total_seconds()


class ResolvedSpec(NamedTuple):
    """A recipe under the settings in force."""

    settings: conf.Settings
    policy: CachePolicy
    compiled_keys: CompiledKeys
    key_budget: int


class Source(NamedTuple):
    """What was decorated: the function within, and how it is reached."""

    function: Callable[..., Any]
    binding: Literal["instance", "class", "none"]
    head: tuple[object, ...] = ()  #: arguments that a partial, or a bound method, has supplied

    @classmethod
    def of(cls, given: object) -> Self:
        """
        Find the function.

        Raises:
            TypeError: It is none that can be cached.
        """
        binding: Literal["instance", "class", "none"] = "instance"
        if isinstance(given, classmethod | staticmethod):
            binding = "class" if isinstance(given, classmethod) else "none"
            given = given.__func__
        head: tuple[object, ...] = ()
        while isinstance(given, partial | types.MethodType):
            if isinstance(given, partial) and given.keywords:
                msg = f"{given!r} sets keyword arguments; decorate the function itself, or a def that calls it."
                raise TypeError(msg)
            given, head = (
                (given.func, (*given.args, *head))
                if isinstance(given, partial)
                else (given.__func__, (given.__self__, *head))
            )
        if getattr(given, "__module__", None) == method_decorator.__module__:  # it tries decorators on a dummy
            msg = "A method needs no method_decorator(): put our decorator right above it, and its verbs are bound too."
            raise TypeError(msg)
        if not isinstance(given, types.FunctionType):
            msg = f"cached_query can't decorate {given!r}; it takes a function or method."
            raise TypeError(msg)
        if inspect.isgeneratorfunction(given) or inspect.isasyncgenfunction(given):
            msg = f"{given.__qualname__}() is a generator: its values can be used only once. Return a list."
            raise TypeError(msg)
        return cls(given, "none" if head else binding, head)


class FunctionSpec:
    """
    All that is known of one decorated function: checked at decoration, made ready at the first call.

    Raises:
        TypeError, ValueError: As `cached_query` says.
    """

    def __init__(self, source: Source, name: str, plan: KeyPlan, options: Mapping[str, Any]) -> None:
        """Enter the function in the registry."""
        self.source = source
        self.name = name
        self.options = options
        # Whether only an invalidation lets a call give another value.
        self.is_auditable = options["audit"] and options["nested"]
        self._plan = plan
        self._ready: ResolvedSpec | None = None
        self.dependencies = plan.dependencies
        for each in self.dependencies:
            each.watch()
        _alive.add(self)

    def resolve_call(self, args: Sequence[object], kwargs: dict[str, object]) -> tuple[CachePolicy, list[str]]:
        """Return the terms in force, and the keys of a call: the entry's, its own token's, the other tokens'."""
        ready = self.ready()
        try:
            return ready.policy, shorten_keys(ready.compiled_keys.keys(*args, **kwargs), ready.key_budget)
        except KeyTypeError as error:
            raise self._plan.explain(error, args, kwargs) from None

    def resolve_calls(
        self, calls: Iterable[tuple[Sequence[object], dict[str, object]]]
    ) -> tuple[CachePolicy, list[list[str]]]:
        """Return the terms in force, and for each of several calls what `located()` does."""
        return self.ready().policy, [self.resolve_call(*call)[1] for call in calls]

    def own_token(self, args: Sequence[object], kwargs: dict[str, object]) -> Invalidation:
        """Return what invalidates one call. Nothing that the call varies on is asked for."""
        ready = self.ready()
        try:
            own = ready.compiled_keys.own(*args, **kwargs)
        except KeyTypeError as error:
            raise self._plan.explain(error, args, kwargs) from None
        [key] = shorten_keys([own], ready.key_budget)
        return Invalidation(ready.policy.store, key, ready.policy.lifetime)

    def function_token(self) -> Invalidation:
        """Return what invalidates every call."""
        ready = self.ready()
        [key] = shorten_keys(
            [token_of_function(ready.settings.KEY_PREFIX, self._plan.subject.key_name)], ready.key_budget
        )
        return Invalidation(ready.policy.store, key)

    def ready(self) -> ResolvedSpec:
        """Return what the settings in force make of the options, worked out once for each change of them."""
        settings = conf.settings()
        ready = self._ready
        if ready is None or ready.settings is not settings:
            ready = self._ready = self._resolve(settings)
        return ready

    def _resolve(self, settings: conf.Settings) -> ResolvedSpec:
        options = self.options
        alias = settings.ALIASES[0] if options["cache"] is None else options["cache"]
        if alias not in settings.ALIASES:
            msg = (
                f"{self.name}() uses cache={alias!r}, which is not in CACHEDECO['ALIASES'] = "
                f"{list(settings.ALIASES)!r}: a namespace would not reach it. Add the alias there."
            )
            raise ImproperlyConfigured(msg)
        store = Store(alias, self.name)
        timeout, lifetime = self._timeouts(settings, store)
        policy = CachePolicy(
            function=self.name,
            store=store,
            codec=EntryCodec(store, build_serializer(options["serializer"], settings.SIGNING_KEYS)),
            using=options["using"],
            timeout=timeout,
            cache_if=options["cache_if"],
            lifetime=lifetime,
            stale_while_revalidate=span_of(options["stale_while_revalidate"], what="stale_while_revalidate"),
            stale_if_error=span_of(options["stale_if_error"], what="stale_if_error"),
            early=options["early"],
            jitter=settings.JITTER if options["jitter"] is UNSET else options["jitter"],
            wait=settings.WAIT if options["wait"] is UNSET else span_of(options["wait"], what="wait"),
            nested=options["nested"],
            refresh=settings.REFRESH,
            audit=share_to_audit(settings.AUDIT if options["audit"] else 0.0),
        )
        compiled_keys = self._plan.compile(settings.KEY_PREFIX, options["version"], settings.VARY)
        return ResolvedSpec(settings, policy, compiled_keys, store.key_budget())

    def _timeouts(self, settings: conf.Settings, store: Store) -> tuple[Callable[[Any], float | None], float | None]:
        """Return what gives the timeout of a value, and the lifetime of a call's own token."""
        given: Timeout | Unset = self.options["timeout"]
        chosen = settings.TIMEOUT if given is UNSET or callable(given) else given
        seconds = store.default_timeout() if chosen is UNSET else seconds_of(chosen)
        if callable(given):
            return lambda value: seconds if value is ABSENT else seconds_of(given(value)), LIFETIME_WHEN_UNKNOWN
        if seconds is None:
            return lambda _: None, None
        max_stale = max(
            span_of(self.options["stale_while_revalidate"], what="stale_while_revalidate"),
            span_of(self.options["stale_if_error"], what="stale_if_error"),
        )
        return lambda _: seconds, max(SHORTEST_LIFETIME, TOKEN_TIMEOUTS * (seconds + max_stale))


# Weak: a function decorated again at each call of the one around it must not stay.
_alive: WeakSet[FunctionSpec] = WeakSet()


def all_specs() -> list[FunctionSpec]:
    """Return the recipes of all decorated functions that are alive, by name."""
    return sorted(_alive, key=lambda spec: spec.name)


# --- from what the decorator was given ---


def build_spec(given: object, options: Mapping[str, Any], over: str | None = None) -> FunctionSpec:
    """
    Check what the decorator was given, and return the spec of the function.

    Args:
        given: The decorated function.

        options: All options.

        over: Name of the parameter that takes many ids. In a key one id takes its place, under the name `each`.
    """
    source = Source.of(given)
    name = name_of(source.function, options["name"])
    check(options, name)
    key_name = key_name_of(source.function, name, is_chosen=options["name"] is not None)
    signature, free = inspect.signature(source.function), free_variables(source.function)
    if over is not None:
        signature = _signature_of_one(name, signature, over, options["ignore"])
        _refuse_free_id(name, over, free)
    subject = Subject(name, key_name, signature, free, is_method=_is_method(source), over=over)
    spaces = (*_several(options["namespace"]), *dependencies_of(subject, options["depends_on"]))
    plan = KeyPlan(subject, options["key"], tuple(options["ignore"]), _several(options["vary"]), spaces)
    return FunctionSpec(source, name, plan, options)


def _signature_of_one(name: str, signature: Signature, over: str, ignore: Sequence[str]) -> Signature:
    """
    Return the signature of a bulk function as its keys see it: one id, `each`, in the place of many.

    Raises:
        TypeError: *over* names no parameter that can take a collection, or ids would not be told apart.
    """
    parameters = signature.parameters
    kind = parameters[over].kind if over in parameters else Parameter.VAR_POSITIONAL
    if kind in {Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD}:
        taken = ", ".join(map(str, parameters.values())) or "no parameters"
        msg = f"over={over!r} for {name}(); it names the parameter that takes the ids, of these: {taken}."
        raise TypeError(msg)
    if over in ignore or ONE_ID in ignore:
        msg = f"{name}() is over {over!r}, and ignore= names it too: all ids would share one entry."
        raise TypeError(msg)
    if ONE_ID in parameters and over != ONE_ID:
        msg = f"{name}() takes {ONE_ID!r}, which is one id of {over!r} in keys and namespaces; rename it."
        raise TypeError(msg)
    return signature.replace(
        parameters=[each.replace(name=ONE_ID) if each.name == over else each for each in parameters.values()]
    )


def _refuse_free_id(name: str, over: str, free: frozenset[str]) -> None:
    """
    Refuse a bulk function that reads a variable called `each`: its keys would take the one for the other.

    Raises:
        TypeError: It does.
    """
    if ONE_ID in free:
        msg = (
            f"{name}() reads {ONE_ID!r} from the function around it, which is one id of {over!r} in keys and "
            "namespaces; rename it."
        )
        raise TypeError(msg)


def _is_method(source: Source) -> bool:
    body = source.function.__qualname__.rpartition(".")[0]
    return source.binding != "none" and bool(body) and not body.endswith("<locals>")


def _several(option: object) -> tuple[object, ...]:
    """Return an option that takes one or a sequence as a tuple."""
    if option is None:
        return ()
    return tuple(option) if isinstance(option, list | tuple) else (option,)
