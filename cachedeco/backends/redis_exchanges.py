"""Commands to Redis: as redis-py sends them, and as an event loop does, many on one connection, by RESP2."""

import socket
import struct
from collections.abc import Mapping, Sequence
from ssl import SSLContext
from typing import Any, Final

import redis
from redis.connection import DefaultParser, parse_url
from redis.exceptions import InvalidResponse

from cachedeco.backends.loops import Endpoint
from cachedeco.backends.redis_errors import is_failure
from cachedeco.backends.redis_options import OF_DJANGO, WITHOUT_EFFECT
from cachedeco.storage.direct_access import TOKEN_PICKLE_BYTES, bytes_in_pickle, bytes_in_pickles, pickled_tokens
from cachedeco.storage.readers import packed_mget
from cachedeco.storage.redis_connections import Part, answer_of, answers_to, pack, values_in
from cachedeco.storage.replies import FEW, ReplyParser, more

_OK: Final = b"+OK\r\n"
_ARRAY, _BULK = b"*$"
HELLO: Final = 3  # the protocol whose connections begin with that command
_BEFORE_PICKLE: Final = b"\r\n$%d\r\n" % TOKEN_PICKLE_BYTES  # of a token, behind another value
_WITH_NUMBERS: Final = frozenset({b"*", b"$", b":"})
# Where a parser is: in what has been received, and at which byte.
At = tuple[bytes, int]

# Options of redis-py that are kept here, or are of no meaning: others make connections that only redis-py knows.
_KNOWN: Final = frozenset(
    {
        *OF_DJANGO,
        *WITHOUT_EFFECT,
        *("host", "port", "path", "db", "username", "password", "client_name", "protocol", "health_check_interval"),
        *("socket_timeout", "socket_connect_timeout", "socket_keepalive", "socket_keepalive_options"),
        *("socket_read_size", "lib_name", "lib_version", "driver_info"),
    }
)
_KNOWN_OF_TLS: Final = frozenset(
    f"ssl_{name}"
    for name in (
        *("keyfile", "certfile", "cert_reqs", "include_verify_flags", "exclude_verify_flags", "ca_certs", "ca_data"),
        *("ca_path", "check_hostname", "min_version", "ciphers", "password"),
    )
)


class Commands:
    """Send some commands; the answer is a list of theirs, text as bytes, and refusals as errors."""

    __slots__ = ("_commands", "_packed")

    def __init__(self, commands: Sequence[Sequence[Part]], packed: bytes = b"") -> None:
        """Take the parts of each, or as many commands that are packed already."""
        self._commands = commands
        self._packed = packed

    @property
    def command(self) -> bytes:
        """The bytes that an event loop sends."""
        self._packed = self._packed or b"".join(map(pack, self._commands))
        return self._packed

    def over(self, connection: Any) -> Any:
        """Do so on a connection of redis-py, for sync code."""
        return answers_to(connection.pack_commands(self._commands), len(self._commands), connection)

    def cut(self, data: bytes, at: int) -> tuple[Any, int] | None:
        """See `Exchange`."""
        count = len(self._commands)
        end = at + len(_OK) * count
        return ([b"OK"] * count, end) if data[at:end] == _OK * count else None

    def parse(self, data: bytes) -> ReplyParser[tuple[Any, bytes]]:
        """See `Exchange`."""
        answers = []
        at = 0
        for _ in self._commands:
            answer, (data, at) = yield from parse_reply((data, at))
            answers.append(answer)
        # An error that tells of the server, rather than of a command, is the answer to all: see `answer_of()`.
        return next((answer for answer in answers if is_failure(answer, writes=True)), answers), data[at:]


class Command(Commands):
    """Send one command; the answer is its own, a refusal as an error."""

    __slots__ = ()

    def __init__(self, *parts: Part) -> None:
        """Take its parts."""
        super().__init__([parts])

    def over(self, connection: Any) -> Any:
        """See `Commands`."""
        connection.send_command(*self._commands[0])
        return answer_of(connection)

    def cut(self, data: bytes, at: int) -> tuple[Any, int] | None:
        """See `Exchange`."""
        return _cut_bulks(data, at)

    def parse(self, data: bytes) -> ReplyParser[tuple[Any, bytes]]:
        """See `Exchange`."""
        answer, (data, at) = yield from parse_reply((data, 0))
        return answer, data[at:]


class ReadMany(Command):
    """MGET; its answer has a value for each key."""

    __slots__ = ("_count",)

    def __init__(self, keys: Sequence[str]) -> None:
        """Take the keys."""
        super().__init__("MGET", *keys)
        self._count = len(keys)

    def over(self, connection: Any) -> Any:
        """See `Commands`."""
        return values_in(super().over(connection), self._count)

    def cut(self, data: bytes, at: int) -> tuple[Any, int] | None:
        """See `Exchange`."""
        found = super().cut(data, at)
        return found if found is None or len(found[0]) == self._count else None

    def parse(self, data: bytes) -> ReplyParser[tuple[Any, bytes]]:
        """See `Exchange`."""
        answer, rest = yield from super().parse(data)
        return values_in(answer, self._count), rest


class ReadEach(ReadMany):
    """MGET of valid keys, for event loops."""

    __slots__ = ()

    def __init__(self, keys: Sequence[str]) -> None:
        """Pack it."""
        self._packed = packed_mget(keys)
        self._count = len(keys)


class ReadPickles(ReadEach):
    """MGET of valid keys; the answer is the bytes that were pickled, as of `bytes_in_pickles()`."""

    __slots__ = ()

    def cut(self, data: bytes, at: int) -> tuple[Any, int] | None:
        """See `Exchange`: the reply of a hit, which is an entry and then tokens, is cut in one pass."""
        tokens, heads = pickled_tokens(self._count - 1, _BEFORE_PICKLE)
        start = b"*%d\r\n$" % self._count
        size_at = at + len(start)
        begin = data.find(b"\r\n", size_at) + 2
        try:
            end = begin + int(data[size_at : begin - 2])
            parts = tokens.unpack_from(data, end)
        except (ValueError, struct.error):  # another reply, or half of one
            return self._cut_others(data, at)
        behind = end + tokens.size + 2
        if data[at:size_at] == start and size_at < begin <= end and parts[::2] == heads and behind <= len(data):
            return [bytes_in_pickle(data[begin:end]), *parts[1::2]], behind
        return self._cut_others(data, at)

    def parse(self, data: bytes) -> ReplyParser[tuple[Any, bytes]]:
        """See `Exchange`."""
        answer, rest = yield from super().parse(data)
        return bytes_in_pickles(answer) if isinstance(answer, list) else answer, rest

    def _cut_others(self, data: bytes, at: int) -> tuple[Any, int] | None:
        found = super().cut(data, at)
        return found and (bytes_in_pickles(found[0]), found[1])


def _cut_bulks(data: bytes, at: int) -> tuple[list[bytes | None], int] | None:
    """Return the strings in an array, which is here as a whole, and where it ends; None for anything else."""
    find, values = data.find, list[bytes | None]()
    end = find(b"\r\n", at)
    if end < 0 or data[at] != _ARRAY:
        return None
    try:
        count = int(data[at + 1 : end])
        for _ in range(count):
            at = end + 2
            end = find(b"\r\n", at)
            if end < 0 or data[at] != _BULK:
                return None
            size = int(data[at + 1 : end])
            if size < 0:
                values.append(None)
            else:
                begin = end + 2
                end = begin + size
                values.append(data[begin:end])
    except ValueError:
        return None
    end += 2
    return (values, end) if end <= len(data) and count >= 0 else None


def parse_reply(position: At) -> ReplyParser[tuple[Any, At]]:
    """
    Parse one reply of RESP2; return it, a refusal as an error, and where it ends.

    Raises:
        InvalidResponse: This is none.
    """
    data, at = position
    while (end := data.find(b"\r\n", at)) < 0:
        data, at = data[at:] + (yield FEW), 0
    kind, answer, at = data[at], _answer_in(data[at:end]), end + 2
    if kind == _BULK:
        size, answer = answer, None
        if size >= 0:
            end = at + size
            if end + 2 > len(data):
                data, at, end = (yield from more(data[at:], size + 2)), 0, size
            answer, at = data[at:end], end + 2
    elif kind == _ARRAY:
        items = []
        for _ in range(answer):
            item, (data, at) = yield from parse_reply((data, at))
            items.append(item)
        answer = None if answer < 0 else items
    return answer, (data, at)


def _answer_in(line: bytes) -> Any:
    """Return what a line says: text, a number or length, or an error."""
    kind, text = line[:1], line[1:]
    if kind == b"+":
        return text
    if kind == b"-":
        return DefaultParser.parse_error(text.decode(errors="replace"))  # type: ignore[no-untyped-call] # redis-py's
    if kind not in _WITH_NUMBERS or not text.removeprefix(b"-").isdigit():
        raise InvalidResponse
    return int(text)


def endpoint_of(location: str, pool: Any, arguments: Mapping[str, Any], idle_seconds: float) -> Endpoint | None:
    """
    Return how an event loop reaches a server; None if the options ask for what only redis-py's connections do.

    *arguments* are the options of redis-py beside those in the URL, whose pool this is.
    """
    kind = pool.connection_class
    known = _KNOWN | _KNOWN_OF_TLS if kind is redis.SSLConnection else _KNOWN
    given = {*parse_url(location), *arguments} - {"connection_class"}  # type: ignore[no-untyped-call] # redis-py's
    kinds = (redis.Connection, redis.UnixDomainSocketConnection, redis.SSLConnection)
    if kind not in kinds or not known.issuperset(given):
        return None
    options = pool.connection_kwargs
    is_unix = kind is redis.UnixDomainSocketConnection
    return Endpoint(
        options["path"] if is_unix else (options.get("host", "localhost"), int(options.get("port", 6379))),
        (lambda: _tls_context(options)) if kind is redis.SSLConnection else None,
        [] if is_unix else _socket_options(options),
        _greetings(kind, options),
        options.get("socket_connect_timeout"),
        options.get("socket_timeout"),
        idle_seconds,
    )


def _greetings(kind: type[Any], options: Mapping[str, Any]) -> list[Command]:
    greetings = []
    username, password = options.get("username"), options.get("password")
    if not username and password and kind(**options).protocol == HELLO:
        # As redis-py says it in a HELLO: a server without a password takes any for this user, and refuses one for none.
        username = "default"
    if username or password:
        greetings.append(Command("AUTH", *([username] if username else []), password or ""))
    if options.get("client_name"):
        greetings.append(Command("CLIENT", "SETNAME", options["client_name"]))
    if options.get("db"):
        greetings.append(Command("SELECT", options["db"]))
    return greetings


def _socket_options(options: Mapping[str, Any]) -> list[tuple[int, int, int]]:
    if not options.get("socket_keepalive"):
        return []
    given = options.get("socket_keepalive_options") or {}
    return [
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        *((socket.IPPROTO_TCP, name, value) for name, value in given.items()),
    ]


def _tls_context(options: Mapping[str, Any]) -> SSLContext:
    from redis.asyncio import SSLConnection  # takes a while, and knows what the options mean

    given = {name: value for name, value in options.items() if name in _KNOWN_OF_TLS}
    context: SSLContext = SSLConnection(**given).ssl_context.get()
    return context
