"""Caches of ours as event loops use them, and the connections that a loop has."""

import asyncio
import uuid
from typing import Any

from django.core.cache import BaseCache

from cachedeco.backends.loop_connection import LoopConnection
from cachedeco.backends.server import Server


def raw_of(cache: BaseCache) -> Any:
    """Return the direct access to a cache."""
    return cache.raw_client()  # type: ignore[attr-defined] # our backends have it


def server_of(cache: Any) -> Server:
    """Return the only server of a cache."""
    [server] = (
        [each.server for each in cache._cache._clients]
        if hasattr(cache._cache, "_clients")
        else cache._cache._servers.values()
    )
    return server


def connections_of(cache: BaseCache) -> list[LoopConnection]:
    """Return the connections that the running loop uses."""
    loops: Any = server_of(cache).pool.loops
    of_loop = loops._by_loop.get(id(asyncio.get_running_loop()), lambda: None)()
    return list(of_loop._current) if of_loop else []


async def opened(cache: BaseCache) -> None:
    """Wait until the connections of the running loop are open."""
    tasks = [task for task in asyncio.all_tasks() if task.get_name() == "cachedeco.connect"]
    await asyncio.gather(*tasks)
    assert all(each.is_open for each in connections_of(cache))


def names(number: int) -> list[str]:
    """Return keys that no other test uses."""
    return [f"{uuid.uuid4().hex}{each}" for each in range(number)]


async def read_once(cache: BaseCache, key: str) -> Any:
    """Read."""
    return await raw_of(cache).aread([key])
