"""Who is compared: cachedeco and its peers, all behind one pair of calls."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, cast

import django
from django.conf import settings

from stampeding.source import Computation

# What herds and those who wait may take for an answer of the server: more than the documentation's half a second,
# as 800 threads share two cores here, and an error that the machine has made would say nothing about a contender.
SOCKET_SECONDS = 10
TIMEOUT_SECONDS = 600  # nothing expires during a herd
SHORT_SECONDS = 2.0  # what the section about expiry is about
STALE_SECONDS = 60.0

DJANGO = {
    "memcached": ("django.core.cache.backends.memcached.PyMemcacheCache", ("connect_timeout", "timeout")),
    "redis": ("django.core.cache.backends.redis.RedisCache", ("socket_connect_timeout", "socket_timeout")),
}


@dataclass(frozen=True)
class Backend:
    """A server, by its kind and its address as Django has it."""

    name: str
    location: str

    @property
    def caches(self) -> dict[str, dict[str, Any]]:
        """Django's CACHES with it as the default."""
        backend, options = DJANGO[self.name]
        cache = {"BACKEND": backend, "LOCATION": self.location, "OPTIONS": dict.fromkeys(options, SOCKET_SECONDS)}
        return {"default": cache}


@dataclass(frozen=True)
class Contender:
    """One way to cache a computation by a key."""

    name: str
    call: Callable[[str], int]
    invalidate: Callable[[str], object]


Contenders = dict[str, Contender]


def configure(caches: dict[str, dict[str, Any]]) -> None:
    """Set up Django in this process."""
    # What is invalidated without being called between, as herds are, gets advice from cachedeco, in each process.
    logging = {"version": 1, "loggers": {"cachedeco": {"level": "ERROR"}}}
    settings.configure(CACHES=caches, DATABASES={}, LOGGING=logging)
    django.setup()


def contenders(backend: Backend, compute: Computation) -> Contenders:
    """Return all of them; Django is configured already."""
    made = [
        cachedeco("cachedeco", compute, timeout=TIMEOUT_SECONDS),
        dogpile("dogpile.cache", compute, backend, TIMEOUT_SECONDS),
        cache_memoize(compute),
        get_or_set(compute),
        cachedeco("cachedeco, no stale", compute, timeout=SHORT_SECONDS),
        cachedeco("cachedeco, stale", compute, timeout=SHORT_SECONDS, stale_while_revalidate=STALE_SECONDS),
        dogpile("dogpile.cache, short", compute, backend, SHORT_SECONDS),
    ]
    if has_cache_results():
        made.append(cache_results(compute))
    return {each.name: each for each in made}


def has_cache_results() -> bool:
    """Tell whether cache-results is installed."""
    return find_spec("cache_results") is not None


def cachedeco(name: str, compute: Computation, **options: Any) -> Contender:
    """Return cachedeco, every option but those given left alone."""
    from cachedeco import cached_query

    @cached_query(name=name, ignore=["compute"], **options)
    def value(key: str) -> int:  # noqa: ARG001 -- in the cache's key
        return compute()

    return Contender(name, value, value.invalidate)


def dogpile(name: str, compute: Computation, backend: Backend, seconds: float) -> Contender:
    """Return dogpile.cache with its lock between processes, which is the one that it has against herds."""
    from dogpile.cache import make_region

    if backend.name == "memcached":
        arguments = {"url": [backend.location], "distributed_lock": True}
    else:
        # Without the second its documentation warns of locks that can't be released.
        arguments = {"url": backend.location, "distributed_lock": True, "thread_local_lock": False}
    kind = {"memcached": "dogpile.cache.pymemcache", "redis": "dogpile.cache.redis"}[backend.name]
    region = make_region().configure(kind, expiration_time=seconds, arguments=arguments)

    def value(key: str) -> int:  # noqa: ARG001 -- in the cache's key
        return compute()

    regional: Any = region.cache_on_arguments(namespace=name.replace(" ", ""))(value)  # its types know no invalidate()
    return Contender(name, regional, regional.invalidate)


def cache_memoize(compute: Computation) -> Contender:
    """Return django-cache-memoize, which has no lock."""
    from cache_memoize import cache_memoize as memoized  # type: ignore[import-untyped] # ships no types

    @memoized(TIMEOUT_SECONDS)  # type: ignore[untyped-decorator] # as above
    def value(key: str) -> int:  # noqa: ARG001 -- in the cache's key
        return compute()

    return Contender("django-cache-memoize", value, value.invalidate)


def cache_results(compute: Computation) -> Contender:
    """Return cache-results, which has a lock in each process."""
    from cache_results import cache_results as resulting

    def value(key: str) -> int:  # noqa: ARG001 -- in the cache's key
        return compute()

    resulted: Any = resulting(timeout=TIMEOUT_SECONDS)(value)  # its types know no invalidate()
    return Contender("cache-results", resulted, resulted.invalidate)


def get_or_set(compute: Computation) -> Contender:
    """Return what Django itself offers."""
    from django.core.cache import cache

    def value(key: str) -> int:
        return cast("int", cache.get_or_set(key, compute, TIMEOUT_SECONDS))

    return Contender("get_or_set", value, cache.delete)
