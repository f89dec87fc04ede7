"""Connection pool for one memcached server: connections stay open across requests, and serve one caller at a time."""

import _socket
import struct
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import methodcaller
from socket import SO_RCVTIMEO, SO_SNDTIMEO, SOL_SOCKET, socket
from ssl import SSLSocket
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar, cast

from pymemcache.client.base import PooledClient
from pymemcache.exceptions import MemcacheUnexpectedCloseError

from cachedeco.backends import memcached_errors
from cachedeco.backends.exchange import Exchange, LastAnswer
from cachedeco.backends.loops import Loops
from cachedeco.backends.memcached_answers import raise_errors
from cachedeco.backends.memcached_exchanges import endpoint_of
from cachedeco.backends.server import Failures, OnConnection
from cachedeco.backends.sockets import send_nothing_after_close, unread_in
from cachedeco.runtime.state import reset_in_unannounced_child
from cachedeco.storage.idle_connections import IdleConnections
from cachedeco.storage.memcached_replies import (
    check_end,
    cut_hits,
    read_chunks,
    read_rest,
    receive,
)
from cachedeco.storage.replies import FEW

if TYPE_CHECKING:
    from pymemcache.client.base import Client
else:
    # Not by its name, under which a tracer, such as Datadog's, puts a wrapper that can't be inherited from.
    Client = PooledClient.client_class

T = TypeVar("T")

TIMED_OUT: Final = "timed out"  # as Python says it


class MemcachedConnection(Client):
    """One connection, which opens itself at the first command."""

    #: Tells whether the server has closed it while it was idle, or sent what no command has asked for.
    has_unread: Callable[[], bool]

    def _connect(self) -> None:
        super()._connect()
        sock = cast("socket", self.sock)
        self.has_unread = unread_in(sock)
        send_nothing_after_close(sock)
        if self.timeout is not None and kernel_can_wait(sock):
            let_kernel_wait(sock, self.timeout)

    def read_bytes(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the values of valid keys that were stored without flags, in order."""
        sock, text = self.sock or self._open(), " ".join(keys).encode("ascii")
        sock.sendall(b"get %b\r\n" % text)
        data = sock.recv(FEW)
        hits = cut_hits(data, len(keys), text, 0, len(data))  # faster than the parser, which nearly no answer needs
        return read_rest(sock.recv, text, raise_errors, data) if hits is None else hits

    def read_chunks(self, chunks: Iterable[Sequence[str]]) -> list[bytes | None]:
        """Return the values of chunks of valid keys, pipelined, as `read_bytes()` does those of one."""
        return read_chunks(self.sock or self._open(), chunks, self._raise_errors)

    def _open(self) -> socket:
        self._connect()
        return cast("socket", self.sock)

    def carry_out(self, exchange: Exchange[T]) -> T:
        """Send a command, and return its answer."""
        sock = self.sock or self._open()
        sock.sendall(exchange.command)
        data = sock.recv(FEW)
        try:
            cut = exchange.cut(data, 0)  # faster than the parser, which nearly no answer needs
            if cut is not None and cut[1] == len(data):
                answer, rest = cut[0], b""
            else:
                answer, rest = receive(exchange.parse(data), sock.recv)
        except LastAnswer as last:
            self.close()
            return cast("T", last.answer)
        check_end(rest)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _raise_errors(self, line: bytes, name: bytes) -> None:
        raise_errors(line, name)


class MemcachedPool:
    """The idle connections to one server. Thread-safe."""

    failures: ClassVar[Failures] = memcached_errors

    def __init__(self, server: tuple[str, int] | str, options: Mapping[str, Any], most: int, seconds: float) -> None:
        """
        Create an empty pool for a server: host and port, or the path of a Unix socket; with pymemcache's options.

        It keeps *most* idle connections for so many seconds, 0 for ever; more are open while more callers need one at
        once.
        """
        self._server = server
        self._options = options
        seconds = seconds or float("inf")
        self.idle = IdleConnections[MemcachedConnection](methodcaller("close"), most=most, seconds=seconds)
        endpoint = endpoint_of(server, options, seconds)
        self.loops = endpoint and Loops(endpoint)

    def run(self, command: OnConnection[T], *, writes: bool) -> T:
        """
        Run a command on a connection that no other caller uses.

        A write is sent once; a read is repeated if the connection was lost.
        """
        if writes:
            reset_in_unannounced_child()  # whose connections are the parent's
        # To ask takes a system call: a write needs it, as it is sent once, and a read does not, as it is repeated.
        known = self.idle.take(is_quiet if writes else _is_open)
        connection = known or self.connection()
        try:
            result = command(connection)
        except BaseException as error:  # part of an answer may be unread, also after a KeyboardInterrupt
            connection.close()
            if isinstance(error, BlockingIOError):
                raise TimeoutError(TIMED_OUT) from error
            # The server was restarted: its new process gives a valid answer.
            if not writes and known and isinstance(error, ConnectionError | MemcacheUnexpectedCloseError):
                self.clear()
                return self.run(command, writes=True)
            raise
        if connection.sock is not None:
            self.idle.put(connection)
        return result

    def connection(self) -> MemcachedConnection:
        """Return a new connection, which is not open yet."""
        return MemcachedConnection(self._server, **self._options)

    def prune(self) -> None:
        """Close connections that were idle for too long."""
        self.idle.prune()

    def clear(self) -> None:
        """Close all idle connections."""
        if self.loops is not None:
            self.loops.clear()
        self.idle.clear()


def _is_open(connection: MemcachedConnection) -> bool:
    return connection.sock is not None


def is_quiet(connection: MemcachedConnection) -> bool:
    """Tell whether the server has not closed a connection, and it has nothing to read."""
    return connection.sock is not None and not connection.has_unread()


def kernel_can_wait(sock: socket) -> bool:
    """Tell whether a socket is the operating system's own: not one of gevent, for example, nor one with TLS."""
    return sys.platform == "linux" and isinstance(sock, _socket.socket) and not isinstance(sock, SSLSocket)


def let_kernel_wait(sock: socket, seconds: float) -> None:
    """
    Let the kernel keep the timeout of each send and receive, which raise BlockingIOError then.

    Python would poll the socket before each: two system calls of a hit's four. A signal whose handler returns begins
    the wait anew.
    """
    # C's `struct timeval`. Zero would be for ever.
    interval = struct.pack("ll", *divmod(max(1, round(seconds * 1_000_000)), 1_000_000))
    sock.settimeout(None)
    sock.setsockopt(SOL_SOCKET, SO_RCVTIMEO, interval)
    sock.setsockopt(SOL_SOCKET, SO_SNDTIMEO, interval)
