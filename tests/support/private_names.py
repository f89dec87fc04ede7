"""The private names without which a module works, more slowly: their absence is no fault."""

from typing import Final

from cachedeco.runtime.private_api import NAMES, PrivateName

_LOCMEM: Final = "django.core.cache.backends.locmem:LocMemCache"
_REDIS: Final = "django.core.cache.backends.redis"
_CLIENT: Final = "pymemcache.client.base:Client"
_DIRECT: Final = ("storage.direct_access",)
_READ: Final = (*_DIRECT, "storage.readers")
_WRITTEN: Final = (*_DIRECT, "storage.writers")

WITH_FALLBACK: Final[dict[str, tuple[PrivateName, ...]]] = {
    "Django": (
        *(
            PrivateName(_LOCMEM, name, _DIRECT)
            for name in ("_cache", "_delete", "_expire_info", "_has_expired", "_lock", "_set", "pickle_protocol")
        ),
        *(
            PrivateName(f"{_REDIS}:{holder}", name, _DIRECT)
            for holder, name in (
                ("RedisCache", "_cache"),
                ("RedisCacheClient", "_get_connection_pool"),
                ("RedisCacheClient", "_pool_class"),
                ("RedisCacheClient", "_serializer"),
                ("RedisSerializer", "protocol"),
            )
        ),
    ),
    "pymemcache": (
        *(
            PrivateName("pymemcache.client.hash:HashClient", name, (*_READ, *_WRITTEN))
            for name in ("_dead_clients", "_safely_run_func")
        ),
        PrivateName(_CLIENT, "_store_cmd", _WRITTEN),
        PrivateName(_CLIENT, "_connect", _READ),
        PrivateName(_CLIENT, "_raise_errors", _READ),
    ),
    "redis": (PrivateName("redis.connection:AbstractConnection", "_sock", ("storage.readers",)),),
}
EVERY_NAME: Final = {owner: (*names, *WITH_FALLBACK.get(owner, ())) for owner, names in NAMES.items()}
