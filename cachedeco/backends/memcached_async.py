"""Commands to memcached as an event loop sends them, many on one connection; see `loop_connection`."""

import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final, Generic, TypeVar

from pymemcache.client.base import KeepaliveOpts

from cachedeco.backends.exchange import LastAnswer
from cachedeco.backends.loops import Way
from cachedeco.backends.memcached_answers import (
    STORE_EACH,
    STORED_OR_NOT,
    acknowledged,
    checked,
    raise_errors,
    storing,
)
from cachedeco.storage.memcached_replies import Stored, cut_first_hit, parse_values, plain_values
from cachedeco.storage.replies import FEW, Parser
from cachedeco.storage.writers import Acknowledged

T = TypeVar("T")
Values = list[bytes | None]

# What memcached says of a value that it does not take, which it reads to its end. A server may send more than one line
# for another refusal.
_ANSWERED_BY_ONE_LINE: Final = STORED_OR_NOT | {
    b"SERVER_ERROR object too large for cache",
    b"SERVER_ERROR out of memory storing object",
}


class ReadBytes:
    """Read the values that were stored without flags, in the order of the keys."""

    __slots__ = ("_text", "command")

    def __init__(self, text: bytes) -> None:
        """Ask for valid keys, separated by spaces."""
        self.command = b"get %b\r\n" % text
        self._text = text

    def cut(self, data: bytes, at: int) -> tuple[Values, int] | None:
        """See `Exchange`."""
        return cut_first_hit(data, self._text, at)

    def parse(self, data: bytes) -> Parser[tuple[Values, bytes]]:
        """See `Exchange`."""
        names = self._text.split(b" ")
        found, rest = yield from parse_values(names, raise_errors, data)
        return plain_values(found, names), rest


class Lines(Generic[T]):
    """Commands that are answered by a line each."""

    __slots__ = ("_answer_of", "_count", "command")

    def __init__(self, commands: Sequence[bytes], answer_of: Callable[[list[bytes]], T]) -> None:
        """Take whole commands, and what makes the answer of the lines; see `Exchange` for what it raises."""
        self.command = b"".join(commands)
        self._count = len(commands)
        self._answer_of = answer_of

    def cut(self, data: bytes, at: int) -> tuple[T, int] | None:
        """See `Exchange`."""
        lines = []
        for _ in range(self._count):
            end = data.find(b"\r\n", at)
            if end < 0:
                return None
            lines.append(data[at:end])
            at = end + 2
        return self._answer_of(lines), at

    def parse(self, data: bytes) -> Parser[tuple[T, bytes]]:
        """See `Exchange`."""
        while (cut := self.cut(data, 0)) is None:
            data += yield FEW
        answer, end = cut
        return answer, data[end:]


def store_each(command: bytes, items: Iterable[tuple[bytes, Stored, int]]) -> Lines[Acknowledged]:
    """Carry out `set` or `add` for each name, value and expiry; the answer is whether each was stored."""
    return Lines([storing(command, *item) for item in items], _acknowledged)


def _acknowledged(lines: list[bytes]) -> Acknowledged:
    for line in lines:
        raise_errors(line, STORE_EACH)
    results = acknowledged(checked(STORE_EACH, lines))
    if not _ANSWERED_BY_ONE_LINE.issuperset(lines):
        raise LastAnswer(results)
    return results


def delete(name: bytes) -> Lines[bool]:
    """Delete a value; the answer is whether there was one."""
    return Lines([b"delete %b\r\n" % name], partial(_is_first, b"delete", b"DELETED"))


def _is_first(name: bytes, expected: bytes, lines: list[bytes]) -> bool:
    for line in lines:
        raise_errors(line, name)
    return checked(name, lines) == [expected]


def way_to(server: tuple[str, int] | str, options: Mapping[str, Any], idle_seconds: float) -> Way | None:
    """
    Return how an event loop reaches a server; None if an option is of use for blocking sockets only.

    Args:
        server: Host and port, or the path of a Unix socket.

        options: Options of pymemcache's `Client`.

        idle_seconds: Seconds for which an idle connection is used again.
    """
    if "socket_module" in options:
        return None
    tls, keepalive = options.get("tls_context"), options.get("socket_keepalive")
    return Way(
        server,
        (lambda: tls) if tls else None,
        () if keepalive is None else keepalive_options(keepalive),
        (),
        options.get("connect_timeout"),
        options.get("timeout"),
        idle_seconds,
    )


def keepalive_options(keepalive: KeepaliveOpts) -> list[tuple[int, int, int]]:
    """Return the options of a socket, as pymemcache sets them."""
    return [
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, keepalive.idle),
        (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, keepalive.intvl),
        (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, keepalive.cnt),
    ]
