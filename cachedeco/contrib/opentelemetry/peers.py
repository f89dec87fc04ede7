"""The server of a cache, as an address and a port: what the setting CACHES says."""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from cachedeco.storage.store import servers_of

MEMCACHED_PORT: Final = 11211
REDIS_PORT: Final = 6379


def peer_of(entry: Mapping[str, Any]) -> dict[str, str | int]:
    """
    Return the attributes `network.peer.address` and `network.peer.port` for an item of Django's CACHES.

    Without a server, or with several, of which a command may ask any, there are none. A socket has no port.
    """
    servers = servers_of(entry)
    if len(servers) != 1:
        return {}
    [server] = servers
    backend = str(entry.get("BACKEND", "")).lower()
    if server.startswith("unix:"):
        return {"network.peer.address": server.removeprefix("unix:").removeprefix("//")}
    if "://" not in server:
        if "memcached" not in backend:
            return {}  # a name, a path or a table
        server = f"memcached://{server}"
    try:
        parts = urlsplit(server)
        port = parts.port
    except ValueError:  # the backend says what is wrong with it
        return {}
    if not parts.hostname:
        return {"network.peer.address": parts.path} if parts.path else {}
    default = MEMCACHED_PORT if parts.scheme == "memcached" else REDIS_PORT
    return {"network.peer.address": parts.hostname, "network.peer.port": port or default}
