"""Other libraries, each as its own documentation shows it; those that are not installed are left out."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from functools import lru_cache, partial
from importlib.util import find_spec
from typing import Any

from servers import PATIENCE_SECONDS, our_redis

# By library and by what it keeps its values in: a function of one argument that is cached.
Cached = dict[str, Callable[[int], object]]
# In what its calls run, where a library needs that.
Blocks = dict[str, Callable[[], AbstractContextManager[object]]]
Awaited = Callable[[int], Awaitable[object]]
# The same for async code: what gives the function, inside the event loop that it is for, and closes its connections.
Opened = dict[str, Callable[[], AbstractAsyncContextManager[Awaited]]]

# Django's caches that memoize and cache-results are measured on.
STOCK = ("PyMemcacheCache", "RedisCache", "LocMemCache")


def settings_for(redis: str) -> dict[str, Any]:
    """Return the Django settings that the libraries have."""
    return {"CACHEOPS_REDIS": redis, "CACHE_RESULTS": {}}


def apps() -> list[str]:
    """Return the Django apps of the libraries that are installed."""
    return ["cacheops"] if find_spec("cacheops") else []


def of_sync_code(value: object, memcached: str, redis: str) -> tuple[Cached, Blocks]:
    """Return a cached function that returns a value, for each library and what it can keep values in."""

    def page(club: int) -> object:  # noqa: ARG001 -- the key has it
        return value

    made: Cached = {"lru_cache": lru_cache(maxsize=128)(page)}
    blocks: Blocks = {}
    if find_spec("cachetools"):
        from cachetools import TTLCache, cached  # type: ignore[import-untyped] # ships no types

        made["TTLCache"] = cached(cache=TTLCache(maxsize=1024, ttl=600))(page)
    if find_spec("cache_memoize"):
        from cache_memoize import cache_memoize  # type: ignore[import-untyped] # as above

        made |= {f"django-cache-memoize, {each}": cache_memoize(600, cache_alias=each)(page) for each in STOCK}
    if find_spec("cache_results"):
        from cache_results import cache_results

        names = {f"cache-results, {each}": each for each in STOCK}
        made |= {name: cache_results(timeout=600)(page) for name in names}
        blocks = {name: partial(_results_kept_in, each) for name, each in names.items()}
    if find_spec("dogpile"):
        from dogpile.cache import make_region

        kinds: dict[str, dict[str, Any]] = {
            "pymemcache": {"url": [memcached]},
            "redis": {"url": redis},
            "memory_pickle": {},
        }
        for kind, arguments in kinds.items():
            region = make_region().configure(f"dogpile.cache.{kind}", expiration_time=600, arguments=arguments)
            made[f"dogpile.cache, {kind}"] = region.cache_on_arguments()(page)
    if find_spec("cacheops"):
        from cacheops import cached as cacheops_cached  # type: ignore[import-untyped] # as above

        made["cacheops cached"] = cacheops_cached(timeout=600)(page)
    return made, blocks


@contextmanager
def _results_kept_in(alias: str) -> Iterator[None]:
    from django.conf import settings

    settings.CACHE_RESULTS["CACHE_ALIAS"] = alias  # which it reads at each call
    yield


def of_async_code(value: object, memcached: str, redis: str) -> Opened:
    """Return the same for async functions."""
    made: Opened = {}
    if find_spec("cashews"):
        made |= {
            "cashews, Redis": partial(_cashews, value, redis, **our_redis(redis)["OPTIONS"]),
            "cashews, memory": partial(_cashews, value, "mem://"),
        }
    if find_spec("aiocache"):
        servers = {"MEMORY": "", "MEMCACHED": memcached, "REDIS": redis.removeprefix("redis://").partition("/")[0]}
        made |= {f"aiocache, {kind}": partial(_aiocache, value, kind, at) for kind, at in servers.items()}
    return made


@asynccontextmanager
async def _cashews(value: object, url: str, **timeouts: float) -> AsyncIterator[Awaited]:
    from cashews import Cache

    cache = Cache()
    cache.setup(url, **timeouts)

    @cache(ttl="10m", key="page:{club}")
    async def page(club: int) -> object:  # noqa: ARG001 -- the key has it
        return value

    yield page
    await cache.close()


@asynccontextmanager
async def _aiocache(value: object, kind: str, server: str) -> AsyncIterator[Awaited]:
    from aiocache import Cache, cached  # type: ignore[import-untyped] # ships no types
    from aiocache.serializers import PickleSerializer  # type: ignore[import-untyped] # as above

    host, _, port = server.partition(":")
    options: dict[str, Any] = {}
    if server:
        options = {"serializer": PickleSerializer(), "endpoint": host, "port": int(port), "timeout": PATIENCE_SECONDS}
    if kind == "REDIS":
        options |= {
            "create_connection_timeout": PATIENCE_SECONDS,
            "connection_pool_kwargs": {"socket_timeout": PATIENCE_SECONDS},
        }

    @cached(ttl=600, cache=getattr(Cache, kind), namespace="main", **options)
    async def page(club: int) -> object:  # noqa: ARG001 -- the key has it
        return value

    yield page
    await page.cache.close()
