"""
Async readers and writers: read and write on the event loop itself, without a change of threads.

For a cache that says it is natively async, as our own backends are, and for Django's LocMemCache, which is memory. Any
other cache has none: the thread where Django keeps its connections reads and writes it.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import cast

from django.core.cache.backends.base import BaseCache

from cachedeco.storage.direct_access import local_memory_of
from cachedeco.storage.readers import Read, raw_client_of
from cachedeco.storage.writers import Acknowledged, WholeItem, Writer

#: As `Read`, for any event loop of any thread. A caller that is cancelled leaves no connection with an unread answer.
AsyncRead = Callable[[Sequence[str]], Awaitable[list[bytes | None]]]

#: As `ReadChunks`.
AsyncReadChunks = Callable[[Sequence[Sequence[str]]], Awaitable[list[bytes | None]]]

#: As `Writer.set_each()`.
AsyncWrite = Callable[[Sequence[WholeItem]], Awaitable[Acknowledged]]


def async_reader_of(cache: BaseCache, read: Read) -> AsyncRead | None:
    """
    Return the async reader of a cache object whose `key_func` returns the key as it is; None if there is none.

    A backend offers one as it offers its reader: what its `raw_client()` returns has `natively_async` set, and the
    coroutine method `aread()`.
    """
    client = raw_client_of(cache)
    if client is not None:
        return cast("AsyncRead", client.aread) if getattr(client, "natively_async", False) is True else None
    if local_memory_of(cache) is None:
        return None

    async def aread(keys: Sequence[str]) -> list[bytes | None]:
        return read(keys)

    return aread


def async_chunks_reader_of(cache: BaseCache, aread: AsyncRead) -> AsyncReadChunks:
    """
    Return the async reader of many keys of a cache object that has an async reader.

    A backend offers one by the coroutine method `aread_chunks()` of what its `raw_client()` returns.
    """

    async def one_by_one(chunks: Sequence[Sequence[str]]) -> list[bytes | None]:
        return [value for chunk in chunks for value in await aread(chunk)]

    client = raw_client_of(cache)
    return cast("AsyncReadChunks", getattr(client, "aread_chunks", one_by_one))


def async_writer_of(cache: BaseCache, writer: Writer) -> AsyncWrite | None:
    """
    Return what stores values on event loops, by `Writer.set_each()` or a twin of it; None if there is none.

    A natively async backend offers one by a coroutine method `aset_each()` of what its `raw_client()` returns.
    """
    client = raw_client_of(cache)
    if client is not None:
        is_native = getattr(client, "natively_async", False) is True
        return cast("AsyncWrite | None", getattr(client, "aset_each", None)) if is_native else None
    if local_memory_of(cache) is None:
        return None

    async def awrite(items: Sequence[WholeItem]) -> Acknowledged:
        return writer.set_each(items)

    return awrite
