"""
Parse memcached's reply to `get`, in one pass over its bytes.

A value's length is in its header, so a value may contain anything, such as another reply. Nothing is read after the end
of the reply, and bytes that came with it but do not belong to it are an error: the connection can't be used.
"""

import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from socket import socket
from typing import Final, TypeVar

from pymemcache.exceptions import MemcacheUnexpectedCloseError, MemcacheUnknownError

from cachedeco.storage.pipelining import pipeline
from cachedeco.storage.replies import FEW, UNDECODABLE, ReplyParser, more

Stored = tuple[bytes, int]  # a serialized value, and its flags
OrderedValues = list[bytes | None]  # in the order of the keys

# A header stands at the beginning of the reply, or behind the line end of the value before it.
_FIRST_HEADER: Final = re.compile(rb"VALUE ([^ \r]+) (\d+) (\d+)\r\n").match
_NEXT_HEADER: Final = re.compile(rb"\r\nVALUE ([^ \r]+) (\d+) (\d+)\r\n").match
_END: Final = b"END\r\n"
REPLY_END: Final = b"\r\n" + _END  # behind a value
_BEHIND_VALUE: Final = len(REPLY_END)  # what follows a value at least
# The header of a token, and its end, which is another one for other values.
_TOKEN_BYTES: Final = 16
_BEFORE_KEY: Final = b"\r\nVALUE "
_AFTER_KEY: Final = b" 0 %d\r\n" % _TOKEN_BYTES
_BETWEEN_KEYS: Final = _AFTER_KEY + b"\0" + _BEFORE_KEY
_BEFORE_SIZE: Final = -len(b"16\r\n")
_AROUND_TOKEN: Final = (
    len(_BEFORE_KEY + _AFTER_KEY) + _TOKEN_BYTES - 1
)  # and what a token adds to the keys as asked for

# The keys of a few calls: many are cut faster by the parser, which copies none of the keys that are left.
_MOST_TEXT: Final = 4096

T = TypeVar("T")
RaiseErrors = Callable[[bytes, bytes], None]


def read_rest(recv: Callable[[int], bytes], text: bytes, raise_errors: RaiseErrors, data: bytes) -> OrderedValues:
    """
    Read the rest of a reply that `cut_hits()` does not cut; return the values as it does, None for missing ones.

    A value that was stored with flags is `UNDECODABLE`. *text* are the keys of the command, separated by spaces. It
    raises what `parse_values()` raises.
    """
    if len(text) <= _MOST_TEXT and data.endswith(_END) and (misses := _cut_miss(data, text)) is not None:
        return misses
    values, rest = receive(parse_bytes(text, raise_errors, data), recv)
    check_end(rest)
    return values


def read_chunks(sock: socket, chunks: Iterable[Sequence[str]], raise_errors: RaiseErrors) -> OrderedValues:
    """Read chunks of keys, as many in each as one command takes, pipelined; return all values as `read_rest()` does."""
    values: OrderedValues = []
    rest = b""  # of the next answer, what has come with the last one
    commands = (b"get %b\r\n" % " ".join(chunk).encode("ascii") for chunk in chunks)
    for command in pipeline(sock.sendall, lambda: sock, commands):
        text = command[len(b"get ") : -len(b"\r\n")]
        found, rest = receive(parse_bytes(text, raise_errors, rest), sock.recv)
        values += found
    check_end(rest)
    return values


def check_end(rest: bytes) -> None:
    """
    Refuse what came behind a reply, where no command has asked for it.

    Raises:
        MemcacheUnknownError: There is something.
    """
    if rest:
        raise MemcacheUnknownError(rest[:32])


def plain_values(found: Mapping[bytes, Stored | None], names: Sequence[bytes]) -> list[bytes | None]:
    """Return the values that were stored without flags, in order; `UNDECODABLE` for others, None for missing ones."""
    several = [found[name] for name in names]
    return [None if stored is None else UNDECODABLE if stored[1] else stored[0] for stored in several]


def cut_hits(data: bytes, count: int, text: bytes, at: int, end: int) -> OrderedValues | None:
    """
    Return the values in the reply of one or a few hits; None for another reply, or half of one.

    Those are entries, behind them tokens, and nothing is missing. If nothing but tokens is left, the size of the reply
    says where an entry ends, and the lines of all headers are known beforehand. A token that contains a line end moves
    these, and the reply is left to the parser.

    Args:
        data: What was received, of replies to several commands perhaps.

        count: The number of the keys of the command.

        text: The keys, separated by spaces.

        at: Where its reply begins.

        end: Where it ends.
    """
    values: OrderedValues = []
    key, _, left = text.partition(b" ")
    begin = data.find(b"\r\n", at) + 2
    tokens_at = end - _BEHIND_VALUE - 1 - _AROUND_TOKEN * (count - 1)  # before what their keys take
    if data[at:begin] != b"VALUE %b 0 %d\r\n" % (key, tokens_at - len(left) - begin):  # not the only entry
        if len(text) > _MOST_TEXT or not data.startswith(b"VALUE %b " % key, at):  # the second: a miss
            return None
        try:
            while (entry_end := begin + int(data[at:begin].removeprefix(b"VALUE %b 0 " % key))) < tokens_at - len(left):
                values.append(data[begin:entry_end])
                at = entry_end + 2
                key, _, left = left.partition(b" ")
                begin = data.find(b"\r\n", at) + 2
                tokens_at += _AROUND_TOKEN
        except ValueError:  # half of a header, or that of another key
            return None
        if entry_end > tokens_at - len(left):
            return None
    entry_end = tokens_at - len(left)
    lines = data[entry_end:end].split(b"\r\n")
    # Joined by what is in no line: a line more, as an empty one in a token, is never like those expected.
    if b"\r\n".join(lines[1::2]) != b"VALUE %b 0 16\r\nEND" % left.replace(b" ", b" 0 16\r\nVALUE "):
        return None
    lines[0] = data[begin:entry_end]
    values += lines[:-1:2]
    return values


def _cut_miss(data: bytes, text: bytes) -> list[bytes | None] | None:
    """
    Return the values in the reply of a miss; None for another reply.

    That is nothing but tokens, of which some are missing. One that contains a line end leaves lines of another size.
    """
    lines = data.split(b"\r\n")
    tokens = dict(zip(lines[:-2:2], lines[1:-2:2], strict=False))  # by header
    if lines[-2:] != [b"END", b""] or len(lines) != 2 * len(tokens) + 2:
        return None
    if not {*map(len, tokens.values())} <= {_TOKEN_BYTES}:
        return None
    values = [tokens.get(b"VALUE %b 0 16" % name) for name in text.split(b" ")]
    return values if len(tokens) == len(values) - values.count(None) else None


def parse_bytes(text: bytes, raise_errors: RaiseErrors, data: bytes) -> ReplyParser[tuple[OrderedValues, bytes]]:
    """
    Parse a whole reply; return the values that were stored without flags, in order, and the bytes behind the reply.

    The usual replies, in the order of the keys and without flags, are cut key by key, as they come in. What is left of
    any other is parsed by `parse_values()`, which raises the same. *text* are the keys, separated by spaces, and *data*
    is the beginning of the reply.
    """
    values: OrderedValues = []
    # A key contains no null byte. Most values are tokens, so the headers of all keys are made for these.
    headers = (b"%b%b%b" % (_BEFORE_KEY, text.replace(b" ", _BETWEEN_KEYS), _AFTER_KEY)).split(b"\0")
    # As if it stood behind a value: there each header begins with a line end.
    data, at = b"\r\n" + data, 0
    while True:
        at, size = _cut(data, at, headers, values)
        if len(values) == len(headers):
            if data.startswith(REPLY_END, at):
                return values, data[at + len(REPLY_END) :]
            if not REPLY_END.startswith(data[at:]):
                break
        data, at = (yield from more(data[at:], size)), 0
    names = text.split(b" ")
    found, rest = yield from parse_values(names, raise_errors, data[at:].removeprefix(b"\r\n"))
    others = plain_values(found, names)
    return [other if value is None else value for value, other in zip(values, others, strict=True)], rest


def _cut(data: bytes, at: int, headers: Sequence[bytes], values: OrderedValues) -> tuple[int, int]:
    """
    Append the values that a part of a usual reply has, None for missing ones, as far as they are here.

    The part begins with a header, at an offset; *headers* are those of all keys, as they are of tokens.

    Returns:
        Where the last value ends, and how many bytes are needed from there on, at least, to go on.
    """
    find, append = data.find, values.append
    last_token = len(data) - _TOKEN_BYTES
    are_tried = False
    left = iter(headers[len(values) :])
    for header in left:
        begin = at + len(header)
        if data[at:begin] == header:  # quicker than startswith(), and most of the work for many keys
            if begin > last_token:
                break
            if not are_tried:
                are_tried = True
                tokens, end = _cut_tokens(data, at, headers[len(values) :])
                if tokens:
                    values += tokens
                    at = end
                    deque(islice(left, len(tokens) - 1), maxlen=0)
                    continue
            at = begin + _TOKEN_BYTES
        elif data.startswith(header[:_BEFORE_SIZE], at):
            size_at = begin + _BEFORE_SIZE
            end = find(b"\r\n", size_at)
            if end < 0:
                break
            begin = end + 2
            end = begin + int(data[size_at:end])
            if end > len(data):
                return at, end - at + _BEHIND_VALUE
            at = end
        elif _is_beginning(data[at:begin], header):
            break
        else:
            append(None)
            continue
        append(data[begin:at])
    return at, len(data) - at + 1


def _cut_tokens(data: bytes, at: int, headers: Sequence[bytes]) -> tuple[list[bytes], int]:
    """
    Return the tokens that begin at an offset, one for each of the first headers, and where they end; or none.

    In one pass, so that most keys of many calls cost little: cut at the line ends, every other line is a header, unless
    a token contains such an end.
    """
    lines = data[at:].split(b"\r\n")
    count = min((len(lines) - 2) // 2, len(headers))  # the last line has no end yet
    expected = b"".join(headers[:count])
    tokens, size = lines[2 : 2 * count + 1 : 2], _TOKEN_BYTES * count
    if b"\r\n\r\n".join(lines[1 : 2 * count : 2]) != expected[2:-2] or len(b"".join(tokens)) != size:
        return [], at
    return tokens, at + len(expected) + size


def _is_beginning(data: bytes, header: bytes) -> bool:
    """Tell whether this, at the end of what has come in, may become a header, or the end of the reply."""
    return header.startswith(data) or (REPLY_END.startswith(data) and data != REPLY_END)


def parse_values(
    names: Sequence[bytes], raise_errors: RaiseErrors, data: bytes
) -> ReplyParser[tuple[dict[bytes, Stored | None], bytes]]:
    """
    Parse a whole reply; return the values in the order of *names*, None for missing ones, and the bytes behind it.

    *raise_errors* raises the exception for a line that reports an error, and gets the line and the command's name.

    Raises:
        MemcacheUnknownError: This is no reply.

        LookupError: The reply has a value that the command did not name: it is the reply to another command.
    """
    found: dict[bytes, Stored | None] = dict.fromkeys(names)
    at, header_at, end = 0, _FIRST_HEADER, _END
    while True:
        header = header_at(data, at)
        if header is None:
            if data.startswith(end, at):
                return found, data[at + len(end) :]
            line = data[at:].removeprefix(b"\r\n")
            if b"\r\n" in line:
                raise_errors(line.partition(b"\r\n")[0], b"get")
                raise MemcacheUnknownError(line[:32])
            data, at = data[at:] + (yield FEW), 0
            continue
        name, flags, length = header.groups()
        if name not in found:
            raise LookupError
        begin, size = header.end(), int(length)
        at = begin + size
        if at + _BEHIND_VALUE > len(data):
            data, begin, at = (yield from more(data[begin:], size + _BEHIND_VALUE)), 0, size
        found[name] = data[begin:at], int(flags)
        header_at, end = _NEXT_HEADER, REPLY_END


def receive(parser: ReplyParser[T], recv: Callable[[int], bytes]) -> T:
    """
    Give a parser what it needs from a connection.

    Raises:
        MemcacheUnexpectedCloseError: The server closed the connection.
    """
    try:
        most = next(parser)
        while True:
            data = recv(most)
            if not data:
                raise MemcacheUnexpectedCloseError
            most = parser.send(data)
    except StopIteration as end:
        result: T = end.value
        return result
