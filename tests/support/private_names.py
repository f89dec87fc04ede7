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
            PrivateName(_LOCMEM, name, _DIRECT, "reads and writes without a check of each key")
            for name in ("_cache", "_delete", "_expire_info", "_has_expired", "_lock", "_set", "pickle_protocol")
        ),
        *(
            PrivateName(
                f"{_REDIS}:{holder}",
                name,
                _DIRECT,
                "connects to Redis without a client for each command",
            )
            for holder, name in (
                ("RedisCache", "_cache"),
                ("RedisCacheClient", "_get_connection_pool"),
                ("RedisCacheClient", "_pool_class"),
                ("RedisCacheClient", "_serializer"),
                ("RedisSerializer", "protocol"),
            )
        ),
        # --- test runner ---
    ),
    "pymemcache": (
        *(
            PrivateName("pymemcache.client.hash:HashClient", name, (*_READ, *_WRITTEN), what_for)
            for name, what_for in (
                ("_dead_clients", "leaves a server that is out of reach to pymemcache"),
                ("_safely_run_func", "uses the client of the only server without a hash of each key"),
            )
        ),
        PrivateName(_CLIENT, "_store_cmd", _WRITTEN, "adds many values by one command"),
        PrivateName(_CLIENT, "_connect", _READ, "reads from the only server"),
        PrivateName(_CLIENT, "_raise_errors", _READ, "reads from the only server"),
    ),
    "redis": (
        PrivateName(
            "redis.connection:AbstractConnection",
            "_sock",
            ("storage.readers",),
            "sends the command for the next chunk of keys while an answer comes in",
        ),
    ),
}
EVERY_NAME: Final = {owner: (*names, *WITH_FALLBACK.get(owner, ())) for owner, names in NAMES.items()}
