"""`FunctionSpec`: the decorator's options for one function, resolved against the settings in force."""

import inspect
import os
import types
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property, partial
from inspect import Parameter, Signature
from typing import Any, Final, Literal, NamedTuple, Self
from urllib.parse import quote
from weakref import WeakSet

from django.apps import apps
from django.core.cache import caches
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.db.models import Model
from django.utils.decorators import method_decorator
from django.utils.timezone import get_current_timezone_name
from django.utils.translation import get_language

from cachedeco.functions.naming import key_name_of, name_of, take_names
from cachedeco.functions.options import Timeout, always, check
from cachedeco.functions.views import refuse_annotated_view, refuse_view
from cachedeco.invalidation.delivery import Invalidation
from cachedeco.invalidation.identities import PartTypeError
from cachedeco.invalidation.namespaces import table_namespace
from cachedeco.invalidation.rows import table_of
from cachedeco.invalidation.tokens import LONGEST_LIFETIME
from cachedeco.keys.compiler import CompiledKeys, KeyPlan, KeyScheme, token_of_function
from cachedeco.keys.dependencies import AUTO, dependencies_of, refuse_to_be_blind
from cachedeco.keys.encoders import KeyTypeError
from cachedeco.keys.expressions import ONE_ID, Subject, free_variables
from cachedeco.keys.imports import functions_among, imports_of
from cachedeco.keys.signatures import text_signature
from cachedeco.keys.unsaved import UnsavedRowError
from cachedeco.loading.found import VariedKeys
from cachedeco.loading.policy import CachePolicy
from cachedeco.loading.sampling import share_to_audit
from cachedeco.runtime import conf
from cachedeco.runtime.reprs import repr_of
from cachedeco.runtime.validation import UNSET, Unset, seconds_of, span_of
from cachedeco.storage import sharing
from cachedeco.storage.entries import EntryCodec
from cachedeco.storage.keyspace import Keyspace
from cachedeco.storage.refusals import VIEWS
from cachedeco.storage.serializers import ABSENT, build_serializer
from cachedeco.storage.store import Store
from cachedeco.tracking.known_tables import KnownTables

# A call's own token must outlive its entries: they end with it. It lives for this many timeouts, so that at most one
# entry in four ends early, and the server drops the token soon after the last entry.
TOKEN_TIMEOUTS: Final = 4
SHORTEST_LIFETIME: Final = 60.0


# What users vary by that is the same in a thread and in the task that waits for it.
FOLLOWS_CONTEXT: Final = (get_language, get_current_timezone_name)

# What may be raised where a key is made of a call.
NO_KEYS: Final = (KeyTypeError, PartTypeError, UnsavedRowError, AttributeError, RecursionError, ValueError)


class ResolvedSpec(NamedTuple):
    """The result of resolving a `FunctionSpec` against settings."""

    settings: conf.Settings
    policy: CachePolicy
    compiled_keys: CompiledKeys
    keyspace: Keyspace
    asks_thread: bool  #: whether keys are made in the thread of Django's connections: they may depend on it


class Source(NamedTuple):
    """The decorated function, and how it is bound."""

    function: Callable[..., Any]
    binding: Literal["instance", "class", "none"]
    bound_args: tuple[object, ...] = ()  #: arguments of a decorated partial or bound method

    @classmethod
    def of(cls, decorated: object, decorator: str) -> Self:
        """
        Find the function inside a classmethod, staticmethod, partial or bound method.

        Raises:
            TypeError: It can't be cached.
        """
        binding: Literal["instance", "class", "none"] = "instance"
        function: Any = decorated
        if issubclass(type(function), classmethod | staticmethod):  # isinstance() would take cached functions for these
            binding = "class" if isinstance(function, classmethod) else "none"
            function = function.__func__
        bound_args: tuple[object, ...] = ()
        while isinstance(function, partial | types.MethodType):
            if isinstance(function, partial) and function.keywords:
                msg = (
                    f"A partial of {repr_of(function.func)} sets keyword arguments; decorate the function itself, or a "
                    "def that calls it."
                )
                raise TypeError(msg)
            function, bound_args = (
                (function.func, (*function.args, *bound_args))
                if isinstance(function, partial)
                else (function.__func__, (function.__self__, *bound_args))
            )
        if getattr(function, "__module__", None) == method_decorator.__module__:  # it tries decorators on a dummy first
            msg = (
                "A method needs no method_decorator(): put our decorator right above it, and its verbs are bound too. "
                f"{VIEWS}"
            )
            raise TypeError(msg)
        if type(function) is not types.FunctionType:
            msg = (
                f"{decorator} can't decorate {repr_of(function)}; it takes a function or method{_remedy_for(function)}."
            )
            raise TypeError(msg)
        refuse_view(function)
        if function.__code__.co_flags & (inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR):
            msg = f"{function.__qualname__}() is a generator: its values can be used only once. Return a list."
            raise TypeError(msg)
        return cls(function, "none" if bound_args else binding, bound_args)


def _remedy_for(decorated: object) -> str:
    """Return the end of an error about what can't be decorated."""
    kind = type(decorated)
    if hasattr(kind, "invalidate_all"):
        return ". It is cached already: decorate it once"
    if issubclass(kind, property | cached_property):
        return f". Put @{kind.__name__} above it: the property then returns what is cached"
    if isinstance(decorated, type) and issubclass(decorated, Model):
        return f". What it reads invalidates it by itself; to say so by hand: depends_on=[{decorated.__name__}]"
    if issubclass(kind, type):
        return ". Decorate a method of the class, or a function that makes the object"
    if callable(decorated):
        return ". If another decorator has made it, put ours below that one; else decorate a def that calls it"
    return ". It stands above a def"


class FunctionSpec:
    """
    Everything known about one decorated function: checked at decoration, resolved at the first call.

    Raises:
        TypeError, ValueError: As `cached_query` says.
    """

    def __init__(self, source: Source, name: str, plan: KeyPlan, options: Mapping[str, Any]) -> None:
        """Register the function."""
        self.source = source
        self.name = name
        self.options = options
        # Whether a call returns the same value until an invalidation: an auditor can only compare such values.
        self.is_auditable = options["audit"] and options["nested"]
        self._plan = plan
        self._vary: tuple[Callable[..., object], ...] = _as_tuple(options["vary"])
        self._resolved: ResolvedSpec | None = None
        #: the types that arguments have had in keys, by label, with DEBUG
        self.kinds_in_keys: defaultdict[str, set[str]] = defaultdict(set)
        self.kinds_in_key = plan.kinds_in_key
        self.dependencies = plan.dependencies
        self.over = plan.subject.over  #: the parameter that takes many ids; None for a function of one call
        first = next(iter(plan.subject.signature.parameters), "")
        #: the first parameter of a method whose key ignores the object; empty for others
        self.ignored_instance = first if plan.subject.is_method and first in options["ignore"] else ""
        _alive.add(self)

    def accepts(self, args: Sequence[object], kwargs: dict[str, object]) -> bool:
        """Tell whether the function can be called with these arguments, of many ids with one."""
        try:
            self._plan.subject.signature.bind(*args, **kwargs)
        except TypeError:
            return False
        return True

    def resolve_call(self, args: Sequence[object], kwargs: dict[str, object]) -> tuple[CachePolicy, list[str]]:
        """Return the policy in force, and the keys of a call: its entry's, its own token's, the other tokens'."""
        resolved = self._resolved
        if resolved is None or resolved.settings is not conf.settings():
            resolved = self.resolve()
        try:
            keys = resolved.compiled_keys.keys(*args, **kwargs)
            policy = resolved.policy
            if not self._vary:
                keys = resolved.keyspace.finish(keys)
                return policy, keys if policy.tables is None else policy.tables.complete(keys)
            count = len(keys) - len(self._vary)
            variation = tuple(zip(self._vary, keys[count:], strict=True))
            keys = resolved.keyspace.finish(keys[:count])
            return policy, VariedKeys(keys if policy.tables is None else policy.tables.complete(keys), variation)
        except NO_KEYS as error:
            self._explain(error, args, kwargs)
            raise
        except TypeError as error:
            if "_refresh" not in kwargs or self.accepts(args, kwargs):
                raise
            msg = f"{error}; to compute anew and store, call its refresh() with the same arguments."
            raise TypeError(msg) from None

    def resolve_on_loop(self) -> ResolvedSpec | None:
        """Return the spec under the settings in force if the keys of calls can be made on an event loop; else None."""
        resolved = self._resolved
        if resolved is None or resolved.settings is not conf.settings() or resolved.asks_thread:
            return None
        tables = resolved.policy.tables
        return resolved if tables is None or tables.is_loaded else None

    def resolve_calls(
        self, calls: Iterable[tuple[Sequence[object], dict[str, object]]]
    ) -> tuple[CachePolicy, list[list[str]]]:
        """Return the policy in force, and the keys of each of several calls, as `resolve_call()` does for one."""
        resolved = self.resolve()
        if self._vary:
            return resolved.policy, [self.resolve_call(*call)[1] for call in calls]
        keys_of, several = resolved.compiled_keys.keys, []
        args: Sequence[object] = ()
        kwargs: dict[str, object] = {}
        try:
            for args, kwargs in calls:
                several.append(keys_of(*args, **kwargs))
        except NO_KEYS as error:
            self._explain(error, args, kwargs)
            raise
        several = resolved.keyspace.finish_each(several)
        tables = resolved.policy.tables
        return resolved.policy, several if tables is None else [tables.complete(keys) for keys in several]

    def _explain(self, error: Exception, args: Sequence[object], kwargs: dict[str, object]) -> None:
        """Raise an error that names the function and the argument, if the key is to blame."""
        explained = self._plan.explain(error, args, kwargs)
        if explained is not error:
            raise explained from (error if isinstance(error, AttributeError | ValueError) else None)

    def arguments_of(self, args: Sequence[object], kwargs: dict[str, object]) -> Sequence[object]:
        """Return what a computation is given: rows among it were read before. The rows in its key are among it, too."""
        return (
            (args, kwargs)
            if self.resolve().policy.tables is None
            else (args, kwargs, *self._plan.objects_in_key(args, kwargs))
        )

    def own_token(self, args: Sequence[object], kwargs: dict[str, object]) -> Invalidation:
        """Return the invalidation of one call, of all its variants: *vary* is not evaluated."""
        resolved = self.resolve()
        try:
            own = resolved.compiled_keys.own(*args, **kwargs)
        except NO_KEYS as error:
            self._explain(error, args, kwargs)
            raise
        except TypeError as error:
            if self.accepts(args, kwargs):
                raise
            msg = f"{error}; invalidate() takes the arguments of the call, and invalidate_all() ends all calls."
            raise TypeError(msg) from None
        [key] = resolved.keyspace.finish([own])
        return Invalidation(resolved.policy.store, key, resolved.policy.lifetime)

    def function_token(self) -> Invalidation:
        """Return the invalidation of all calls."""
        resolved = self.resolve()
        keyspace = resolved.keyspace
        key = keyspace.whole_key(token_of_function(resolved.settings.KEY_PREFIX, self._plan.subject.key_name))
        return Invalidation(resolved.policy.store, key)

    def resolve(self) -> ResolvedSpec:
        """Return the spec under the settings in force: the same object until the settings change."""
        settings = conf.settings()
        resolved = self._resolved
        if resolved is None or resolved.settings is not settings:
            resolved = self._resolved = self._resolve_for(settings)
            sharing.begin(settings)
        return resolved

    def _resolve_for(self, settings: conf.Settings) -> ResolvedSpec:
        options = self.options
        alias = settings.ALIASES[0] if options["cache"] is None else options["cache"]
        self._refuse_unknown(settings, alias)
        store = Store(alias, self.name)
        timeout, lifetime = self._timeouts(settings, store)
        dependencies = self.dependencies
        if options["depends_on"] is UNSET:
            by_default = [each for each in settings.DEPENDS_ON if each != AUTO]
            dependencies = dependencies_of(self._plan.subject, by_default)
        declared = frozenset(table_of(dependency.resolve()[0]) for dependency in dependencies)
        queries_on_loops = bool(os.environ.get("DJANGO_ALLOW_ASYNC_UNSAFE"))  # Django does not refuse it then
        policy = CachePolicy(
            function=self.name,
            store=store,
            codec=EntryCodec(store, build_serializer(options["serializer"], settings.SIGNING_KEYS)),
            using=options["using"],
            timeout=timeout,
            cache_if=options["cache_if"],
            cache_exceptions={kind: seconds_of(timeout) for kind, timeout in options["cache_exceptions"].items()},
            lifetime=lifetime,
            stale_while_revalidate=span_of(options["stale_while_revalidate"], what="stale_while_revalidate"),
            stale_if_error=span_of(options["stale_if_error"], what="stale_if_error"),
            early=options["early"],
            jitter=settings.JITTER if options["jitter"] is UNSET else options["jitter"],
            wait=settings.WAIT if options["wait"] is UNSET else span_of(options["wait"], what="wait"),
            nested=options["nested"],
            refresh=settings.REFRESH,
            declared=declared,
            tables=self._known_tables(settings, store, declared),
            asks_thread=callable(options["timeout"]) or options["cache_if"] is not always or queries_on_loops,
            audit=share_to_audit(settings.AUDIT if options["audit"] else 0.0),
        )
        keyspace = store.keyspace
        scheme = KeyScheme(
            keyspace.start + settings.KEY_PREFIX,
            keyspace.table_prefix + settings.KEY_PREFIX,
            options["version"],
            settings.VARY,
            policy.codec.serializer.release,
        )
        compiled_keys = self._plan.compile(scheme, dependencies)
        asks_thread = (
            keyspace.asks_thread
            or self._plan.calls_users_code
            or not all(each in FOLLOWS_CONTEXT for each in (*self._vary, *settings.VARY))
            or queries_on_loops
        )
        return ResolvedSpec(settings, policy, compiled_keys, keyspace, asks_thread)

    def _refuse_unknown(self, settings: conf.Settings, alias: str) -> None:
        """
        Refuse a cache or database that is not in the settings, and a cache that invalidations do not reach.

        Raises:
            ImproperlyConfigured: It is one.
        """
        if alias not in caches:
            msg = (
                f"{self.name}() has cache={alias!r}, which is not in CACHES; it takes one of "
                f"{', '.join(settings.ALIASES)}."
            )
            raise ImproperlyConfigured(msg)
        if alias not in settings.ALIASES:
            msg = (
                f"{self.name}() uses cache={alias!r}, which is not in CACHEDECO['ALIASES'] = "
                f"{list(settings.ALIASES)!r}: a namespace would not reach it. Add the alias there."
            )
            raise ImproperlyConfigured(msg)
        if self.options["using"] not in connections:
            msg = (
                f"{self.name}() has using={self.options['using']!r}, which is not in DATABASES; it takes one of "
                f"{', '.join(connections)}."
            )
            raise ImproperlyConfigured(msg)

    def _known_tables(self, settings: conf.Settings, store: Store, declared: frozenset[str]) -> KnownTables | None:
        """Return the tables that the function is known to read, if it depends on them."""
        depends_on = settings.DEPENDS_ON if self.options["depends_on"] is UNSET else self.options["depends_on"]
        # Before that nothing is watched, and no model can be read. When Django has started, all is resolved anew.
        if AUTO not in depends_on or not apps.models_ready:
            return None
        refuse_to_be_blind(self.name, self.options["depends_on"])
        if not apps.is_installed("cachedeco"):
            return None
        keyspace, prefix = store.keyspace, settings.KEY_PREFIX
        version = quote(str(self.options["version"] or ""), safe="")
        return KnownTables(
            store,
            keyspace.table_key(f"{prefix}:r:{self._plan.subject.key_name}({version})"),
            lambda table: table_namespace(table).whole_key(prefix, keyspace),
            declared,
        )

    def _timeouts(self, settings: conf.Settings, store: Store) -> tuple[Callable[[Any], float | None], float]:
        """
        Return a callable that returns the timeout of a value, and the lifetime of a call's own token.

        That has an end without a timeout, too: a call that raises leaves a token and no entry, one for each argument.
        """
        option: Timeout | Unset = self.options["timeout"]
        chosen = settings.TIMEOUT if option is UNSET or callable(option) else option
        seconds = store.default_timeout() if chosen is UNSET else seconds_of(chosen)
        if callable(option):
            # It is unknown when the token is created: no token, and so no entry, lives longer.
            return (
                lambda value: seconds if value is ABSENT else seconds_of(option(value), what="its result"),
                LONGEST_LIFETIME,
            )
        remembered = [seconds_of(timeout) for timeout in self.options["cache_exceptions"].values()]
        if seconds is None or None in remembered:
            return lambda _: seconds, LONGEST_LIFETIME
        max_stale = max(
            span_of(self.options["stale_while_revalidate"], what="stale_while_revalidate"),
            span_of(self.options["stale_if_error"], what="stale_if_error"),
        )
        longest = max([seconds + max_stale, *(each for each in remembered if each is not None)])
        return lambda _: seconds, min(LONGEST_LIFETIME, max(SHORTEST_LIFETIME, TOKEN_TIMEOUTS * longest))


# Weak: a function that is decorated again at each call of an outer one must not be kept alive.
_alive: WeakSet[FunctionSpec] = WeakSet()


def all_specs() -> list[FunctionSpec]:
    """Return the specs of all decorated functions that are alive, sorted by name."""
    return sorted(_alive, key=lambda spec: spec.name)


# --- at decoration ---


def build_spec(decorated: object, options: Mapping[str, Any], over: str | None = None) -> FunctionSpec:
    """
    Check the function and the options, and return the spec of the function.

    Args:
        decorated: The function, or a classmethod, staticmethod, partial or bound method around one.

        options: All options.

        over: Name of the parameter that takes many ids. In keys it is replaced by one id, `each`.
    """
    source = Source.of(decorated, "cached_query" if over is None else "cached_query_many")
    name = name_of(source.function, options["name"])
    check(options, name)
    key_name = key_name_of(source.function, name)
    signature, free = text_signature(source.function), free_variables(source.function)
    refuse_annotated_view(source.function, signature, name, options)
    if over is not None:
        signature = _signature_for_one_id(name, signature, over, options["ignore"])
        _refuse_free_id(name, over, free)
    imports = imports_of(source.function, free)
    subject = Subject(
        name,
        key_name,
        signature,
        free,
        is_method=_is_method(source),
        takes_class=source.binding == "class",
        over=over,
        imports=imports,
        functions=functions_among(source.function, free),
    )
    depends_on = () if options["depends_on"] is UNSET else options["depends_on"]
    namespaces = (*_as_tuple(options["namespace"]), *dependencies_of(subject, depends_on))
    plan = KeyPlan(subject, options["key"], tuple(options["ignore"]), _as_tuple(options["vary"]), namespaces)
    refuse_to_be_blind(name, options["depends_on"])
    spec = FunctionSpec(source, name, plan, options)
    take_names(spec, source.function, name, key_name, is_chosen=options["name"] is not None)
    return spec


def _signature_for_one_id(name: str, signature: Signature, over: str, ignore: Sequence[str]) -> Signature:
    """
    Return the signature of a bulk function in its keys: one id, `each`, in the place of many.

    Raises:
        TypeError: *over* names no parameter that can take a collection, or the key ignores the id.
    """
    parameters = signature.parameters
    kind = parameters[over].kind if isinstance(over, str) and over in parameters else Parameter.VAR_POSITIONAL
    if kind in {Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD}:
        bare = [each.replace(annotation=Parameter.empty) for each in parameters.values()]
        taken = ", ".join(map(str, bare)) or "no parameters"
        msg = f"over={repr_of(over)} for {name}(); it names the parameter that takes the ids, of these: {taken}."
        raise TypeError(msg)
    if over in ignore or ONE_ID in ignore:
        msg = f"{name}() is over {over!r}, and ignore= names it too: all ids would share one entry."
        raise TypeError(msg)
    if ONE_ID in parameters and over != ONE_ID:
        msg = f"{name}() takes {ONE_ID!r}, which is one id of {over!r} in keys and namespaces; rename it."
        raise TypeError(msg)
    return signature.replace(
        parameters=[item.replace(name=ONE_ID) if item.name == over else item for item in parameters.values()]
    )


def _refuse_free_id(name: str, over: str, free: frozenset[str]) -> None:
    """
    Refuse a bulk function that reads a variable called `each`: its keys would confuse it with the id.

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


def _as_tuple(option: object) -> tuple[Any, ...]:
    """Return an option that takes one or a sequence as a tuple."""
    if option is None:
        return ()
    return tuple(option) if isinstance(option, list | tuple) else (option,)
