"""System checks of the caches and databases that cached functions use: what would be slow, silent or wrong."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from django.core.cache import caches
from django.core.checks import CheckMessage, Error, Warning, register  # noqa: A004 -- Django's name
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.utils.module_loading import import_string

from cachedeco.functions.spec import all_specs
from cachedeco.runtime import conf
from cachedeco.storage.store import servers_of

OURS: Final = "cachedeco.backends.memcached.MemcachedCache"
PYMEMCACHE: Final = "django.core.cache.backends.memcached.PyMemcacheCache"
PYLIBMC: Final = "django.core.cache.backends.memcached.PyLibMCCache"
REDIS: Final = "django.core.cache.backends.redis.RedisCache"
DJANGO_REDIS: Final = "django_redis.cache.RedisCache"
LOCMEM: Final = "django.core.cache.backends.locmem.LocMemCache"
DUMMY: Final = "django.core.cache.backends.dummy.DummyCache"
DATABASE: Final = "django.core.cache.backends.db.DatabaseCache"
FILE: Final = "django.core.cache.backends.filebased.FileBasedCache"

# What each client calls the seconds that it waits: for a connection, and for an answer.
TIMEOUTS: Final = {
    PYMEMCACHE: ("connect_timeout", "timeout"),
    PYLIBMC: ("connect_timeout", "receive_timeout"),
    REDIS: ("socket_connect_timeout", "socket_timeout"),
    DJANGO_REDIS: ("SOCKET_CONNECT_TIMEOUT", "SOCKET_TIMEOUT"),
}
# The option that says what unpickles, and what is known to look at a signature first.
SERIALIZERS: Final = {
    "serde": "cachedeco.backends.serializers.SignedSerde",
    "serializer": "cachedeco.backends.serializers.SignedSerializer",
}
RETRIES: Final = ("retry_on_timeout", "retry_on_error", "retry")
FEW_ENTRIES: Final = 1000
DEFAULT_ENTRIES: Final = 300  # Django's own


class Cache:
    """One entry of Django's CACHES, as the checks look at it."""

    def __init__(self, alias: str, entry: Mapping[str, Any]) -> None:
        """Read the entry; one whose backend can't be imported is of no kind, and Django says what is wrong."""
        self.alias = alias
        self.options: Mapping[str, Any] = entry.get("OPTIONS") or {}
        self.servers = servers_of(entry)
        # Django takes it beside the options, too.
        self.max_entries = int(entry.get("MAX_ENTRIES", self.options.get("MAX_ENTRIES", DEFAULT_ENTRIES)))
        self._names = names_of(imported(entry.get("BACKEND", "")))

    def is_one_of(self, *backends: str) -> bool:
        """Tell whether the backend is one of these, or derived from one."""
        return any(name in backends for name in self._names)

    def says(self, option: str) -> object:
        """Return an option that a client is given in any of the ways there are; None where it is not."""
        places = [self.options, self.options.get("behaviors", {}), self.options.get("CONNECTION_POOL_KWARGS", {})]
        in_urls = [
            found[1] for found in (re.search(rf"[?&]{option.lower()}=([^&]*)", url) for url in self.servers) if found
        ]
        return next((place[option] for place in places if option in place), in_urls[0] if in_urls else None)


def imported(given: Any) -> Any:
    """Return what a setting gives by itself or by its path; a class of nothing where it can't be imported."""
    try:
        return import_string(given) if isinstance(given, str) else given
    except ImportError:
        return object


def names_of(cls: type) -> list[str]:
    """Return where a class is found, and its bases."""
    return [f"{each.__module__}.{each.__qualname__}" for each in cls.__mro__]


def timeouts(cache: Cache) -> Iterator[CheckMessage]:
    """Warn of a client that waits for ever."""
    for backend, names in TIMEOUTS.items():
        missing = [name for name in names if cache.says(name) is None and cache.says(name.lower()) is None]
        if cache.is_one_of(backend) and missing:
            yield Warning(
                f"The client of cache {cache.alias!r} has no {' and no '.join(missing)}: it may wait for ever.",
                hint="Add to its OPTIONS how long a call may wait for a server that hangs, such as half a second.",
                id="cachedeco.W003",
            )


def swallowed_errors(cache: Cache) -> Iterator[CheckMessage]:
    """Warn of a client that keeps to itself that a write was lost."""
    for backend, name in ((OURS, "ignore_exc"), (PYMEMCACHE, "ignore_exc"), (DJANGO_REDIS, "IGNORE_EXCEPTIONS")):
        if cache.is_one_of(backend) and cache.options.get(name):
            yield Warning(
                f"The client of cache {cache.alias!r} has {name}=True: a lost write passes for one that arrived.",
                hint=f"Remove {name}: cachedeco itself keeps the call going when a cache fails. What nobody misses,"
                " such as template fragments, can have an alias of its own.",
                id="cachedeco.W004",
            )


def several_memcached(cache: Cache) -> Iterator[CheckMessage]:
    """Warn of failing over in silence."""
    if cache.is_one_of(PYMEMCACHE) and len(cache.servers) > 1:
        yield Warning(
            f"Cache {cache.alias!r} has {len(cache.servers)} servers: when one is out of reach, each process moves its"
            " keys to another one by itself, and what is invalidated there is old when the server is back.",
            hint=f"Use {OURS} as BACKEND, which leaves each key where it is; or one server for each alias.",
            id="cachedeco.W005",
        )


def repeated_writes(cache: Cache) -> Iterator[CheckMessage]:
    """Warn of a client that sends one token twice."""
    given = [name for name in RETRIES if _retries(cache.says(name))]
    if cache.is_one_of(REDIS, DJANGO_REDIS) and given:
        yield Warning(
            f"The client of cache {cache.alias!r} has {given[0]}: it may send the same token twice, and the second one"
            " brings back what was invalidated between them.",
            hint=f"Remove {given[0]}: cachedeco tries an invalidation again by itself, with a fresh token.",
            id="cachedeco.W006",
        )


def replicas(cache: Cache) -> Iterator[CheckMessage]:
    """Refuse replicas: a token read from one may be older than the invalidation."""
    is_sharded = "Shard" in str(cache.options.get("CLIENT_CLASS", ""))
    if cache.is_one_of(REDIS, DJANGO_REDIS) and len(cache.servers) > 1 and not is_sharded:
        yield Error(
            f"Cache {cache.alias!r} has {len(cache.servers)} servers: Django reads from the replicas, where an"
            " invalidation may not have arrived.",
            hint="Give cached functions an alias of their own, whose LOCATION is the primary alone.",
            id="cachedeco.E006",
        )


def own_memory(cache: Cache) -> Iterator[CheckMessage]:
    """Warn, before a deployment, of a cache that no other process sees."""
    if cache.is_one_of(LOCMEM, DUMMY):
        yield Warning(
            f"Cache {cache.alias!r} is this process's own: an invalidation reaches no other process.",
            hint="Use memcached, Redis or the database cache; or silence this where there is one process.",
            id="cachedeco.W008",
        )


def few_entries(cache: Cache) -> Iterator[CheckMessage]:
    """Warn, before a deployment, of a cache that keeps throwing away what it was given."""
    if cache.is_one_of(LOCMEM, DATABASE, FILE) and cache.max_entries < FEW_ENTRIES:
        yield Warning(
            f"Cache {cache.alias!r} keeps {cache.max_entries} entries, and each call takes two of them.",
            hint=f"Set MAX_ENTRIES in its OPTIONS, to {FEW_ENTRIES} or more.",
            id="cachedeco.W009",
        )


def unpickling(cache: Cache) -> Iterator[CheckMessage]:
    """Warn of a backend that unpickles whatever it finds, before anybody can look at a signature."""
    if not conf.settings().SIGNING_KEYS or cache.is_one_of(LOCMEM, DUMMY):
        return
    name, ours = next(((name, ours) for name, ours in SERIALIZERS.items() if name in cache.options), ("", ""))
    given = imported(cache.options.get(name))
    if ours not in names_of(given if isinstance(given, type) else type(given)):
        yield Warning(
            f"The backend of cache {cache.alias!r} unpickles whatever it finds, before SIGNING_KEYS can matter.",
            hint=(
                'Give it "serde": SignedSerde([SECRET_KEY]) in its OPTIONS for memcached, "serializer": '
                "SignedSerializer([SECRET_KEY]) for Redis, from cachedeco.backends.serializers; others have none."
            ),
            id="cachedeco.W011",
        )


Check = Callable[[Cache], Iterator[CheckMessage]]
ALWAYS: Final[Sequence[Check]] = (
    replicas,
    timeouts,
    swallowed_errors,
    several_memcached,
    repeated_writes,
    unpickling,
)
BEFORE_DEPLOYMENT: Final[Sequence[Check]] = (own_memory, few_entries)


@register("cachedeco")
def check_caches(app_configs: Any = None, **_: Any) -> Sequence[CheckMessage]:  # noqa: ARG001 -- Django's signature
    """Check how the caches of cached functions are reached."""
    return [message for cache in _caches() for check in ALWAYS for message in check(cache)]


@register("cachedeco", deploy=True)
def check_deployment(app_configs: Any = None, **_: Any) -> Sequence[CheckMessage]:  # noqa: ARG001 -- as above
    """Check, with `--deploy`, what is well on one's own machine, and not where several processes serve many people."""
    return [message for cache in _caches() for check in BEFORE_DEPLOYMENT for message in check(cache)]


@register("cachedeco")
def check_databases(app_configs: Any = None, **_: Any) -> Sequence[CheckMessage]:  # noqa: ARG001 -- as above
    """Check for databases on which every view is a transaction in which nothing may be stored."""
    used = sorted({spec.options["using"] for spec in all_specs()} & set(connections))
    return [
        Warning(
            f"Database {alias!r} has ATOMIC_REQUESTS, and its transactions go on seeing the snapshot that they began"
            " with: nothing that a view computes is stored.",
            hint="Use atomic() where it is needed instead; or READ COMMITTED, where the database has it.",
            id="cachedeco.W007",
        )
        for alias in used
        if connections.settings[alias].get("ATOMIC_REQUESTS") and _keeps_snapshots(alias)
    ]


def _caches() -> list[Cache]:
    """Return the caches that cached functions may use."""
    try:
        aliases = conf.settings().ALIASES
    except ImproperlyConfigured:
        return []  # E001 says it
    return [Cache(alias, caches.settings[alias]) for alias in aliases if alias in caches.settings]


def _retries(given: object) -> bool:
    """Tell whether an option of redis-py makes it repeat a command: a Retry of none, or "no" in a URL, does not."""
    count = getattr(given, "get_retries", None)
    return bool(count() if count else given) and str(given).lower() not in {"0", "f", "false", "n", "no"}


def _keeps_snapshots(alias: str) -> bool:
    """Tell whether a transaction there is known not to be at READ COMMITTED, from the settings alone."""
    if connections[alias].vendor == "sqlite":
        return True
    level = connections.settings[alias].get("OPTIONS", {}).get("isolation_level")
    # PostgreSQL's is an enum's member, MySQL's a text.
    name = str(getattr(level, "name", level)).lower().replace("_", " ")
    return name in {"repeatable read", "serializable"}
