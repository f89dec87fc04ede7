"""
Servers that hang: a client of this process waits for one of them only briefly, for any timeout.

So tests give their clients a timeout that no busy machine exceeds, and a test of a server that hangs still takes a
moment. How the wait ends is real, since the kernel or the event loop ends it. A client without a timeout waits for
ever, as it would elsewhere.
"""

import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from socket import SO_RCVTIMEO, SOL_SOCKET, socket
from typing import Any, Final

# Seconds. Nothing is missed in them: a server that hangs sends nothing.
BRIEFLY: Final = 0.05
_INTERVAL: Final = struct.pack("ll", 0, round(BRIEFLY * 1_000_000))
_FOR_EVER: Final = struct.pack("ll", 0, 0)

_ports: set[int] = set()
_replaced: list[tuple[type, str, Any, Any]] = []


def begin(port: int) -> None:
    """Let no client wait long for the server on a port."""
    if not _ports:
        for name in ("recv", "recv_into"):
            _replace(socket, name, _read_briefly)
        loops = sys.modules.get("cachedeco.backends.loop_connection")  # without an import: tests run without backends
        if loops is not None:
            _replace(loops.LoopConnection, "_send", _send_briefly)
    _ports.add(port)


def end(port: int) -> None:
    """Let clients wait for it as long as their timeouts say; do nothing if it does not hang."""
    _ports.discard(port)
    while _replaced and not _ports:
        owner, name, original, replacement = _replaced.pop()
        # A fixture that began before has put back what was there before it.
        if getattr(owner, name) is replacement:
            setattr(owner, name, original)


def _replace(owner: type, name: str, make: Callable[[Any], Any]) -> None:
    original = getattr(owner, name)
    replacement = make(original)
    _replaced.append((owner, name, original, replacement))
    setattr(owner, name, replacement)


def _hangs(sock: Any) -> bool:
    """Tell whether the other end of a socket hangs."""
    with suppress(OSError):
        address = sock.getpeername()
        return isinstance(address, tuple) and address[1] in _ports
    return False


def _read_briefly(read: Callable[..., Any]) -> Callable[..., Any]:
    def wrapper(sock: socket, *arguments: Any) -> Any:
        if not _hangs(sock):
            return read(sock, *arguments)
        seconds, interval = sock.gettimeout(), sock.getsockopt(SOL_SOCKET, SO_RCVTIMEO, len(_INTERVAL))
        if seconds:
            sock.settimeout(BRIEFLY)
        elif seconds is None and interval != _FOR_EVER:
            sock.setsockopt(SOL_SOCKET, SO_RCVTIMEO, _INTERVAL)
        try:
            return read(sock, *arguments)
        finally:
            with suppress(OSError):  # closed meanwhile
                sock.setsockopt(SOL_SOCKET, SO_RCVTIMEO, interval)
                sock.settimeout(seconds)

    return wrapper


def _send_briefly(send: Callable[..., None]) -> Callable[..., None]:
    def wrapper(connection: Any, waiting: Any) -> None:
        if connection._timeout is not None and _hangs(connection._socket):
            connection._timeout = BRIEFLY
            if connection._watchdog is not None:
                connection._watchdog.cancel()
            connection._watch(BRIEFLY)
        send(connection, waiting)

    return wrapper
