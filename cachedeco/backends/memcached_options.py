"""Validate `OPTIONS` and fill in defaults: the options of pymemcache's clients."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from django.core.exceptions import ImproperlyConfigured
from pymemcache.client.base import KeepaliveOpts, normalize_server_spec
from pymemcache.client.rendezvous import RendezvousHash

from cachedeco.backends.memcached_pickles import Pickles
from cachedeco.backends.options import (
    COUNT,
    IDLE_SECONDS,
    IDLE_TIME,
    MOST_IDLE,
    TIMEOUT,
    TIMEOUT_SECONDS,
    Range,
    check_numbers,
)
from cachedeco.runtime.validation import remedy_for

# Options of pymemcache's Client, with our defaults: Django's for pymemcache, and timeouts for a server that hangs.
CONNECTION: Final[Mapping[str, Any]] = {
    "connect_timeout": TIMEOUT_SECONDS,
    "key_prefix": b"",
    "no_delay": True,
    "socket_keepalive": None,
    "timeout": TIMEOUT_SECONDS,
    "tls_context": None,
}
OURS: Final[Mapping[str, Any]] = {
    "deserializer": None,
    "hasher": RendezvousHash,
    "ignore_exc": False,
    "max_pool_size": MOST_IDLE,
    "pool_idle_timeout": IDLE_SECONDS,
    "serde": Pickles(),
    "serializer": None,
}
# The methods of options that are objects.
METHODS: Final[Mapping[str, tuple[str, ...]]] = {
    "serde": ("serialize", "deserialize"),
    "serializer": ("__call__",),
    "deserializer": ("__call__",),
    "hasher": ("add_node", "get_node"),
}
NUMBERS: Final[Mapping[str, Range]] = {
    "connect_timeout": TIMEOUT,
    "timeout": TIMEOUT,
    "max_pool_size": COUNT,
    "pool_idle_timeout": IDLE_TIME,
}
# Of a port above this the system looks at the last bits, and so at another server's.
PORTS: Final = 2**16
# Options without a default of ours.
OPTIONAL: Final = frozenset({"socket_module"})
# Options of PyMemcacheCache that are accepted and ignored: connections are always pooled, without a lock; every write
# waits for its answer; keys never move to another server; and text, that of keys too, is sent as UTF-8.
WITHOUT_EFFECT: Final = frozenset(
    {
        *("allow_unicode_keys", "dead_timeout", "default_noreply", "encoding", "lock_generator", "retry_attempts"),
        *("retry_timeout", "use_pooling"),
    }
)


def resolve_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return the options with defaults filled in, without those that have no effect.

    Raises:
        ImproperlyConfigured: An option is none of pymemcache's, or has a value that it does not take.
    """
    known = sorted({*CONNECTION, *OURS, *OPTIONAL, *WITHOUT_EFFECT})
    for name in options:
        if name not in known:
            msg = f"MemcachedCache has no option {name!r}; {remedy_for(name, known)}"
            raise ImproperlyConfigured(msg)
    given = {name: value for name, value in options.items() if name not in WITHOUT_EFFECT}
    check_numbers("MemcachedCache", given, NUMBERS)
    for name, methods in METHODS.items():
        value = given.get(name)
        if value is not None and not all(callable(getattr(value, method, None)) for method in methods):
            needed = [f"{method}()" for method in methods]
            shown = "a function" if methods == ("__call__",) else f"an object with {' and '.join(needed)}"
            msg = f"MemcachedCache has {name}={value!r:.80}; it takes {shown}, not its name."
            raise ImproperlyConfigured(msg)
    keepalive = given.get("socket_keepalive")
    if not isinstance(keepalive, KeepaliveOpts | None):
        msg = (
            f"MemcachedCache has socket_keepalive={keepalive!r:.80}; it takes pymemcache's KeepaliveOpts(),"
            " from pymemcache.client.base, or None."
        )
        raise ImproperlyConfigured(msg)
    return {**CONNECTION, **OURS, **given}


def check_servers(servers: object) -> None:
    """
    Refuse what can be no address of a server: its first command would find it out of reach, or another one.

    Raises:
        ImproperlyConfigured: There is no server, or one is empty or a URL, or has an impossible port.
    """
    several = list(servers) if isinstance(servers, Iterable) else [servers]
    for server in several or [""]:
        if not _is_address(server):
            scheme, separator, _ = server.partition("://") if isinstance(server, str) else ("", "", "")
            shown = f"{scheme}{separator}..." if separator else server  # a URL may have a password
            msg = (
                f"MemcachedCache has LOCATION={shown!r:.80}; it takes servers as '127.0.0.1:11211', "
                "'unix:/path/of/a/socket', or a list of them."
            )
            raise ImproperlyConfigured(msg)


def _is_address(server: Any) -> bool:
    if isinstance(server, str):
        server = server.strip()
        if "://" in server or server.startswith(":"):
            return False
    try:
        address = normalize_server_spec(server)
    except ValueError:
        return False
    return bool(address) if isinstance(address, str) else bool(address[0]) and 0 < address[1] < PORTS
