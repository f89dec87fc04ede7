"""Commands to memcached as an event loop sends them, many on one connection; see `loop_connection`."""

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from cachedeco.backends.loop_connection import LoopConnection
from cachedeco.backends.loops import Way
from cachedeco.storage.memcached_replies import Parser, RaiseErrors, cut_first_hit, parse_values, plain_values

Values = list[bytes | None]


class ReadBytes:
    """Read the values that were stored without flags, in the order of the keys."""

    __slots__ = ("_raise_errors", "_text", "command")

    def __init__(self, text: bytes, raise_errors: RaiseErrors) -> None:
        """Ask for valid keys, separated by spaces."""
        self.command = b"get %b\r\n" % text
        self._text = text
        self._raise_errors = raise_errors

    def cut(self, data: bytes, at: int) -> tuple[Values, int] | None:
        """See `Exchange`."""
        return cut_first_hit(data, self._text, at)

    def parse(self, data: bytes) -> Parser[tuple[Values, bytes]]:
        """See `Exchange`."""
        names = self._text.split(b" ")
        found, rest = yield from parse_values(names, self._raise_errors, data)
        return plain_values(found, names), rest


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
    return Way(
        partial(_open, server, options.get("tls_context")),
        None,
        options.get("connect_timeout"),
        options.get("timeout"),
        idle_seconds,
    )


async def _open(server: tuple[str, int] | str, tls: Any, make: Callable[[], LoopConnection]) -> None:
    loop = asyncio.get_running_loop()
    if isinstance(server, str):
        await loop.create_unix_connection(make, server)
    else:
        host, port = server
        await loop.create_connection(make, host, port, ssl=tls or None)
