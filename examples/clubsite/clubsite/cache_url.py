"""Turn one address, as the environment gives it, into Django's CACHES entry."""

import os
from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured

# A cache that does not answer within half a second costs more than the queries that it saves.
# Without these, a server that drops packets holds every page until the kernel gives up (minutes).
SERVER_SECONDS = float(os.environ.get("CLUBSITE_CACHE_SECONDS", "0.5"))

# LocMemCache keeps 300 entries unless told otherwise; the site's few hundred clubs need more.
LOCMEM_ENTRIES = 20_000


def cache_from_url(url: str, *, key_prefix: str = "") -> dict[str, Any]:
    """Return the CACHES entry for *url*: locmem://, file:///path, memcached://host:port or redis://host:port/db."""
    parts = urlsplit(url)
    if parts.scheme == "locmem":
        cache = {
            "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
            "LOCATION": parts.netloc,
            "OPTIONS": {"MAX_ENTRIES": LOCMEM_ENTRIES},
        }
    elif parts.scheme == "file" and parts.path:
        cache = {
            "BACKEND": "django.core.cache.backends.filebased.FileBasedCache",
            "LOCATION": parts.path,
            "OPTIONS": {"MAX_ENTRIES": LOCMEM_ENTRIES},
        }
    elif parts.scheme == "memcached" and parts.netloc:
        cache = {
            "BACKEND": "cachedeco.backends.memcached.MemcachedCache",
            "LOCATION": [_with_port(server) for server in parts.netloc.split(",")],
            "OPTIONS": {"connect_timeout": SERVER_SECONDS, "timeout": SERVER_SECONDS},
        }
    elif parts.scheme in {"redis", "rediss"} and parts.netloc:
        cache = {
            "BACKEND": "cachedeco.backends.redis.RedisCache",
            "LOCATION": url,
            "OPTIONS": {"socket_connect_timeout": SERVER_SECONDS, "socket_timeout": SERVER_SECONDS},
        }
    else:
        msg = (
            f"CACHE_URL={url!r} is not an address of a cache; give locmem://, file:///path, "
            "memcached://127.0.0.1:11211 (servers separated by commas) or redis://127.0.0.1:6379/0."
        )
        raise ImproperlyConfigured(msg)
    return {**cache, "KEY_PREFIX": key_prefix}


def _with_port(server: str) -> str:
    """Return *server* with memcached's own port where none is given."""
    return server if ":" in server else f"{server}:11211"
