"""
The connections of this process to one server: open across requests and threads, each used by one caller at a time.

A connection is put back by whoever has read the whole answer, and by nobody else: an exception, an interrupt and a
killed greenlet leave it out, and so it can't give the rest of an answer to the next caller.

Nothing is locked, since a deque needs no lock to be pushed and popped, so a fork can't come while a lock is held.
"""

import os
import select
import struct
from collections import deque
from collections.abc import Iterable, Mapping
from socket import SO_LINGER, SOL_SOCKET, socket
from time import monotonic
from typing import Any, Final, cast

from pymemcache.client.base import Client, Key
from pymemcache.exceptions import MemcacheUnexpectedCloseError, MemcacheUnknownError

# C's `struct linger`: to wait 0 seconds for what is still to be sent.
_AT_ONCE: Final = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)
# What memcached says to a connection that is one too many, and closes it.
_FULL: Final = b"ERROR Too many open connections"
_SET_EACH: Final = b"set_each"
# What may be the answer to a command; pymemcache takes any other for one that says no.
_ANSWERS: Final[Mapping[bytes, tuple[bytes, ...]]] = {
    b"delete": (b"DELETED", b"NOT_FOUND"),
    b"touch": (b"TOUCHED", b"NOT_FOUND"),
    b"flush_all": (b"OK",),
    _SET_EACH: (b"STORED", b"NOT_STORED", b"SERVER_ERROR", b"CLIENT_ERROR"),
}

Stored = tuple[bytes, int]  # what a serde has made of a value, and its flags


class _AsItIs:
    """Takes and gives values with their flags: what they mean is not for those who hold a connection."""

    @staticmethod
    def serialize(_key: Key, stored: Stored) -> Stored:
        return stored

    @staticmethod
    def deserialize(_key: Key, value: bytes, flags: int) -> Stored:
        return value, flags


class Connection(Client):
    """
    One connection, which opens itself at the first command.

    What has not arrived when it is closed is thrown away. Otherwise the kernel goes on sending it for minutes: a write
    that has failed would arrive when the network is well again, and take the place of one that came after it.
    """

    def _connect(self) -> None:
        super()._connect()
        cast("socket", self.sock).setsockopt(SOL_SOCKET, SO_LINGER, _AT_ONCE)

    def stored(self, keys: list[str]) -> dict[str, Stored]:
        """Return what is there of some keys."""
        found: dict[Any, Stored] = self.get_many(keys)
        return found

    def set_each(self, values: Mapping[str, Stored], expire: int) -> list[str]:
        """Do as `set_many()`, but return the keys that the server refused where that raises for all of them."""
        expires = self._check_integer(expire, "expire")
        commands = []
        for key, (data, flags) in values.items():
            name = self.check_key(key, self.key_prefix)
            commands.append(b"set %b %d %b %d\r\n%b\r\n" % (name, flags, expires, len(data), data))
        lines = self._misc_cmd(commands, _SET_EACH, noreply=False)
        failed = [key for key, line in zip(values, lines, strict=True) if line != b"STORED"]
        if failed:
            # After a refusal a server may say more than one line of it.
            self.close()
        return failed

    def _misc_cmd(
        self,
        cmds: Iterable[bytes],
        cmd_name: bytes,
        noreply: bool | None,  # noqa: FBT001 -- as pymemcache has it
        end_tokens: bytes | None = None,
    ) -> list[bytes]:
        lines: list[bytes] = super()._misc_cmd(cmds, cmd_name, noreply, end_tokens)
        for line in lines:
            if not line.startswith(_ANSWERS.get(cmd_name, line)):
                raise MemcacheUnknownError(line[:32])
        return lines

    def _raise_errors(self, line: bytes, name: bytes) -> None:
        if line.startswith(_FULL):  # which pymemcache takes for the answer to a command that there is not
            raise MemcacheUnexpectedCloseError(_FULL.decode())
        if name != _SET_EACH:
            super()._raise_errors(line, name)


class Pool:
    """Connections to one server that nobody is using."""

    def __init__(self, server: tuple[str, int] | str, options: Mapping[str, Any], most: int, seconds: float) -> None:
        """
        Begin without any.

        Args:
            server: Host and port, or the path of a Unix socket.

            options: Of pymemcache's `Client`.

            most: So many are kept; while more callers are busy at once, more are open.

            seconds: So long is one kept that nobody needs; 0 is for ever.
        """
        self._server = server
        self._options = {**options, "serde": _AsItIs(), "default_noreply": False, "ignore_exc": False}
        self._most = most
        self._seconds = seconds or float("inf")
        self._idle: deque[tuple[Connection, float]] = deque()

    def take(self) -> Connection | None:
        """Return an open connection on which nothing has happened since it was put back; None where there is none."""
        while True:
            try:
                connection, since = self._idle.pop()
            except IndexError:
                return None
            if monotonic() - since <= self._seconds and connection.sock and not is_readable(connection.sock):
                return connection
            connection.close()

    def connection(self) -> Connection:
        """Return a new connection, which is not open yet."""
        return Connection(self._server, **self._options)

    def put(self, connection: Connection) -> None:
        """Keep a connection whose last command has ended as it should."""
        if len(self._idle) < self._most:
            self._idle.append((connection, monotonic()))
        else:
            connection.close()

    def prune(self) -> None:
        """Close what nobody has needed for too long. The last one put back is taken first, so that some can rest."""
        limit = monotonic() - self._seconds
        while True:
            try:
                connection, since = self._idle.popleft()
            except IndexError:
                return
            if since >= limit:
                self._idle.appendleft((connection, since))
                return
            connection.close()

    def clear(self) -> None:
        """
        Close everything that nobody is using.

        In a forked child this takes nothing from the parent: a socket is closed without a word to the server.
        """
        while self._idle:
            self._idle.pop()[0].close()


def is_readable(sock: socket) -> bool:
    """
    Tell whether there is something to read from a connection that should be silent, or its end.

    A server that was started again, or closed the connection, has said so by now. So nothing has to be sent, perhaps a
    second time, to find it out. The rest of an answer would be seen as well.
    """
    if not hasattr(select, "poll"):  # on Windows
        return bool(select.select([sock], [], [], 0)[0])
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))
