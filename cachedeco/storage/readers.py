"""
Readers: the values of some keys, in the order asked, by one command; of more keys, by one command for each chunk.

A reader takes whole keys, which are valid: ASCII, without spaces and control characters, at most 250 bytes. It checks
and changes none, and raises what the cache raises.

After an exception, an interrupt too, no connection with an unread answer is used again: else the next reader would get
the values of this one.
"""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from functools import partial
from time import time
from typing import Any, Final, cast

from django.core.cache.backends.base import BaseCache

from cachedeco.runtime.interrupts import is_interrupt
from cachedeco.storage.cache_keys import LONGEST_KEY
from cachedeco.storage.direct_access import LocalMemory, bytes_in_pickles
from cachedeco.storage.pipelining import pipeline
from cachedeco.storage.redis_connections import values_in
from cachedeco.storage.replies import FEW

# How a command names the length of a key, by the length: text, as numbers take a while to become text.
_SIZES: Final = [f"${size}" for size in range(LONGEST_KEY + 1)]

#: Whole keys in, one at least; values in the order asked: None for a missing one, `UNDECODABLE` if it is no bytes.
Read = Callable[[Sequence[str]], list[bytes | None]]
#: As `Read`, of chunks of keys, as many in each as one command takes: in the order asked, so that those of the first
#: chunk are read before those of the second. Pipelined where the cache can be read so.
ReadChunks = Callable[[Sequence[Sequence[str]]], list[bytes | None]]


class NonsenseReadError(Exception):
    """A cache has answered a read with what no cache should answer."""


def one_by_one(read: Read) -> ReadChunks:
    """Return a reader of chunks that begins with each when the one before has been read."""
    return lambda chunks: [value for chunk in chunks for value in read(chunk)]


@contextmanager
def closing_if_interrupted(cache: BaseCache) -> Generator[None]:
    """Close a cache object after an interrupt: after an exception of its own a client does so itself."""
    try:
        yield
    except BaseException as error:
        if is_interrupt(error):
            cache.close()
        raise


def general_reader(cache: BaseCache) -> Read:
    """Return a reader of any cache, by its `get_many()`."""

    def read(keys: Sequence[str]) -> list[bytes | None]:
        with closing_if_interrupted(cache):
            found = cache.get_many(keys)
        if not isinstance(found, dict):
            cache.close()  # the answer of another command may be in its connection
            msg = f"get_many() returned {found!r:.80} and no dict"
            raise NonsenseReadError(msg)
        return [found.get(key) for key in keys]

    return read


def local_memory_reader(memory: LocalMemory) -> Read:
    """Return a reader of a LocMemCache."""
    lock, values, deadlines, move_to_end, delete, *_ = memory

    def read(keys: Sequence[str]) -> list[bytes | None]:
        now = time()
        pickles: list[bytes | None] = []
        with lock:
            for key in keys:
                data = values.get(key)
                if data is not None:
                    deadline = deadlines.get(key, -1)
                    if deadline is None or deadline > now:
                        move_to_end(key, False)  # noqa: FBT003 -- quicker than by name
                    else:
                        delete(key)
                        data = None
                pickles.append(data)
        return bytes_in_pickles(pickles)

    return read


def packed_mget(keys: Sequence[str]) -> bytes:
    """Return the command MGET as it is sent: whole keys are ASCII, which redis-py's packing does not know."""
    lines = [f"*{len(keys) + 1}\r\n$4\r\nMGET"]
    for key in keys:
        lines += _SIZES[len(key)], key
    lines.append("")
    return "\r\n".join(lines).encode("ascii")


def redis_reader(run: Callable[..., Any], load_each: Callable[[list[bytes | None]], list[bytes | None]]) -> Read:
    """Return a reader of a Redis by one MGET; *load_each* undoes what `RedisWriter` does to each value."""

    def read(keys: Sequence[str]) -> list[bytes | None]:
        packed = [packed_mget(keys)]

        def command(connection: Any) -> Any:
            connection.send_packed_command(packed)
            return load_each(values_in(connection.read_response(disable_decoding=True), len(keys)))

        return cast("list[bytes | None]", run(command, writes=False))

    return read


def redis_chunks_reader(
    run: Callable[..., Any], load_each: Callable[[list[bytes | None]], list[bytes | None]]
) -> ReadChunks:
    """Return a reader of a Redis by an MGET for each chunk, pipelined; see `redis_reader()`."""

    def read(chunks: Sequence[Sequence[str]]) -> list[bytes | None]:
        def command(connection: Any) -> list[bytes | None]:
            values: list[bytes | None] = []
            connection.send_packed_command(())  # it connects, and may ask for an answer before the first command
            send = partial(_send_packed, connection)
            commands = pipeline(send, lambda: getattr(connection, "_sock", None), map(packed_mget, chunks))
            for chunk, _ in zip(chunks, commands, strict=True):
                values += load_each(values_in(connection.read_response(disable_decoding=True), len(chunk)))
            return values

        return cast("list[bytes | None]", run(command, writes=False))

    return read


def _send_packed(connection: Any, data: bytes) -> None:
    connection.send_packed_command((data,), check_health=False)


def hash_client_reader(client: Any, general: Read) -> Read:
    """
    Return a reader without the hash of each key, which HashClient computes in Python though there is one server.

    Failures are counted by HashClient. After several it removes the server and adds it again later, as a new client: so
    the client is looked up each time.
    """
    from cachedeco.storage.memcached_replies import cut_hits, read_rest  # it needs pymemcache

    dead = client._dead_clients  # noqa: SLF001

    def read(keys: Sequence[str]) -> list[bytes | None]:
        if dead:
            return general(keys)
        text = " ".join(keys).encode("ascii")

        def command(only: Any) -> list[bytes | None]:
            only.sock.sendall(b"get %b\r\n" % text)
            data = only.sock.recv(FEW)
            hits = cut_hits(data, len(keys), text, 0, len(data))
            return read_rest(only.sock.recv, text, only._raise_errors, data) if hits is None else hits  # noqa: SLF001

        return _run_on_only_client(client, command) or [None] * len(keys)

    return read


def hash_client_chunks_reader(client: Any, general: ReadChunks) -> ReadChunks:
    """Return a reader of chunks, pipelined; see `hash_client_reader()`."""
    from cachedeco.storage.memcached_replies import read_chunks  # it needs pymemcache

    def read(chunks: Sequence[Sequence[str]]) -> list[bytes | None]:
        if client._dead_clients:  # noqa: SLF001
            return general(chunks)

        def command(only: Any) -> list[bytes | None]:
            return read_chunks(only.sock, chunks, only._raise_errors)  # noqa: SLF001

        return _run_on_only_client(client, command) or [None] * sum(map(len, chunks))

    return read


def _run_on_only_client(client: Any, command: Callable[[Any], list[bytes | None]]) -> list[bytes | None] | None:
    """Run a command on the client of the only server of a HashClient, connected; return None if it was not run."""
    [only] = client.clients.values()

    def connected() -> list[bytes | None]:
        if not only.sock:
            only._connect()  # noqa: SLF001
        return command(only)

    found: list[bytes | None] | None = None
    try:
        found = client._safely_run_func(only, connected, None)  # noqa: SLF001
    finally:
        # The rest of an answer may come later; or the server is left out for a while, or `ignore_exc` hides an error.
        if found is None:
            only.close()
    return found
