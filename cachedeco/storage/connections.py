"""
Connections to caches: a Django cache object of our own for each alias and thread, with its reader and its writer.

Its key function is the identity: whole keys are worked out once, where a call is made, and not again by a command that
another thread sends later, perhaps for another tenant. Django opens the object as it opens its own, and ours are closed
when Django closes those: at the end of a request, and when the settings change. A thread runs one piece of code at a
time, so its object serves all tasks that send their commands by this thread.
"""

import threading
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context
from typing import Any, Protocol

from django.core.cache import caches
from django.core.cache.backends.base import BaseCache
from django.core.signals import request_finished

from cachedeco.runtime import background
from cachedeco.storage.access import Connection, access_to
from cachedeco.storage.direct_access import redis_connections_of


class Isolation(Protocol):
    """What the test kit does to caches: it puts a text before all keys, and so begins with empty caches."""

    def plain_cache(self, cache: BaseCache, /) -> BaseCache:
        """Return a cache object that does not put the text before its keys, where that can be done."""
        ...

    def scope_of(self, cache: BaseCache, /) -> str:
        """Return the text that stands before all keys of a cache object now."""
        ...


def _open(alias: str) -> Connection:
    """
    Open the cache of an alias; most backends connect at the first command.

    Raises:
        InvalidCacheBackendError: The setting CACHES has no such alias, or its backend can't be imported.
    """
    cache = open_plain_cache(alias)
    cache.key_func = _identity
    if type(cache).make_key is not BaseCache.make_key:  # a backend's own: it may not ask the key function
        cache.make_key = _identity  # type: ignore[method-assign]
    opened = access_to(cache)
    if _observe is not None:
        _observe(opened)
    return opened


def _identity(key: str, *_: object, **__: object) -> str:
    return key


def open_cache(alias: str) -> BaseCache:
    """Return a new cache object of an alias, as Django makes them."""
    # In a context of its own, since it outlives the request: debug-toolbar counts the commands of the cache objects
    # that are opened in the context of a request, and goes on for ever in the panel of that request.
    cache: BaseCache = Context().run(caches.create_connection, alias)
    return cache


def open_plain_cache(alias: str) -> BaseCache:
    """Return a new cache object of an alias, of its own class although the test kit isolates the caches."""
    cache = open_cache(alias)
    return cache if _isolation is None else _isolation.plain_cache(cache)


class _ByAlias(dict[str, Connection]):
    """The connections of a thread, by alias; closed when it ends."""

    def close(self) -> None:
        """Close the cache objects, as Django closes its own."""
        for each in self.values():
            each.cache.close()

    def __del__(self) -> None:
        with suppress(Exception):  # at the end of the interpreter
            self.close()
            for each in self.values():
                if connections := redis_connections_of(each.cache):  # Django's RedisCache closes none
                    connections.clear()


class _Connections(threading.local):
    """The connections of each thread."""

    def __init__(self) -> None:
        self.by_alias = _ByAlias()


_connections = _Connections()
# For reads on event loops, of all threads: a cache that is read there can be used by several at once.
_on_loops: dict[str, Connection] = {}
_abandoned: list[object] = []
_isolation: Isolation | None = None
_observe: Callable[[Connection], None] | None = None


def connection(alias: str) -> Connection:
    """Return this thread's connection to the cache of an alias."""
    by_alias = _connections.by_alias
    found = by_alias.get(alias)
    if found is None:
        found = by_alias[alias] = _open(alias)
    return found


def on_loops(alias: str) -> Connection:
    """Return the connection to the cache of an alias that all event loops share."""
    found = _on_loops.get(alias)
    if found is None:
        found = _on_loops[alias] = _open(alias)
    return found


def close_connections(**_: Any) -> None:
    """Close the cache objects of this thread, as Django closes its own: a backend decides what that means."""
    _connections.by_alias.close()


def forget_connections() -> None:
    """Close the connections of this thread, and open new ones from now on, in each thread: CACHES has changed."""
    global _connections
    before, _connections = _connections, _Connections()
    before.by_alias.close()
    for each in _take_from_loops():
        each.cache.close()


def abandon_connections() -> None:
    """
    Open new connections from now on, in a forked child.

    The old ones are kept, and never closed: some clients would tell the server to end the connection of the parent.
    """
    global _connections  # noqa: PLW0603 -- swapped whole
    _abandoned.append((_connections.by_alias, _take_from_loops()))
    _connections = _Connections()


def _take_from_loops() -> list[Connection]:
    """Return the connections of event loops, which are forgotten."""
    taken = list(_on_loops.values())
    _on_loops.clear()
    return taken


def isolate(isolation: Isolation | None) -> None:
    """Install what isolates caches; None removes it."""
    global _isolation  # noqa: PLW0603 -- one isolation per process
    _isolation = isolation
    forget_connections()


def observe_with(observe: Callable[[Connection], None] | None) -> None:
    """
    Call a function with each connection that is opened from now on; None ends this.

    It may put a reader and a writer around those of the connection, to time and to look at what they do: so a hit costs
    nothing more where nothing observes.
    """
    global _observe  # noqa: PLW0603 -- one observer per process
    if observe is not _observe:
        _observe = observe
        forget_connections()


def is_isolated() -> bool:
    """Tell whether the test kit isolates the caches."""
    return _isolation is not None


def scope_of(cache: BaseCache) -> str:
    """Return what the isolation puts before all keys of a cache object; empty without isolation."""
    return "" if _isolation is None else _isolation.scope_of(cache)


request_finished.connect(close_connections, dispatch_uid="cachedeco.storage.connections")
background.at_end.append(close_connections)
