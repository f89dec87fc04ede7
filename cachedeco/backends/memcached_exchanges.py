"""Commands to memcached as an event loop sends them, many on one connection; see `loop_connection`."""

import socket
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, Generic, TypeVar

from pymemcache.client.base import KeepaliveOpts
from pymemcache.exceptions import MemcacheError, MemcacheIllegalInputError, MemcacheServerError

from cachedeco.backends.exchange import LastAnswer
from cachedeco.backends.loops import Endpoint
from cachedeco.backends.memcached_answers import (
    STORE_EACH,
    STORED_OR_NOT,
    check_lines,
    raise_errors,
)
from cachedeco.storage.memcached_replies import REPLY_END, OrderedValues, Stored, cut_hits, parse_bytes, parse_values
from cachedeco.storage.replies import FEW, ReplyParser
from cachedeco.storage.writers import Acknowledged

T = TypeVar("T")

# What memcached says of a command that it has read to its end. Other refusals may have more than one line.
_ONE_LINE: Final = (
    b"SERVER_ERROR object too large for cache",
    b"SERVER_ERROR out of memory storing object",
    b"CLIENT_ERROR cannot increment or decrement non-numeric value",
    b"CLIENT_ERROR invalid numeric delta argument",
)


class ReadBytes:
    """Read the values that were stored without flags, in the order of the keys."""

    __slots__ = ("_count", "_text", "command")

    def __init__(self, keys: Sequence[str]) -> None:
        """Ask for valid keys."""
        self._count = len(keys)
        self._text = text = " ".join(keys).encode("ascii")
        self.command = b"get %b\r\n" % text

    def cut(self, data: bytes, at: int) -> tuple[OrderedValues, int] | None:
        """See `Exchange`."""
        end = data.find(REPLY_END, at) + len(REPLY_END)  # or, rarely, something in a value, and then this finds none
        hits = cut_hits(data, self._count, self._text, at, end)
        return None if hits is None else (hits, end)

    def parse(self, data: bytes) -> ReplyParser[tuple[OrderedValues, bytes]]:
        """See `Exchange`."""
        return parse_bytes(self._text, raise_errors, data)


class ReadStored:
    """Read values as they are stored; the answer has those that are there, by key."""

    __slots__ = ("_keys_by_name", "command")

    def __init__(self, keys_by_name: Mapping[bytes, str]) -> None:
        """Ask for keys, by what they are called when sent."""
        self.command = b"get %b\r\n" % b" ".join(keys_by_name)
        self._keys_by_name = keys_by_name

    def cut(self, _data: bytes, _at: int) -> None:
        """See `Exchange`."""
        return

    def parse(self, data: bytes) -> ReplyParser[tuple[dict[str, Stored], bytes]]:
        """See `Exchange`."""
        keys = self._keys_by_name
        found, rest = yield from parse_values([*keys], raise_errors, data)
        return {keys[name]: stored for name, stored in found.items() if stored is not None}, rest


class Lines(Generic[T]):
    """Commands that are answered by a line each."""

    __slots__ = ("_answer_of", "_count", "_name", "command")

    def __init__(self, name: bytes, commands: Sequence[bytes], answer_of: Callable[[list[bytes]], T]) -> None:
        """Take whole commands of a name, and what makes the answer of the lines; see `Exchange` for what it raises."""
        self.command = b"".join(commands)
        self._name = name
        self._count = len(commands)
        self._answer_of = answer_of

    def cut(self, data: bytes, at: int) -> tuple[T, int] | None:
        """See `Exchange`."""
        *lines, rest = data[at:].split(b"\r\n", self._count)
        if len(lines) < self._count:
            check_lines(self._name, lines)  # behind an error no other line may come
            return None
        return self._answer_of(lines), len(data) - len(rest)

    def parse(self, data: bytes) -> ReplyParser[tuple[T, bytes]]:
        """See `Exchange`."""
        while (cut := self.cut(data, 0)) is None:
            data += yield FEW
        answer, end = cut
        return answer, data[end:]


def store_each(commands: Sequence[bytes]) -> Lines[Acknowledged]:
    """Carry out `set` or `add` for each item; the answer is whether each was stored."""
    return Lines(STORE_EACH, commands, _acknowledged)


def store(name: bytes, command: bytes) -> Lines[bool]:
    """Carry out `set` or `add`; the answer is whether the value was stored."""
    return _one(name, command, b"STORED".__eq__)


def delete(name: bytes) -> Lines[bool]:
    """Delete a value; the answer is whether there was one."""
    return _one(b"delete", b"delete %b\r\n" % name, b"DELETED".__eq__)


def delete_many(names: Sequence[bytes]) -> Lines[list[bytes]]:
    """Delete some values."""
    return Lines(b"delete", [b"delete %b\r\n" % name for name in names], partial(check_lines, b"delete"))


def touch(name: bytes, expire: int) -> Lines[bool]:
    """Give a value a new expiry; the answer is whether there is one."""
    return _one(b"touch", b"touch %b %d\r\n" % (name, expire), b"TOUCHED".__eq__)


def count(command: bytes, name: bytes, delta: int) -> Lines[int | None]:
    """
    Carry out `incr` or `decr`; the answer is the new number, None if there is none.

    Raises:
        MemcacheIllegalInputError: *delta* is no integer.
    """
    if not isinstance(delta, int):  # as in sync code: a format would cut off a fraction
        msg = f"memcached counts by integers, not by {delta!r:.80}."
        raise MemcacheIllegalInputError(msg)
    sent = b"%b %b %d\r\n" % (command, name, delta)
    return _one(command, sent, lambda line: None if line == b"NOT_FOUND" else int(line))


def flush_all() -> Lines[bool]:
    """Empty a server."""
    return _one(b"flush_all", b"flush_all\r\n", b"OK".__eq__)


def _one(name: bytes, command: bytes, convert: Callable[[bytes], T]) -> Lines[T]:
    def answer_of(lines: list[bytes]) -> Any:
        try:
            return convert(check_lines(name, lines)[0])
        except MemcacheError as error:
            if lines[0].startswith(_ONE_LINE):
                return error
            raise

    return Lines(name, [command], answer_of)


def _acknowledged(lines: list[bytes]) -> Acknowledged:
    results = Acknowledged([line == b"STORED" for line in lines])
    if STORED_OR_NOT.issuperset(lines):  # nearly always
        return results
    refusals = [line for line in check_lines(STORE_EACH, lines) if line not in STORED_OR_NOT]
    results.error = MemcacheServerError(refusals[-1].decode(errors="replace"))
    if not all(line.startswith(_ONE_LINE) for line in refusals):
        raise LastAnswer(results)
    return results


def endpoint_of(server: tuple[str, int] | str, options: Mapping[str, Any], idle_seconds: float) -> Endpoint | None:
    """Return how an event loop reaches a server; None if an option is of use for blocking sockets only."""
    if "socket_module" in options:
        return None
    tls, keepalive = options.get("tls_context"), options.get("socket_keepalive")
    return Endpoint(
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
