"""Parsers of replies that come in pieces: generators, to which the owner of the connection sends what it receives."""

from collections.abc import Generator
from typing import Final, TypeVar

T = TypeVar("T")

#: Yields how many bytes it would like to have at most; is sent some, one at least.
ReplyParser = Generator[int, bytes, T]

# Bytes of one read: a usual reply comes in one; a large value needs no more memory than it has, and a megabyte.
FEW: Final = 2**16
MANY: Final = 2**20
# What is read of a value that can't be decoded: neither an entry nor a token.
UNDECODABLE: Final = b""


def more(data: bytes, size: int) -> ReplyParser[bytes]:
    """Return data with what follows it, *size* bytes at least."""
    pieces, missing = [data], size - len(data)
    while missing > 0:
        pieces.append((yield min(max(missing, FEW), MANY)))
        missing -= len(pieces[-1])
    return b"".join(pieces)
