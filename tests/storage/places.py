"""Caches with whole keys, of each kind that has a reader and writer, on real servers."""

import socket
from collections.abc import Callable
from typing import Any

import pytest
from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.db import DatabaseCache
from django.core.cache.backends.filebased import FileBasedCache
from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.memcached import PyMemcacheCache
from django.core.cache.backends.redis import RedisCache

from cachedeco.backends.memcached import MemcachedCache
from cachedeco.backends.redis import RedisCache as OurRedisCache
from cachedeco.storage.direct_access import redis_connections_of
from tests.support.threads import PATIENCE_SECONDS

SOCKETS = {"connect_timeout": PATIENCE_SECONDS, "timeout": PATIENCE_SECONDS}

# Those with a reader and writer of their own; "subclass" is a general one on a server.
DIRECT = ["ours", "ours on two servers", "our redis", "locmem", "memcached", "redis"]
ON_SERVERS = ["ours", "ours on two servers", "our redis", "memcached", "redis", "subclass"]
ALL = [*DIRECT, "subclass", "file", "database"]

Location = str | list[str]


class Subclass(PyMemcacheCache):
    """A backend that may do anything."""


CLASSES: dict[str, Callable[..., BaseCache]] = {
    "ours": MemcachedCache,
    "ours on two servers": MemcachedCache,
    "our redis": OurRedisCache,
    "locmem": LocMemCache,
    "memcached": PyMemcacheCache,
    "redis": RedisCache,
    "subclass": Subclass,
    "file": FileBasedCache,
    "database": DatabaseCache,
}


def whole(key: str, prefix: str, version: int) -> str:  # noqa: ARG001 -- Django's signature
    """Return a key as it is, without what Django would add."""
    return key


def cache_of(kind: str, location: Location, **options: Any) -> BaseCache:
    """Return a cache object of a kind, whose keys are whole ones."""
    if CLASSES[kind] in {MemcachedCache, PyMemcacheCache, Subclass}:
        options = {**SOCKETS, **options}
    elif kind == "our redis":
        options = {f"socket_{name}": value for name, value in SOCKETS.items()} | options
    elif kind != "redis":
        options = {"MAX_ENTRIES": 10_000, **options}
    return CLASSES[kind](location, {"KEY_FUNCTION": whole, "OPTIONS": options})


def release(cache: Any) -> None:
    """Close the connections, also those that `close()` keeps for the next request."""
    cache.close()
    if type(cache) is RedisCache:
        for pool in cache._cache._pools.values():
            pool.disconnect()
        connections = redis_connections_of(cache)
        if connections is not None:
            connections.clear()


class Interrupt(BaseException):
    """What a signal's handler raises: it may be no Exception."""


class SoftTimeLimit(Exception):  # noqa: N818 -- as Celery's SoftTimeLimitExceeded
    """What a signal's handler raises: it may be one."""


class Wire:
    """The sockets of this process: what is sent is counted, and what is read may be interrupted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Put functions in the place of the socket's own."""
        self.sent = 0
        self._waiting: BaseException | None = None
        self._armed: BaseException | None = None
        send, recv, recv_into = socket.socket.sendall, socket.socket.recv, socket.socket.recv_into
        send_of_loop = socket.socket.send

        def counted(sock: socket.socket, *arguments: Any) -> None:
            self.sent += 1
            send(sock, *arguments)
            self._armed, self._waiting = self._waiting, None

        def counted_of_loop(sock: socket.socket, *arguments: Any) -> int:
            self.sent += sock.family != socket.AF_UNIX  # by those a loop wakes itself
            return send_of_loop(sock, *arguments)

        def interrupted(read: Callable[..., Any]) -> Callable[..., Any]:
            def wrapper(sock: socket.socket, *arguments: Any) -> Any:
                if self._armed is not None:
                    interrupt, self._armed = self._armed, None
                    recv(sock, 2)
                    raise interrupt
                return read(sock, *arguments)

            return wrapper

        monkeypatch.setattr(socket.socket, "sendall", counted)
        monkeypatch.setattr(socket.socket, "send", counted_of_loop)
        monkeypatch.setattr(socket.socket, "recv", interrupted(recv))
        monkeypatch.setattr(socket.socket, "recv_into", interrupted(recv_into))

    def interrupt(self, interrupt: BaseException) -> None:
        """Raise in the middle of the answer to the next command."""
        self._waiting = interrupt
