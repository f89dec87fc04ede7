"""What a write to memcached looks like, and what the lines mean that answer it."""

from collections.abc import Mapping
from typing import Final

from pymemcache.client.base import Client
from pymemcache.exceptions import MemcacheUnexpectedCloseError, MemcacheUnknownError

from cachedeco.backends.memcached_errors import UnauthenticatedError

STORE_EACH: Final = b"store_each"
# memcached's answer to one connection too many, which it closes then.
_FULL: Final = b"ERROR Too many open connections"
# In memcached's answers to each command of a client that has not logged in, where it was started with -Y.
_LOGIN: Final = b"authenticat"
# Possible answers to a command; pymemcache would take any other line for a negative answer.
_ANSWERS: Final[Mapping[bytes, tuple[bytes, ...]]] = {
    b"delete": (b"DELETED", b"NOT_FOUND"),
    b"touch": (b"TOUCHED", b"NOT_FOUND"),
    b"flush_all": (b"OK",),
    b"set": (b"STORED", b"NOT_STORED"),
    b"add": (b"STORED", b"NOT_STORED"),
    STORE_EACH: (b"STORED", b"NOT_STORED", b"SERVER_ERROR", b"CLIENT_ERROR"),
}
#: A command that stores a value: its name, the key, flags, expiry, the number of bytes, and these.
STORING: Final = b"%b %b %d %d %d\r\n%b\r\n"
STORED_OR_NOT: Final = frozenset({b"STORED", b"NOT_STORED"})
_CLIENT: Final = Client("")  # which is never connected


#: A value to store: its key, and the command that stores it.
KeyedCommand = tuple[str, bytes]


def raise_errors(line: bytes, name: bytes) -> None:
    """Raise the exception for a line that reports an error, in answer to a command of a name."""
    if line.startswith(_FULL):  # pymemcache would report an unknown command
        raise MemcacheUnexpectedCloseError(_FULL.decode())
    if line.startswith(b"CLIENT_ERROR") and _LOGIN in line:
        raise UnauthenticatedError(line.decode())
    if name != STORE_EACH:
        _CLIENT._raise_errors(line, name)  # noqa: SLF001 -- it knows all errors


def check_lines(name: bytes, lines: list[bytes]) -> list[bytes]:
    """
    Return the lines that answer commands of a name.

    Raises:
        MemcacheUnknownError: One is no answer to it.
        MemcacheError: One reports another error.
    """
    for line in lines:
        raise_errors(line, name)
        if not line.startswith(_ANSWERS.get(name, line)):
            raise MemcacheUnknownError(line[:32])
    return lines
