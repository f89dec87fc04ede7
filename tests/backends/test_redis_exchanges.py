"""What is sent to Redis by event loops, and how its answers are read from bytes that come in any pieces."""

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from redis.exceptions import (
    BusyLoadingError,
    InvalidResponse,
    MasterDownError,
    ReadOnlyError,
    ResponseError,
)

from cachedeco.backends.exchange import Exchange
from cachedeco.backends.redis_exchanges import Command, Commands, ReadEach, ReadPickles
from cachedeco.storage.direct_access import bytes_in_pickle, pickle_bytes
from cachedeco.storage.redis_connections import pack
from tests.support.cases import in_one_test

# By the reply: what it means.
REPLIES: dict[bytes, Any] = {
    b"+OK\r\n": b"OK",
    b":-12\r\n": -12,
    b"$3\r\n\r\nx\r\n": b"\r\nx",
    b"$0\r\n\r\n": b"",
    b"$-1\r\n": None,
    b"*-1\r\n": None,
    b"*0\r\n": [],
    b"*3\r\n$1\r\na\r\n$-1\r\n$0\r\n\r\n": [b"a", None, b""],
    # An entry and tokens of one size, and what looks like it at first.
    b"*4\r\n$3\r\nabc\r\n$4\r\n\r\n$4\r\n$4\r\n\r\n\r\n\r\n$4\r\nabcd\r\n": [b"abc", b"\r\n$4", b"\r\n\r\n", b"abcd"],
    b"*4\r\n$3\r\nabc\r\n$1\r\na\r\n$2\r\nab\r\n$1\r\nc\r\n": [b"abc", b"a", b"ab", b"c"],
    b"*4\r\n$3\r\nabc\r\n$1\r\na\r\n$0\r\n\r\n$2\r\nab\r\n": [b"abc", b"a", b"", b"ab"],
    b"*3\r\n$-1\r\n$12\r\nabcdefghijkl\r\n$12\r\nabcdefghijkl\r\n": [None, b"abcdefghijkl", b"abcdefghijkl"],
    b"*3\r\n$1\r\na\r\n$-1\r\n$-1\r\n": [b"a", None, None],
    b"*2\r\n$1\r\na\r\n:5\r\n": [b"a", 5],
    b"*1\r\n$1\r\na\r\n": [b"a"],
    b"*2\r\n*2\r\n:1\r\n+x\r\n$70000\r\n" + b"y" * 70000 + b"\r\n": [[1, b"x"], b"y" * 70000],
}


def read(exchange: Exchange[Any], *pieces: bytes) -> tuple[Any, bytes]:
    """Return an answer and what is behind it, as a connection reads them."""
    cut = exchange.cut(b"before" + pieces[0], len(b"before"))
    if cut is not None:
        answer, end = cut
        return answer, pieces[0][end - len(b"before") :]
    parser = exchange.parse(pieces[0])
    try:
        next(parser)
        for piece in pieces[1:]:
            parser.send(piece)
    except StopIteration as end_of_reply:
        found: tuple[Any, bytes] = end_of_reply.value
        return found
    raise AssertionError(pieces)


@in_one_test(REPLIES)
def test_reply_is_read_when_cut_anywhere(reply: bytes) -> None:
    """In two pieces, for each place of the first hundred where one can end; what follows is left."""
    for end in range(1, min(len(reply), 100)):
        assert (REPLIES[reply], b"+rest\r\n") == read(Command("X"), reply[:end], reply[end:] + b"+rest\r\n"), end
    assert (REPLIES[reply], b"+rest\r\n") == read(Command("X"), reply + b"+rest\r\n")


_tokens = st.binary(min_size=16, max_size=16).map(pickle_bytes)
_pickles = st.none() | _tokens | st.binary(max_size=300).map(pickle_bytes) | st.binary(max_size=40)


@given(st.lists(_pickles, min_size=1, max_size=6), st.floats(0, 1))
@example([pickle_bytes(b"entry" * 60), *[pickle_bytes(b"\r\n$31\r\n token!!!"[:16])] * 3], 1)
@example([None], 0.5)
@example([b""], 0)
def test_pickles_are_read_as_what_was_pickled(stored: list[bytes | None], part: float) -> None:
    """An entry with tokens behind it, and all else that there may be, when cut anywhere."""
    values = [b"$-1" if each is None else b"$%d\r\n%b" % (len(each), each) for each in stored]
    reply = b"*%d\r\n%b\r\n" % (len(stored), b"\r\n".join(values))
    end = 1 + int(part * (len(reply) - 2))

    whole = read(ReadPickles(["a"] * len(stored)), reply + b"*1")
    pieces = read(ReadPickles(["a"] * len(stored)), reply[:end], reply[end:] + b"*1")

    assert ([*map(bytes_in_pickle, stored)], b"*1") == whole == pieces


@pytest.mark.parametrize("kind", [ReadEach, ReadPickles])
def test_refusal_to_read_is_no_value(kind: type[ReadEach]) -> None:
    """It is an error for the command that is answered."""
    answer, _ = read(kind(["a", "b"]), b"-LOADING the dataset\r\n")

    assert BusyLoadingError is type(answer)


@pytest.mark.parametrize("reply", [b"?\r\n", b"$x\r\n", b"*1\r\n*y\r\n", b"\r\n", b"*1\r\n$z\r\n"])
def test_what_is_no_reply_raises(reply: bytes) -> None:
    """The server, or what is there instead, speaks another protocol."""
    with pytest.raises(InvalidResponse):
        read(Command("X"), reply)


def test_answers_to_several_commands_are_a_list() -> None:
    """Refusals of single ones among them."""
    commands = Commands([pack(("SET", "a", b"1"))] * 3)

    assert ([b"OK"] * 3, b"x") == read(commands, b"+OK\r\n" * 3 + b"x")
    [first, refused, last], rest = read(commands, b"+OK\r\n-OOM no memory\r", b"\n$-1\r\nx")
    assert (b"OK", None, b"x") == (first, last, rest)
    assert isinstance(refused, ResponseError)
    assert "no memory" in str(refused)


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (b"-READONLY a replica\r\n", ReadOnlyError),
        (b"-MASTERDOWN a replica\r\n", MasterDownError),
        (b"-LOADING the dataset\r\n", BusyLoadingError),
    ],
)
def test_refusal_that_tells_of_the_server_is_that_of_all_commands(reply: bytes, error: type[Exception]) -> None:
    """What it says of the others may be old."""
    answer, _ = read(Commands([pack(("SET", "a", b"1"))] * 2), b"+OK\r\n" + reply)

    assert error is type(answer)


def test_commands_are_packed_as_redis_py_packs_them() -> None:
    """Text, numbers and bytes, and keys that are known to be ASCII."""
    assert b"*5\r\n$1\r\nX\r\n$2\r\n\xc3\xa9\r\n$2\r\n12\r\n$3\r\n0.5\r\n$2\r\n\xff\x00\r\n" == pack(
        ["X", "é", 12, 0.5, b"\xff\0"]
    )
    assert pack(["MGET", "a", "bb"]) == ReadEach(["a", "bb"]).command
