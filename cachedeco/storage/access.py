"""
Access to one cache object: the quickest readers and writers that there are for it.

For our own backends, and for exactly Django's LocMemCache, PyMemcacheCache of one server and RedisCache there are quick
ones; any other cache is read and written by its methods. On an event loop itself, without a change of threads, a cache
is used that says it is natively async, as our own backends are, and Django's LocMemCache, which is memory; any other
one by the thread where Django keeps its connections.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.db import DatabaseCache

from cachedeco.storage.direct_access import (
    bytes_in_pickles,
    hash_client_of,
    local_memory_of,
    pickle_bytes,
    redis_connections_of,
)
from cachedeco.storage.readers import (
    Read,
    ReadChunks,
    general_reader,
    hash_client_chunks_reader,
    hash_client_reader,
    local_memory_reader,
    one_by_one,
    redis_chunks_reader,
    redis_reader,
)
from cachedeco.storage.writers import (
    Acknowledged,
    DatabaseWriter,
    GeneralWriter,
    HashClientWriter,
    LocalMemoryWriter,
    RedisWriter,
    WholeItem,
    Writer,
)

Q = TypeVar("Q")  # what is asked for, or sent
A = TypeVar("A")  # what the cache answers

#: As `Read`, for any event loop of any thread. A caller that is cancelled leaves no connection with an unread answer.
AsyncRead = Callable[[Sequence[str]], Awaitable[list[bytes | None]]]
#: As `ReadChunks`.
AsyncReadChunks = Callable[[Sequence[Sequence[str]]], Awaitable[list[bytes | None]]]
#: As `Writer.set_each()`.
AsyncWrite = Callable[[Sequence[WholeItem]], Awaitable[Acknowledged]]


@dataclass(eq=False, slots=True)
class Connection:
    """One cache object, used by one thread at a time, with its readers and writers."""

    cache: BaseCache
    read: Read
    read_chunks: ReadChunks
    writer: Writer
    aread: AsyncRead | None = None  #: those for event loops; None if there are none
    aread_chunks: AsyncReadChunks | None = None
    awrite: AsyncWrite | None = None
    pipelines: bool = field(init=False)  #: whether the writer sends many items in one trip

    def __post_init__(self) -> None:
        """Look at the writer, before an observer stands in its place."""
        self.pipelines = not isinstance(self.writer, GeneralWriter)


def access_to(cache: BaseCache) -> Connection:
    """
    Return the quickest access to a cache object whose `key_func` returns the key as it is.

    A backend offers one by a method `raw_client()` of its own class, which returns None, or an object with the methods
    `read()`, `read_chunks()`, `add_each()` and `set_each()`; with `aread()`, `aread_chunks()` and `aset_each()` as well
    if its `natively_async` is true. A subclass does not inherit the offer: it may store values in another form.
    """
    client = _offered_client(cache)
    if client is not None:
        on_loops = (client.aread, client.aread_chunks, client.aset_each) if client.natively_async else ()
        return Connection(cache, client.read, client.read_chunks, client, *on_loops)
    memory = local_memory_of(cache)
    if memory is not None:
        read, writer = local_memory_reader(memory), LocalMemoryWriter(memory)
        chunks = one_by_one(read)
        return Connection(cache, read, chunks, writer, _on_loop(read), _on_loop(chunks), _on_loop(writer.set_each))
    connections = redis_connections_of(cache)
    if connections is not None:
        run = connections.run
        reader, chunks_reader = redis_reader(run, bytes_in_pickles), redis_chunks_reader(run, bytes_in_pickles)
        return Connection(cache, reader, chunks_reader, RedisWriter(run, pickle_bytes))
    general = general_reader(cache)
    chunks = one_by_one(general)
    client = hash_client_of(cache)
    if client is not None:
        reader, chunks_reader = hash_client_reader(client, general), hash_client_chunks_reader(client, chunks)
        return Connection(cache, reader, chunks_reader, HashClientWriter(client, cache))
    kind = DatabaseWriter if isinstance(cache, DatabaseCache) else GeneralWriter
    return Connection(cache, general, chunks, kind(cache))


def _offered_client(cache: BaseCache) -> Any | None:
    """Return what a backend offers by a method `raw_client()` of its own class."""
    offer = vars(type(cache)).get("raw_client")
    return None if offer is None else offer(cache)


def _on_loop(use: Callable[[Q], A]) -> Callable[[Q], Awaitable[A]]:
    """Return the twin of what only uses memory."""

    async def used(what: Q) -> A:
        return use(what)

    return used
