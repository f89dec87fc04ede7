"""The parser of memcached's replies, on bytes that come in any pieces."""

from collections.abc import Callable
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymemcache.exceptions import (
    MemcacheClientError,
    MemcacheServerError,
    MemcacheUnexpectedCloseError,
    MemcacheUnknownError,
)

from cachedeco.backends.memcached_errors import is_failure
from cachedeco.backends.memcached_exchanges import ReadBytes
from cachedeco.backends.memcached_pool import MemcachedConnection
from cachedeco.storage import memcached_replies
from cachedeco.storage.memcached_replies import Stored, check_end, cut_hits, parse_values, receive
from cachedeco.storage.replies import UNDECODABLE
from tests.support.cases import in_one_test

NAMES = [b"a", b"bb", b"%c", b"d|"]
VALUES = {b"a": b"v" * 684, b"bb": b"t" * 16, b"%c": b"\r\nEND\r\n", b"d|": b""}

Values = dict[bytes, Stored | None]


def raise_errors(line: bytes, name: bytes) -> None:
    """Raise what a connection raises."""
    MemcachedConnection("there:1")._raise_errors(line, name)


def read_values(recv: Callable[[int], bytes], names: list[bytes]) -> Values:
    """Return what is parsed of what is received."""
    found, rest = receive(parse_values(names, raise_errors, b""), recv)
    check_end(rest)
    return found


def reply_of(values: dict[bytes, tuple[bytes, int]]) -> bytes:
    """Return the reply with some values, in their order."""
    parts = [b"VALUE %b %d %d\r\n%b\r\n" % (name, flags, len(data), data) for name, (data, flags) in values.items()]
    return b"".join(parts) + b"END\r\n"


def in_pieces(reply: bytes, *ends: int) -> Callable[[int], bytes]:
    """Return what reads a reply that comes in pieces; after it the connection is closed."""
    bounds = [0, *sorted(ends), len(reply)]
    pieces = [reply[begin:end] for begin, end in pairwise(bounds) if begin < end]
    return lambda _: pieces.pop(0) if pieces else b""


def read_bytes(recv: Callable[[int], bytes], names: list[bytes]) -> list[bytes | None]:
    """Return what a connection reads that has this to receive."""
    connection: Any = MemcachedConnection("there:1")
    connection.sock = SimpleNamespace(sendall=lambda _: None, recv=recv)
    found: list[bytes | None] = connection.read_bytes([name.decode() for name in names])
    return found


def plain_value(stored: tuple[bytes, int] | None) -> bytes | None:
    """Return what is read of a value and its flags where bytes without flags are asked for."""
    if stored is None:
        return None
    return UNDECODABLE if stored[1] else stored[0]


def read_both(reply: bytes, names: list[bytes], *ends: int) -> tuple[Values, list[bytes | None]]:
    """Return what both functions read."""
    values = read_values(in_pieces(reply, *ends), names)
    return values, read_bytes(in_pieces(reply, *ends), names)


@given(
    st.dictionaries(
        st.sampled_from(NAMES), st.tuples(st.binary(max_size=30) | st.just(b"t" * 16), st.sampled_from([0, 0, 4]))
    ),
    st.lists(st.integers(0, 200), max_size=5),
)
def test_reply_is_read_in_any_pieces(values: dict[bytes, tuple[bytes, int]], ends: list[int]) -> None:
    """In any order of values too, as a proxy may send them; flags are kept, or the value is none of ours."""
    found, plain = read_both(reply_of(values), NAMES, *ends)

    assert {name: values.get(name) for name in NAMES} == found
    assert [plain_value(values.get(name)) for name in NAMES] == plain


@given(
    st.lists(st.none() | st.just(16) | st.integers(0, 40), min_size=5, max_size=30),
    st.sets(st.integers(0, 29), max_size=2),
    st.integers(1, 200),
    st.sampled_from([b"t" * 16, b"\r\n" * 8, b"t\r\nVALUE k7 0 16"[:16]]),
)
def test_reply_to_many_keys_is_read_in_pieces_of_any_size(
    sizes: list[int | None], with_flags: set[int], most: int, token: bytes
) -> None:
    """Entries and tokens in any order, missing ones among them, and tokens that contain the end of a line."""
    names = [b"k%d" % number for number in range(len(sizes))]
    held = {
        name: (token if size == 16 else b"x" * size, int(number in with_flags))
        for number, (name, size) in enumerate(zip(names, sizes, strict=True))
        if size is not None
    }
    reply = reply_of(held)

    _, plain = read_both(reply, names, *range(most, len(reply), most))

    assert [plain_value(held.get(name)) for name in names] == plain


def test_reply_to_many_keys_is_cut_as_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """For any pieces: the parser of any reply costs three times as much for each key."""
    names = [b"entry%d" % number for number in range(50)] + [b"token%d" % number for number in range(100)]
    values = [b"e" * 700] * 50 + [b"t" * 16] * 100
    reply = reply_of({name: (data, 0) for name, data in zip(names, values, strict=True)})
    monkeypatch.setattr(memcached_replies, "parse_values", pytest.fail)

    for most in (1000, 4096, 65536):
        plain = read_bytes(in_pieces(reply, *range(most, len(reply), most)), names)
        assert values == plain, most


def test_reply_is_read_when_cut_anywhere() -> None:
    """In two pieces, for each place where one can end."""
    reply = reply_of({name: (data, 0) for name, data in VALUES.items()})
    expected = list(VALUES.values())

    for end in range(len(reply)):
        found, plain = read_both(reply, NAMES, end)
        assert (expected, expected) == (plain, [stored and stored[0] for stored in found.values()]), end


@given(
    st.lists(st.binary(min_size=16, max_size=16), min_size=1, max_size=4),
    st.tuples(st.binary(max_size=40), st.binary(max_size=30)),
    st.none() | st.integers(0, 3),
    st.lists(st.integers(0, 400), max_size=3),
    st.sampled_from([b"", b"%"]),
    st.integers(1, 3),
)
def test_reply_of_hits_is_read_as_any_other(  # noqa: PLR0913, PLR0917 -- what hypothesis varies
    stamp: list[bytes], around: tuple[bytes, bytes], other: int | None, ends: list[int], quoted: bytes, several: int
) -> None:
    """An entry names its tokens before its key: those that lie there now are read, the same or others, or none."""
    names = [b"%%c%d" % number for number in range(several)]
    entries = [around[0] + b"".join(stamp) + name + around[1] * number for number, name in enumerate(names)]
    names += [b"t%b%d" % (quoted, number) for number in range(len(stamp))]
    now: list[bytes | None] = [*entries, *stamp]
    if other is not None:
        now[-1 - other % len(stamp)] = b"o" * 16 if other % 2 else None
    held = {name: (data, 0) for name, data in zip(names, now, strict=True) if data is not None}

    found, plain = read_both(reply_of(held), names, *ends)

    assert now == plain == [stored and stored[0] for stored in found.values()]
    reply = reply_of(held)
    # Between others, as on an event loop.
    at = len(b"before")
    first = cut_hits(b"before" + reply + reply, len(names), b" ".join(names), at, at + len(reply))
    assert first in (None, now)


@given(st.lists(st.none() | st.binary(min_size=16, max_size=16) | st.binary(max_size=40), min_size=1, max_size=5))
def test_reply_of_a_miss_is_read_as_any_other(held: list[bytes | None]) -> None:
    """Tokens, and what is none, of which some are missing."""
    names = [b"k%d" % number for number in range(len(held))]

    _, plain = read_both(
        reply_of({name: (data, 0) for name, data in zip(names, held, strict=True) if data is not None}), names
    )

    assert held == plain


@pytest.mark.parametrize("held", [{}, {"t0": b"s" * 16}, {"t0": b"\n" * 16, "t1": b"\r" * 16}])
def test_reply_of_a_miss_is_cut_at_once(held: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """The parser of any reply costs several times as much."""
    monkeypatch.setattr(memcached_replies, "parse_bytes", pytest.fail)
    names = ["e", "t0", "t1"]
    reply = reply_of({name.encode(): (token, 0) for name, token in held.items()})

    values = read_bytes(in_pieces(reply), [name.encode() for name in names])

    assert [held.get(name) for name in names] == values


@pytest.mark.parametrize(
    "token", [b"1234\r\n\r\n34567890", b"\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n", b"12345678901234\r\n"], ids=repr
)
@pytest.mark.parametrize("place", [1, 2])
def test_line_ends_in_a_token_are_no_more_tokens(token: bytes, place: int) -> None:
    """Two of them, one behind the other, leave the headers around it as they are."""
    values = [b"entry", b"0123456789abcdef", b"0123456789abcdef"]
    values[place] = token
    names = [b"a", b"b", b"c"]
    reply = reply_of({name: (value, 0) for name, value in zip(names, values, strict=True)})

    assert values == read_bytes(in_pieces(reply), names)


@pytest.mark.parametrize("several", [1, 3])
def test_reply_of_hits_is_cut_out_of_many(several: int) -> None:
    """Also where an entry looks as if the reply ended in it; half of one is left to the parser."""
    names, stamp = [*[b"e%d" % number for number in range(several)], b"t0", b"t1"], [b"s" * 16, b"t" * 16]
    entries = [b"".join(stamp) + b"e", b"\r\nEND\r\n" + b"".join(stamp) + b"e"]
    found = [[*[entry] * several, *stamp] for entry in entries]
    replies = [reply_of({name: (data, 0) for name, data in zip(names, values, strict=True)}) for values in found]
    before, text = len(replies[0]), b" ".join(names)

    cut = [
        cut_hits(replies[0] + reply + replies[0], len(names), text, before, before + len(reply)) for reply in replies
    ]

    assert found == cut
    assert {None} == {cut_hits(replies[1][:end], len(names), text, 0, end) for end in range(len(replies[1]))}


def test_reply_that_seems_to_end_in_a_value_is_parsed_on_an_event_loop() -> None:
    """There the end of a reply is looked for, as others come behind it."""
    names, token = ["e", "t0"], b"t" * 16
    exchange = ReadBytes(names)
    plain, odd = [[entry, token] for entry in (b"entry", b"an \r\nEND\r\n in it")]
    first, second = [
        reply_of({name.encode(): (data, 0) for name, data in zip(names, values, strict=True)})
        for values in (plain, odd)
    ]

    assert (plain, len(first)) == exchange.cut(first + second, 0)
    assert exchange.cut(first + second, len(first)) is None
    with pytest.raises(StopIteration) as read:
        next(exchange.parse(second + first))
    assert (odd, first) == read.value.value


def test_half_of_a_size_is_no_size() -> None:
    """Where a piece ends inside a size, the digits that are here could point into the reply before it."""
    before = reply_of({b"e": (b"x" * 100, 0), b"t0": (b"s" * 16, 0), b"t1": (b"t" * 16, 0)})
    last = len(b"VALUE e 0 100\r\n") + 100 - 1

    data = before + b"VALUE e 0 %d3" % last
    cut = cut_hits(data, 3, b"e t0 t1", len(before), len(data))

    assert cut is None


def test_large_value_is_read_no_further_than_it_goes() -> None:
    """Each read asks for what is missing, or a piece of usual size; and never for more than a megabyte."""
    data = b"x" * 3_000_000
    reply = reply_of({b"a": (data, 0)})
    asked = []
    at = 0

    def recv(most: int) -> bytes:
        nonlocal at
        asked.append(most)
        at += most
        return reply[at - most : at]

    assert [data] == read_bytes(recv, [b"a"])
    assert [65536, 2**20, 2**20, len(reply) - 65536 - 2 * 2**20] == asked


@in_one_test(
    [
        (b"ERROR\r\n", MemcacheClientError),
        (b"ERROR Too many open connections\r\n", MemcacheUnexpectedCloseError),
        (b"CLIENT_ERROR bad\r\n", MemcacheClientError),
        (b"SERVER_ERROR out of memory\r\n", MemcacheServerError),
        (b"VALUE a 0 1\r\nx\r\nSERVER_ERROR out of memory\r\n", MemcacheServerError),
        (b"STORED\r\n", MemcacheUnknownError),
        (b"END\r\nEND\r\n", MemcacheUnknownError),
        (b"VALUE a 0 1\r\nx\r\nEND\r\nVALUE", MemcacheUnknownError),
        (b"VALUE a 0 1\r\nxyzEND\r\n", MemcacheUnknownError),
        (b"VALUE a 0 1\r\nx\r\nVALUE z 0 1\r\nx\r\nEND\r\n", LookupError),
        (b"", MemcacheUnexpectedCloseError),
        (b"VALUE a 0 10\r\nx", MemcacheUnexpectedCloseError),
        (b"VALUE a 0 1\r\nx\r\nEN", MemcacheUnexpectedCloseError),
    ]
)
def test_what_is_no_reply_raises(reply: bytes, error: type[Exception]) -> None:
    """An error of the server, another command's reply, bytes behind the end, or a connection that is closed."""
    with pytest.raises(error):
        read_values(in_pieces(reply), [b"a"])
    with pytest.raises(error):
        read_bytes(in_pieces(reply), [b"a"])


@pytest.mark.parametrize("reply", [b"VALUE a 0 1 99\r\nx\r\nEND\r\n", b"VALUE a 0 x\r\nx\r\nEND\r\n"])
def test_header_of_another_form_is_a_failure(reply: bytes) -> None:
    """Of the server, so that the connection is closed."""
    with pytest.raises(MemcacheUnknownError) as values:
        read_values(in_pieces(reply), [b"a"])
    with pytest.raises((ValueError, MemcacheUnknownError)) as plain:
        read_bytes(in_pieces(reply), [b"a"])

    assert is_failure(values.value, writes=False)
    assert is_failure(plain.value, writes=False)
