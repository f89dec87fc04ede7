"""System checks of the caches and databases that cached functions use: missing timeouts, lost errors, stale reads."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from django.core.cache import caches
from django.core.checks import CheckMessage, Error, Warning, register  # noqa: A004 -- Django's name
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.utils.module_loading import import_string

from cachedeco.checks.registering import Messages, check
from cachedeco.functions.discovery import decorated_functions
from cachedeco.runtime import conf
from cachedeco.runtime.interrupts import pass_interrupt
from cachedeco.runtime.reprs import shorten_error
from cachedeco.storage.connections import open_cache
from cachedeco.storage.store import servers_of

OURS: Final = "cachedeco.backends.memcached.MemcachedCache"
OUR_REDIS: Final = "cachedeco.backends.redis.RedisCache"
PYMEMCACHE: Final = "django.core.cache.backends.memcached.PyMemcacheCache"
PYLIBMC: Final = "django.core.cache.backends.memcached.PyLibMCCache"
REDIS: Final = "django.core.cache.backends.redis.RedisCache"
DJANGO_REDIS: Final = "django_redis.cache.RedisCache"
DJANGO_VALKEY: Final = "django_valkey.cache.ValkeyCache"
LOCMEM: Final = "django.core.cache.backends.locmem.LocMemCache"
DUMMY: Final = "django.core.cache.backends.dummy.DummyCache"
DATABASE: Final = "django.core.cache.backends.db.DatabaseCache"
FILE: Final = "django.core.cache.backends.filebased.FileBasedCache"

# Each client's options for its timeouts: of a connection, and of an answer.
TIMEOUTS: Final = {
    PYMEMCACHE: ("connect_timeout", "timeout"),
    PYLIBMC: ("connect_timeout", "receive_timeout"),
    REDIS: ("socket_connect_timeout", "socket_timeout"),
    DJANGO_REDIS: ("SOCKET_CONNECT_TIMEOUT", "SOCKET_TIMEOUT"),
    DJANGO_VALKEY: ("SOCKET_CONNECT_TIMEOUT", "SOCKET_TIMEOUT"),
}
# The option that names the serializer, and the serializer that checks a signature before it unpickles.
SERIALIZERS: Final = {
    "serde": "cachedeco.backends.serializers.SignedSerde",
    "serializer": "cachedeco.backends.serializers.SignedSerializer",
}
# The backends of other packages, which take the options of django-redis.
CLIENTS: Final = (DJANGO_REDIS, DJANGO_VALKEY)
NESTED_OPTIONS: Final = ("CONNECTION_POOL_KWARGS", "REDIS_CLIENT_KWARGS", "BASE_CLIENT_KWARGS")
# ... and those of our backends, which have defaults.
OUR_TIMEOUTS: Final = {OURS: TIMEOUTS[PYMEMCACHE], OUR_REDIS: TIMEOUTS[REDIS]}
RETRIES: Final = ("retry_on_timeout", "retry_on_error", "retry")
FEW_ENTRIES: Final = 1000
DEFAULT_ENTRIES: Final = 300  # Django's own


class Cache:
    """One entry of Django's CACHES, with what the checks read."""

    def __init__(self, alias: str, given: object) -> None:
        """Read the entry; if its backend can't be imported, it is of no kind. What Django refuses, E012 reports."""
        entry = _mapping(given)
        self.alias = alias
        self.options = _mapping(entry.get("OPTIONS"))
        self.location: object = entry.get("LOCATION", "")
        self.servers = servers_of(entry)
        try:  # Django accepts it beside OPTIONS, too; and takes its default where it is no number
            self.max_entries = int(entry.get("MAX_ENTRIES", self.options.get("MAX_ENTRIES", DEFAULT_ENTRIES)))
        except (TypeError, ValueError):
            self.max_entries = DEFAULT_ENTRIES
        backend = import_if_path(entry.get("BACKEND", ""))
        if not isinstance(backend, type):  # None, or a function that makes the cache
            backend = object
        # A subclass may store values in another form, so it does not inherit the offer.
        self.offers_raw_client = "raw_client" in vars(backend)
        self._names = names_of(backend)

    def is_one_of(self, *backends: str) -> bool:
        """Tell whether the backend is one of these, or derived from one."""
        return any(name in backends for name in self._names)

    def option(self, name: str) -> object:
        """Return an option of the client, from OPTIONS or a URL; None if it is not set."""
        places = [self.options, *(_mapping(self.options.get(name)) for name in ("behaviors", "CONNECTION_POOL_KWARGS"))]
        in_urls = [
            found[1] for found in (re.search(rf"[?&]{name.lower()}=([^&]*)", url) for url in self.servers) if found
        ]
        return next((place[name] for place in places if name in place), in_urls[0] if in_urls else None)


def _mapping(given: object) -> Mapping[str, Any]:
    return given if isinstance(given, Mapping) else {}


def import_if_path(given: Any) -> Any:
    """Return an object that a setting gives by dotted path or directly; `object` if it can't be imported."""
    try:
        return import_string(given) if isinstance(given, str) else given
    except ImportError:
        return object


def names_of(cls: type) -> list[str]:
    """Return the dotted paths of a class and its bases."""
    return [f"{each.__module__}.{each.__qualname__}" for each in cls.__mro__]


def check_opening(cache: Cache) -> Messages:
    """Refuse a cache that can't be opened: its backend, its client's package or its options are missing or wrong."""
    try:
        # The client of Django's backends for memcached and Redis is made at its first use; it connects later.
        getattr(open_cache(cache.alias), "_cache", None)
    except Exception as error:  # noqa: BLE001 -- a backend may raise anything
        pass_interrupt(error)
        yield Error(
            f"Cache {cache.alias!r} can't be opened: {shorten_error(error)}",
            hint="Correct its BACKEND, LOCATION and OPTIONS in CACHES, and install the package of its client.",
            id="cachedeco.E012",
        )


def check_timeouts(cache: Cache) -> Messages:
    """Warn of a client that waits for ever."""
    is_ours = cache.is_one_of(*OUR_TIMEOUTS)
    for backend, names in (OUR_TIMEOUTS if is_ours else TIMEOUTS).items():
        missing = [
            name
            for name in names
            if cache.option(name) is None and cache.option(name.lower()) is None
            if not is_ours or name in cache.options
        ]
        if cache.is_one_of(backend) and missing:
            yield Warning(
                f"The client of cache {cache.alias!r} has no {' and no '.join(missing)}: it may wait for ever.",
                hint="Add to its OPTIONS how long a call may wait for a server that hangs, such as half a second.",
                id="cachedeco.W003",
            )


def check_swallowed_errors(cache: Cache) -> Messages:
    """Warn of a client that hides lost writes."""
    hiding = (
        *((each, "ignore_exc") for each in (OURS, OUR_REDIS, PYMEMCACHE)),
        *((each, "IGNORE_EXCEPTIONS") for each in CLIENTS),
    )
    for backend, name in hiding:
        if cache.is_one_of(backend) and cache.options.get(name):
            yield Warning(
                f"The client of cache {cache.alias!r} has {name}=True: a lost write is not reported.",
                hint=f"Remove {name}: cachedeco fails open by itself. Values that may be lost,"
                " such as template fragments, can have an alias of their own.",
                id="cachedeco.W004",
            )


def check_several_memcached(cache: Cache) -> Messages:
    """Warn of a client that moves keys to other servers without an error."""
    if cache.is_one_of(PYMEMCACHE) and len(cache.servers) > 1:
        yield Warning(
            f"Cache {cache.alias!r} has {len(cache.servers)} servers: when one is out of reach, each process moves its"
            " keys to another one by itself, and what is invalidated there is old when the server is back.",
            hint=f"Use {OURS} as BACKEND, which leaves each key where it is; or one server for each alias.",
            id="cachedeco.W005",
        )


def check_repeated_writes(cache: Cache) -> Messages:
    """Warn of a client that may send one token twice."""
    given = [name for name in RETRIES if _retries(cache.option(name))]
    if cache.is_one_of(REDIS, *CLIENTS) and not cache.is_one_of(OUR_REDIS) and given:
        yield Warning(
            f"The client of cache {cache.alias!r} has {given[0]}: it may send the same token twice, and the second one"
            " brings back what was invalidated between them.",
            hint=f"Remove {given[0]}: cachedeco tries an invalidation again by itself, with a fresh token.",
            id="cachedeco.W006",
        )


def check_replicas(cache: Cache) -> Messages:
    """Refuse replicas: a token read from one may be older than the invalidation."""
    # On our own backend cached functions read from the primary, and only `cache.get()` from replicas.
    is_ours = cache.is_one_of(OUR_REDIS) and cache.offers_raw_client
    reason = _reason_for_replicas(cache) if cache.is_one_of(REDIS, *CLIENTS) and not is_ours else ""
    if reason:
        yield Error(
            f"Cache {cache.alias!r} {reason}, where an invalidation may not have arrived.",
            hint=f"Use {OUR_REDIS} as BACKEND, on which cached functions read from the primary; or give them an alias"
            " of their own, whose LOCATION is the primary alone; behind Sentinel, one URL with ?is_master=1, and not"
            " the SentinelClient.",
            id="cachedeco.E006",
        )


def _reason_for_replicas(cache: Cache) -> str:
    """Return by which of its settings a cache reads from replicas; empty if by none."""
    client = str(cache.options.get("CLIENT_CLASS", ""))
    if len(cache.servers) > 1 and "Shard" not in client and "Cluster" not in client:
        return f"has {len(cache.servers)} servers: Django reads from the replicas"
    if "Sentinel" in client and isinstance(cache.location, str):
        return f"has the client {client}, which reads from the replicas"
    for url in map(str, cache.servers):
        if re.search(r"[?&]is_master=(0|false|no|f|n)\b", url, re.IGNORECASE):
            return "has a URL with is_master=0, and reads from a replica"
        if "sentinel" in url.partition("://")[0].lower():
            return f"has a {url.partition('://')[0]}:// URL, whose client may read from replicas"
    for place in (cache.options, *(_mapping(cache.options.get(name)) for name in NESTED_OPTIONS)):
        for name, value in place.items():
            if re.search("replica|slave|load_balancing", str(name), re.IGNORECASE) and value:
                return f"has the option {name}, and reads from replicas"
    return ""


def check_own_memory(cache: Cache) -> Messages:
    """Warn, before a deployment, of a cache in the process's own memory, or of one that keeps nothing."""
    if cache.is_one_of(DUMMY):
        yield Warning(
            f"Cache {cache.alias!r} is a DummyCache, which keeps nothing: each call computes.",
            hint="Use memcached, Redis or the database cache; or say so: CACHEDECO = {'MODE': 'off'}.",
            id="cachedeco.W008",
        )
    elif cache.is_one_of(LOCMEM):
        yield Warning(
            f"Cache {cache.alias!r} is this process's own: an invalidation reaches no other process.",
            hint="Use memcached, Redis or the database cache; or silence this check if there is one process.",
            id="cachedeco.W008",
        )


def check_few_entries(cache: Cache) -> Messages:
    """Warn, before a deployment, of a cache that evicts entries early."""
    if cache.is_one_of(LOCMEM, DATABASE, FILE) and cache.max_entries < FEW_ENTRIES:
        yield Warning(
            f"Cache {cache.alias!r} keeps {cache.max_entries} entries, and each call takes two of them.",
            hint=f"Set MAX_ENTRIES in its OPTIONS, to {FEW_ENTRIES} or more.",
            id="cachedeco.W009",
        )


def check_unpickling(cache: Cache) -> Messages:
    """Warn of a backend that unpickles values before their signature is checked."""
    if not conf.settings().SIGNING_KEYS or cache.is_one_of(LOCMEM, DUMMY):
        return
    name, ours = next(((name, ours) for name, ours in SERIALIZERS.items() if name in cache.options), ("", ""))
    given = import_if_path(cache.options.get(name))
    if ours not in names_of(given if isinstance(given, type) else type(given)):
        yield Warning(
            f"The backend of cache {cache.alias!r} unpickles every value before its signature is checked.",
            hint=(
                'Give it "serde": SignedSerde([SECRET_KEY]) in its OPTIONS for memcached, "serializer": '
                "SignedSerializer([SECRET_KEY]) for Redis, from cachedeco.backends.serializers; others have none."
            ),
            id="cachedeco.W011",
        )


Check = Callable[[Cache], Messages]
ALWAYS: Final[Sequence[Check]] = (
    check_opening,
    check_replicas,
    check_timeouts,
    check_swallowed_errors,
    check_several_memcached,
    check_repeated_writes,
    check_unpickling,
)
BEFORE_DEPLOYMENT: Final[Sequence[Check]] = (check_own_memory, check_few_entries)


@check
def check_caches(**_: Any) -> Messages:
    """Check the backends and options of the caches of cached functions."""
    for cache in _caches():
        for examine in ALWAYS:
            yield from examine(cache)


@register("cachedeco", deploy=True)
def check_deployment(**_: Any) -> Sequence[CheckMessage]:
    """Check, with `--deploy`, for caches that suit a development machine, but not several processes."""
    return [message for cache in _caches() for examine in BEFORE_DEPLOYMENT for message in examine(cache)]


@check
def check_databases(**_: Any) -> Messages:
    """Check for databases whose transactions let nothing be stored, or end behind Django's back."""
    # Not only those that functions name: the transactions of a thread count on all databases.
    for alias in sorted(connections) if decorated_functions() else ():
        yield from _check_autocommit(alias)
        yield from _check_atomic_requests(alias)


def _check_autocommit(alias: str) -> Messages:
    """Check for AUTOCOMMIT set to False: Django calls no commit hooks, and has no other way to tell of a commit."""
    if not connections.settings[alias]["AUTOCOMMIT"]:
        yield Warning(
            f"Database {alias!r} has AUTOCOMMIT set to False: Django does not tell when a transaction of it commits."
            " An invalidation is sent at once, and once more when cachedeco next finds the transaction ended;"
            " what others store between is stale until then.",
            hint="Remove AUTOCOMMIT, and use atomic(); or invalidate after each commit.",
            id="cachedeco.W012",
        )


def _check_atomic_requests(alias: str) -> Messages:
    """Check for a database on which each view is a transaction that can store nothing."""
    if connections.settings[alias].get("ATOMIC_REQUESTS") and _keeps_snapshots(alias):
        yield Warning(
            f"Database {alias!r} has ATOMIC_REQUESTS, and its transactions keep the snapshot of their first query, or "
            "can't be known not to: nothing that a view computes is stored.",
            hint="Use atomic() in the code that needs it instead; or READ COMMITTED, if the database has it.",
            id="cachedeco.W007",
        )


def _caches() -> list[Cache]:
    """Return the caches that cached functions may use."""
    try:
        aliases = conf.settings().ALIASES
    except ImproperlyConfigured:
        return []  # reported by E001
    return [Cache(alias, caches.settings[alias]) for alias in aliases if alias in caches.settings]


def _retries(given: object) -> bool:
    """Tell whether an option of redis-py makes it repeat commands: not a Retry of 0, nor "no" in a URL."""
    count = getattr(given, "get_retries", None)
    return bool(count() if count else given) and str(given).lower() not in {"0", "f", "false", "n", "no"}


def _keeps_snapshots(alias: str) -> bool:
    """Tell whether transactions are not known to be at READ COMMITTED, by the settings and the vendor."""
    if connections[alias].vendor not in {"postgresql", "mysql"}:
        return True
    level = connections.settings[alias].get("OPTIONS", {}).get("isolation_level")
    # PostgreSQL's is an enum member, MySQL's a text.
    name = str(getattr(level, "name", level)).lower().replace("_", " ")
    return name in {"repeatable read", "serializable"}
