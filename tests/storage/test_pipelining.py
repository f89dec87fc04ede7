"""Pipelining: what is sent while an answer is due, and what becomes of a connection on which a chunk fails."""

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from operator import methodcaller
from pathlib import Path
from threading import Thread
from typing import Any, Self

import pytest
import redis
from django.core.cache.backends.base import BaseCache
from pymemcache.exceptions import MemcacheError

import tests.backends
from cachedeco.backends.exchange import Pipeline
from cachedeco.backends.memcached_exchanges import ReadBytes
from cachedeco.backends.memcached_pool import MemcachedPool, let_kernel_wait
from cachedeco.storage.access import AsyncReadChunks, access_to
from cachedeco.storage.connections import on_loops
from cachedeco.storage.direct_access import bytes_in_pickles, pickle_bytes
from cachedeco.storage.memcached_replies import read_chunks
from cachedeco.storage.pipelining import pipeline, send_what_fits
from cachedeco.storage.readers import ReadChunks, redis_chunks_reader
from cachedeco.storage.redis_connections import RedisConnections
from cachedeco.storage.store import Store
from cachedeco.testing import capture_events
from tests.storage.places import ALL, ON_SERVERS, Interrupt, SoftTimeLimit, Wire, cache_of
from tests.support import hanging
from tests.support.interrupts import Attempt, handled
from tests.support.servers import HOST, Memcached, free_port
from tests.support.steps import Steps
from tests.support.threads import PATIENCE_SECONDS

Key = Callable[[object], str]
Exchange = tuple[int, bytes | None]  # the bytes of a command, and the answer; None closes the connection

CERTIFICATE = Path(tests.backends.__file__).parent / "loopback.pem"
# Of memcached: a command is longer than all buffers between, and so is an answer.
FEW_BYTES = 4096
CHUNKS = [[f"{n}:{'k' * 100}:{m}" for m in range(300)] for n in range(4)]
VALUE = b"v" * 100
# What the client can take, whose buffer is of the usual size there, is less than an answer with these.
LARGE_VALUE = b"v" * 2000


def get(chunk: Sequence[str], answer: bytes | None = b"") -> Exchange:
    """Return a command to memcached, and its answer: that all are there, if it is empty."""
    size = len(f"get {' '.join(chunk)}\r\n")
    found = b"".join(b"VALUE %b 0 %d\r\n%b\r\n" % (key.encode(), len(VALUE), VALUE) for key in chunk)
    return size, found + b"END\r\n" if answer == b"" else answer


def mget(chunk: Sequence[str], answer: bytes | None = b"") -> Exchange:
    """Return a command to Redis, and its answer, as above."""
    size = len(f"*{len(chunk) + 1}\r\n$4\r\nMGET\r\n") + sum(len(f"${len(key)}\r\n{key}\r\n") for key in chunk)
    stored = pickle_bytes(LARGE_VALUE)
    found = b"*%d\r\n" % len(chunk) + b"$%d\r\n%b\r\n" % (len(stored), stored) * len(chunk)
    return size, found if answer == b"" else answer


def begin(connection: Any) -> None:
    """Begin a connection of redis-py without a word to the server."""
    connection._parser.on_connect(connection)


class OneByOne:
    """
    A server with small buffers, which reads a command, and reads no more until its answer has been read.

    It expects the exchanges of one connection after the other, and answers the last command of each.
    """

    def __init__(self, *connections: Sequence[Exchange], is_encrypted: bool = False) -> None:
        """Take a port."""
        self._connections = connections
        self._tls = None
        if is_encrypted:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(CERTIFICATE)
        self._listener = socket.socket()
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            self._listener.setsockopt(socket.SOL_SOCKET, option, FEW_BYTES)
        self._listener.bind((HOST, 0))
        self._listener.listen()
        self.port: int = self._listener.getsockname()[1]
        self._thread = Thread(target=self._serve, name="one by one")

    def connect(self) -> socket.socket:
        """Return a connection to it, with small buffers as well."""
        sock = socket.socket()
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            sock.setsockopt(socket.SOL_SOCKET, option, FEW_BYTES)
        sock.settimeout(PATIENCE_SECONDS)
        sock.connect((HOST, self.port))
        return sock

    def __enter__(self) -> Self:
        """Begin to listen."""
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Wait until the last connection is closed."""
        self._thread.join(PATIENCE_SECONDS)
        self._listener.close()

    def _encrypted(self, connection: socket.socket) -> socket.socket:
        return self._tls.wrap_socket(connection, server_side=True) if self._tls else connection

    def _serve(self) -> None:
        self._listener.settimeout(PATIENCE_SECONDS)
        for exchanges in self._connections:
            connection, _ = self._listener.accept()
            connection.settimeout(PATIENCE_SECONDS)
            with suppress(OSError), self._encrypted(connection) as sock:
                for size, answer in exchanges:
                    left = size
                    while left > 0:
                        left -= len(sock.recv(left)) or left
                    if answer is None:
                        break
                    sock.sendall(answer)
                else:
                    sock.recv(1)  # until the client closes it


@pytest.mark.parametrize("kind", ["timeout of Python", "timeout of the kernel", "TLS"])
def test_large_commands_and_answers_do_not_wait_for_each_other(kind: str) -> None:
    """Neither side reads while it writes, and all buffers are small: each would wait for the other to read."""
    with OneByOne([get(chunk) for chunk in CHUNKS], is_encrypted=kind == "TLS") as server, ExitStack() as stack:
        sock = stack.enter_context(server.connect())
        if kind == "TLS":
            context = ssl.create_default_context(cafile=str(CERTIFICATE))
            sock = stack.enter_context(context.wrap_socket(sock, server_hostname=HOST))
        elif kind == "timeout of the kernel":
            let_kernel_wait(sock, PATIENCE_SECONDS)
        timeout = sock.gettimeout()

        values = read_chunks(sock, CHUNKS, pytest.fail)

        assert [VALUE] * sum(map(len, CHUNKS)) == values
        assert timeout == sock.gettimeout()


def test_large_commands_to_redis_do_not_wait_for_its_answers() -> None:
    """A proxy before it may read nothing while it writes, as Redis itself does not."""
    with OneByOne([mget(chunk) for chunk in CHUNKS]) as server:
        connection: Any = redis.Connection(
            HOST, server.port, protocol=2, redis_connect_func=begin, socket_timeout=PATIENCE_SECONDS
        )
        connection.connect()
        connection._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, FEW_BYTES)

        values = redis_chunks_reader(lambda command, **_: command(connection), bytes_in_pickles)(CHUNKS)

        assert [LARGE_VALUE] * sum(map(len, CHUNKS)) == values
        connection.disconnect()


# --- each kind of cache ---


@pytest.mark.parametrize("kind", ALL)
def test_values_of_chunks_come_in_the_order_of_the_keys(cache: BaseCache, key: Key) -> None:
    """With any key missing, and if a key is in several chunks."""
    for name in "abc":
        cache.set(key(name), name.encode())
    chunks = [[key(name) for name in names] for names in ("xca", "a", "yb", "x", "cb")]

    found = access_to(cache).read_chunks(chunks)

    assert [None, b"c", b"a", b"a", None, b"b", None, b"c", b"b"] == found


@pytest.mark.parametrize("kind", ["ours", "our redis", "memcached", "redis"])
def test_next_chunk_is_sent_before_an_answer_is_read(cache: BaseCache, key: Key, steps: Steps) -> None:
    """Two commands are on the way, and no more; each is sent once."""
    read = access_to(cache).read_chunks
    read([[key(1)]])  # which connects
    # Each answer is larger than what is read at once, so that no two are read together.
    cache.set(key(1), b"x" * 100_000)
    steps.clear()
    read([[key(1), key(n)] for n in range(2, 7)])

    assert [2, 1, 1, 1] == steps.sent_at_once


@pytest.mark.parametrize("kind", ON_SERVERS)
@pytest.mark.parametrize("interrupt", [Interrupt(), KeyboardInterrupt(), SoftTimeLimit()], ids=repr)
def test_interrupted_reader_of_chunks_leaves_no_answer_behind(
    cache: BaseCache, key: Key, wire: Wire, interrupt: BaseException
) -> None:
    """A signal comes in the middle of an answer, while the command after it is on the way."""
    cache.set_many({key("mine"): b"mine", key("yours"): b"yours"})
    read = access_to(cache).read
    read([key("mine")])

    wire.interrupt(interrupt)
    with pytest.raises(type(interrupt)):
        access_to(cache).read_chunks([[key("mine")], [key("mine")] * 2, [key("mine")]])

    assert [b"yours", None] == read([key("yours"), key("absent")])
    assert [b"mine"] == read([key("mine")])


@pytest.mark.usefixtures("_without_lost_sockets")
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
@pytest.mark.parametrize("kind", ["ours", "our redis", "memcached", "redis"])
def test_exception_at_any_point_leaves_no_answer_behind(cache: BaseCache, key: Key) -> None:
    """Of a signal's handler: it reaches the caller, and the next reader gets its own values."""
    cache.set_many({key("mine"): b"mine", key("yours"): b"yours"})
    read = access_to(cache).read
    chunks = [[key("mine")], [key("mine"), key("absent")], [key("mine")]]
    read_all = access_to(cache).read_chunks
    faults = []

    with handled():
        for point in range(400):
            attempt = Attempt(point)
            attempt.run(lambda: read_all(chunks))
            if not attempt.fell:
                break
            if attempt.is_swallowed or read([key("yours")]) != [b"yours"]:
                faults.append(attempt.fell)

    assert ([], True) == (faults, 30 < point < 399)


@pytest.mark.parametrize("kind", ["ours", "ours on two servers", "our redis"])
def test_chunks_of_a_server_that_is_out_of_reach_are_missing(kind: str) -> None:
    """As single keys are."""
    port = free_port()
    locations = [
        f"{'redis://' if 'redis' in kind else ''}{HOST}:{port}" for port in (port, port)[: 1 + ("two" in kind)]
    ]
    cache = cache_of(kind, locations)

    assert [None] * 3 == access_to(cache).read_chunks([["a", "b"], ["c"]])


@pytest.mark.parametrize("ignore_exc", [False, True])
def test_chunks_of_a_server_that_pymemcache_leaves_out(
    key: Key, private_memcached: Memcached, *, ignore_exc: bool
) -> None:
    """Its own methods decide when it is tried again; where it hides errors, all are missing."""
    cache: Any = cache_of("memcached", private_memcached.location, retry_attempts=0, ignore_exc=ignore_exc)
    read, chunks = access_to(cache).read_chunks, [[key(1)], [key(2), key(1)]]
    private_memcached.stop()
    found: list[Any] = []

    for _ in range(2):
        with suppress(ConnectionError, MemcacheError):
            found.append(read(chunks))

    # As each chunk alone: HashClient says that no server is left.
    assert cache._cache._dead_clients
    assert [[None] * 3] * (2 if ignore_exc else 0) == found


# --- a chunk that fails ---

FAILURES: dict[str, tuple[bytes | None, bytes | None]] = {
    "refused": (b"SERVER_ERROR out of memory\r\n", b"-OOM command not allowed\r\n"),
    "unknown": (b"ERROR\r\n", b"-ERR unknown command\r\n"),
    "no answer": (b"nonsense\r\n", b"nonsense\r\n"),
    "half an answer": (get(CHUNKS[1])[1][:5000], mget(CHUNKS[1])[1][:5000]),  # type: ignore[index] # they have one
    "closed": (None, None),
}


def readers_at(kind: str, port: int) -> tuple[ReadChunks, Callable[[], None]]:
    """Return what reads from a server by kept connections, which knows no command but one; and what closes them."""
    if kind == "redis":
        options = {"protocol": 2, "redis_connect_func": begin, "socket_timeout": PATIENCE_SECONDS}
        clients = redis.ConnectionPool(host=HOST, port=port, **options)
        connections = RedisConnections(lambda **_: clients)
        return redis_chunks_reader(connections.run, bytes_in_pickles), connections.clear
    if kind == "ours":
        pool = MemcachedPool((HOST, port), {"timeout": PATIENCE_SECONDS}, 1, 0)
        return lambda chunks: pool.run(methodcaller("read_chunks", chunks), writes=False), pool.clear
    cache = cache_of(kind, f"{HOST}:{port}", retry_timeout=-1)
    return access_to(cache).read_chunks, cache.close


@contextmanager
def hanging_after(failure: str, server: OneByOne) -> Iterator[None]:
    """Let no client wait long for the other half of an answer, until the block ends."""
    if failure == "half an answer":
        hanging.begin(server.port)
    yield
    hanging.end(server.port)


@pytest.mark.parametrize("kind", ["ours", "memcached", "redis"])
@pytest.mark.parametrize("failure", FAILURES)
def test_connection_on_which_a_chunk_fails_is_not_used_again(kind: str, failure: str) -> None:
    """The answer to the next chunk is on the way by then: the next reader gets its own values all the same."""
    exchange = mget if kind == "redis" else get
    failing = [exchange(CHUNKS[0]), exchange(CHUNKS[1], FAILURES[failure][kind == "redis"]), exchange(CHUNKS[2])]
    if failure == "half an answer":
        failing.pop()

    with OneByOne(failing, [exchange(["key"])]) as server:
        read, close = readers_at(kind, server.port)
        with hanging_after(failure, server), pytest.raises(Exception):  # noqa: B017, PT011 -- that of the client
            read(CHUNKS[:3])
        found = read([["key"]])
        close()

    assert [LARGE_VALUE if kind == "redis" else VALUE] == found


# --- on an event loop ---


@pytest.mark.parametrize("kind", ["ours", "ours on two servers", "our redis", "locmem"])
def test_event_loop_reads_chunks_in_the_order_of_the_keys(cache: BaseCache, key: Key) -> None:
    """As a thread does."""
    for name in "abc":
        cache.set(key(name), name.encode())
    chunks = [[key(name) for name in names] for names in ("xca", "a", "yb", "x", "cb")]
    aread = access_to(cache).aread
    assert aread

    found = asyncio.run(read_once(access_to(cache).aread_chunks, chunks))

    assert [None, b"c", b"a", b"a", None, b"b", None, b"c", b"b"] == found


async def read_once(read: AsyncReadChunks, chunks: Sequence[Sequence[str]]) -> list[bytes | None]:
    """Return what a reader gives."""
    return await read(chunks)


def test_event_loop_asks_for_several_chunks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """For some, as the server may keep all of their answers; in order, so that entries are read before tokens."""
    connection, asked = on_loops("default"), list[list[int]]()
    read = connection.aread_chunks
    assert read

    async def noted(chunks: Sequence[Sequence[str]]) -> list[bytes | None]:
        asked.append([len(chunk) for chunk in chunks])
        return await read(chunks)

    monkeypatch.setattr(connection, "aread_chunks", noted)
    keys = [f"cd:{number}" for number in range(10_001)]
    connection.cache.set_many({keys[0]: b"first", keys[-1]: b"last"})

    found = asyncio.run(Store("default").get_many_on_loop(keys))

    assert {keys[0]: b"first", keys[-1]: b"last"} == found
    assert [[2000] * 4, [2000, 1]] == asked


def test_failure_of_a_chunk_on_an_event_loop_is_one_event(monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a chunk in a thread: the call goes on without the cache."""

    async def failing(_: object) -> list[bytes | None]:
        raise ConnectionError

    monkeypatch.setattr(on_loops("default"), "aread_chunks", failing)
    keys = [f"cd:{number}" for number in range(2001)]

    with capture_events() as events:
        found = asyncio.run(Store("default").get_many_on_loop(keys))

    assert (None, ["error"]) == (found, [event.kind for event in events])


@pytest.mark.parametrize("kind", ["ours", "our redis"])
def test_event_loop_writes_and_reads_at_once(kind: str) -> None:
    """A server that reads nothing while it writes holds up neither."""
    exchange = mget if "redis" in kind else get
    with OneByOne([exchange(chunk) for chunk in CHUNKS]) as server:
        location = f"{HOST}:{server.port}"
        cache: Any = cache_of(kind, f"redis://{location}" if "redis" in kind else location)

        found = asyncio.run(cache.raw_client().aread_chunks(CHUNKS))

    assert [LARGE_VALUE if "redis" in kind else VALUE] * sum(map(len, CHUNKS)) == found


@pytest.mark.parametrize("kind", ["ours", "our redis"])
def test_chunks_of_a_server_that_is_out_of_reach_are_missing_on_an_event_loop(kind: str) -> None:
    """As in a thread."""
    location = f"{HOST}:{free_port()}"
    cache: Any = cache_of(kind, f"redis://{location}" if "redis" in kind else location)

    assert [None] * 3 == asyncio.run(cache.raw_client().aread_chunks([["a", "b"], ["c"]]))


@pytest.mark.parametrize("failure", FAILURES)
def test_loop_connection_on_which_a_chunk_fails_is_not_used_again(failure: str) -> None:
    """As that of a thread is not."""
    failing = [get(CHUNKS[0]), get(CHUNKS[1], FAILURES[failure][0]), get(CHUNKS[2])]
    if failure == "half an answer":
        failing.pop()

    async def read(server: OneByOne) -> list[bytes | None]:
        loops = MemcachedPool((HOST, server.port), {"timeout": PATIENCE_SECONDS}, 1, 0).loops
        assert loops
        pipeline = Pipeline([ReadBytes(chunk) for chunk in CHUNKS[:3]])
        with hanging_after(failure, server), pytest.raises(Exception):  # noqa: B017, PT011 -- memcached's or the socket's
            await loops.choose(writes=False).send(pipeline)
        return await loops.choose(writes=False).send(ReadBytes(["key"]))

    with OneByOne(failing, [get(["key"])]) as server:
        assert [VALUE] == asyncio.run(read(server))


def test_refusal_of_a_chunk_by_redis_is_raised_on_an_event_loop() -> None:
    """All answers have been read by then: the connection is used again."""
    refused = [mget(CHUNKS[0]), mget(CHUNKS[1], FAILURES["refused"][1]), mget(CHUNKS[2]), mget(["key"])]

    async def read(port: int) -> list[bytes | None]:
        cache: Any = cache_of("our redis", f"redis://{HOST}:{port}")
        client = cache.raw_client()
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            await client.aread_chunks(CHUNKS[:3])
        found: list[bytes | None] = await client.aread(["key"])
        return found

    with OneByOne(refused) as server:
        assert [LARGE_VALUE] == asyncio.run(read(server.port))


# --- what a socket takes ---


def test_lost_connection_takes_nothing() -> None:
    """What is wrong is told by the read that follows, in the way of the client."""
    here, there = socket.socketpair()
    there.close()

    with here:
        assert (0, 0) == (send_what_fits(here, b"command"), send_what_fits(None, b"command"))


def test_commands_are_sent_whole_where_the_socket_is_unknown() -> None:
    """As by a connection of a class of the project's own: one after the other."""
    sent: list[Any] = []

    read = [(command, b"".join(sent)) for command in pipeline(sent.append, lambda: None, [b"a", b"b", b"c"])]

    assert [(b"a", b"a"), (b"b", b"ab"), (b"c", b"abc")] == read
