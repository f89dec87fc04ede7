"""Resolve the options of a function against the settings in force: its policy, and how its keys are made."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from django.apps import apps
from django.core.cache import caches
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.utils.timezone import get_current_timezone_name
from django.utils.translation import get_language

from cachedeco.functions.options import Timeout, always, as_tuple
from cachedeco.invalidation.namespaces import table_namespace, whole_key_of
from cachedeco.invalidation.rows import table_of
from cachedeco.invalidation.tokens import LONGEST_LIFETIME
from cachedeco.keys.compiler import CompiledKeys, KeyPlan, KeyScheme
from cachedeco.keys.dependencies import AUTO, dependencies_of, depends_on_in_force, refuse_auto_without_app
from cachedeco.loading.policy import CachePolicy
from cachedeco.loading.sampling import share_to_audit
from cachedeco.runtime import conf
from cachedeco.runtime.validation import UNSET, Unset, seconds_of, span_of
from cachedeco.storage.entries import EntryCodec
from cachedeco.storage.keyspace import Keyspace
from cachedeco.storage.serializers import ABSENT, build_serializer
from cachedeco.storage.store import Store
from cachedeco.tracking.known_tables import KnownTables

# A call's own token must outlive its entries: they end with it. It lives for this many timeouts, so that at most one
# entry in four ends early, and the server drops the token soon after the last entry.
TOKEN_TIMEOUTS: Final = 4
SHORTEST_LIFETIME: Final = 60.0


# What users vary by that is the same in a thread and in the task that waits for it.
FOLLOWS_CONTEXT: Final = (get_language, get_current_timezone_name)


@dataclass(frozen=True, slots=True)
class ResolvedSpec:
    """The result of resolving a `FunctionSpec` against settings."""

    settings: conf.Settings
    policy: CachePolicy
    compiled_keys: CompiledKeys
    keyspace: Keyspace
    asks_thread: bool  #: whether keys are made in the thread of Django's connections: they may depend on it


def resolve(plan: KeyPlan, options: Mapping[str, Any], settings: conf.Settings) -> ResolvedSpec:
    """
    Resolve the options of a function against the settings in force.

    Raises:
        ImproperlyConfigured: A cache or database is not in the settings, or invalidations do not reach the cache.
    """
    name = plan.keyed.name
    alias = settings.ALIASES[0] if options["cache"] is None else options["cache"]
    if fault := find_cache_fault(name, options["cache"], settings) or find_database_fault(name, options["using"]):
        raise ImproperlyConfigured(" ".join(fault))
    store = Store(alias, name)
    dependencies = plan.dependencies
    if options["depends_on"] is UNSET:
        by_default = [each for each in settings.DEPENDS_ON if each != AUTO]
        dependencies = dependencies_of(plan.keyed, by_default, "CACHEDECO['DEPENDS_ON']")
    declared = frozenset(table_of(dependency.resolve()[0]) for dependency in dependencies)
    policy = _policy_of(plan, options, settings, store, declared)
    keyspace = store.keyspace
    scheme = KeyScheme(
        keyspace.start + settings.KEY_PREFIX,
        keyspace.table_prefix + settings.KEY_PREFIX,
        options["version"],
        settings.VARY,
        policy.codec.serializer.release,
    )
    asks_thread = (
        keyspace.asks_thread
        or plan.calls_users_code
        or not all(each in FOLLOWS_CONTEXT for each in (*as_tuple(options["vary"]), *settings.VARY))
        or _queries_on_loops()
    )
    return ResolvedSpec(settings, policy, plan.compile(scheme, dependencies), keyspace, asks_thread)


def _queries_on_loops() -> bool:
    """Tell whether Django does not refuse a query on an event loop."""
    return bool(os.environ.get("DJANGO_ALLOW_ASYNC_UNSAFE"))


def _policy_of(
    plan: KeyPlan, options: Mapping[str, Any], settings: conf.Settings, store: Store, declared: frozenset[str]
) -> CachePolicy:
    """Return the policy of a function; *declared* are the tables that it depends on without AUTO."""
    timeout, lifetime = _timeouts(options, settings, store)
    return CachePolicy(
        function=plan.keyed.name,
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
        tables=_known_tables(plan, options, settings, store, declared),
        asks_thread=callable(options["timeout"]) or options["cache_if"] is not always or _queries_on_loops(),
        audit=share_to_audit(settings.AUDIT if options["audit"] else 0.0),
    )


def _known_tables(
    plan: KeyPlan, options: Mapping[str, Any], settings: conf.Settings, store: Store, declared: frozenset[str]
) -> KnownTables | None:
    """Return the tables that the function is known to read, if it depends on them."""
    refuse_auto_without_app(plan.keyed.name, options["depends_on"])
    # Before the models are ready nothing is watched, and none can be read: then all is resolved anew.
    is_watched = apps.models_ready and apps.is_installed("cachedeco")
    if AUTO not in depends_on_in_force(options["depends_on"]) or not is_watched:
        return None
    keyspace, prefix = store.keyspace, settings.KEY_PREFIX
    version = quote(str(options["version"] or ""), safe="")
    return KnownTables(
        store,
        keyspace.table_key(f"{prefix}:r:{plan.keyed.key_name}({version})"),
        lambda table: whole_key_of(table_namespace(table), prefix, keyspace),
        declared,
    )


def _timeouts(
    options: Mapping[str, Any], settings: conf.Settings, store: Store
) -> tuple[Callable[[Any], float | None], float]:
    """
    Return a callable that returns the timeout of a value, and the lifetime of a call's own token.

    That has an end without a timeout, too: a call that raises leaves a token and no entry, one for each argument.
    """
    option: Timeout | Unset = options["timeout"]
    chosen = settings.TIMEOUT if option is UNSET or callable(option) else option
    seconds = store.default_timeout() if chosen is UNSET else seconds_of(chosen)
    if callable(option):
        # It is unknown when the token is created: no token, and so no entry, lives longer.
        return (
            lambda value: seconds if value is ABSENT else seconds_of(option(value), what="its result"),
            LONGEST_LIFETIME,
        )
    remembered = [seconds_of(timeout) for timeout in options["cache_exceptions"].values()]
    if seconds is None or None in remembered:
        return lambda _: seconds, LONGEST_LIFETIME
    max_stale = max(
        span_of(options["stale_while_revalidate"], what="stale_while_revalidate"),
        span_of(options["stale_if_error"], what="stale_if_error"),
    )
    longest = max([seconds + max_stale, *(each for each in remembered if each is not None)])
    return lambda _: seconds, min(LONGEST_LIFETIME, max(SHORTEST_LIFETIME, TOKEN_TIMEOUTS * longest))


class Fault(NamedTuple):
    """What is wrong, and what to do."""

    problem: str
    remedy: str


def find_cache_fault(name: str, alias: str | None, settings: conf.Settings) -> Fault | None:
    """Return what is wrong with the cache of a function: there is none, or invalidations do not reach it."""
    if alias is None:
        first = settings.ALIASES[0]
        problem = f"CACHEDECO['ALIASES'] names {first!r}, which is not in CACHES."
        return None if first in caches else Fault(problem, f"CACHES has {list(caches)!r}.")
    if alias not in caches:
        taken = ", ".join([each for each in settings.ALIASES if each in caches]) or "there is none in CACHES"
        return Fault(
            f"{name}() has cache={alias!r}, which is not in CACHES.",
            f"It takes one of those that CACHEDECO['ALIASES'] names: {taken}.",
        )
    if alias not in settings.ALIASES:
        return Fault(
            f"{name}() has cache={alias!r}, which is not in CACHEDECO['ALIASES'], {list(settings.ALIASES)!r}.",
            "Add the alias there: an invalidation of a namespace would not reach the function.",
        )
    return None


def find_database_fault(name: str, using: str) -> Fault | None:
    """Return what is wrong with the database of a function, if there is none of its name."""
    if using in connections:
        return None
    return Fault(
        f"{name}() has using={using!r}, which is not in DATABASES.", f"It takes one of {', '.join(connections)}."
    )
