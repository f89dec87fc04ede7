"""
Async readers: read on the event loop itself, without a change of threads.

For a cache that says it is natively async, as our own backends are, and for Django's LocMemCache, which only reads
memory. Any other cache has none: it is read in the thread where Django keeps its connections.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import cast

from django.core.cache.backends.base import BaseCache

from cachedeco.storage.direct_access import local_memory_of
from cachedeco.storage.readers import Read, raw_client_of

#: As `Read`, for any event loop of any thread. A caller that is cancelled leaves no connection with an unread answer.
AsyncRead = Callable[[Sequence[str]], Awaitable[list[bytes | None]]]


def async_reader_of(cache: BaseCache, read: Read) -> AsyncRead | None:
    """
    Return the async reader of a cache object; None if there is none.

    A backend offers one as it offers its reader: what its `raw_client()` returns has `natively_async` set, and the
    coroutine method `aread()`.

    Args:
        cache: Its `key_func` returns the key as it is.

        read: Its reader.
    """
    client = raw_client_of(cache)
    if client is not None:
        return cast("AsyncRead", client.aread) if getattr(client, "natively_async", False) is True else None
    if local_memory_of(cache) is None:
        return None

    async def aread(keys: Sequence[str]) -> list[bytes | None]:
        return read(keys)

    return aread
