"""What our backends ask of a socket, beside sending and receiving."""

import os
import select
import struct
from collections.abc import Callable
from socket import SO_LINGER, SOL_SOCKET, socket
from typing import Final

# C's `struct linger`, for SO_LINGER: on close, wait 0 seconds for unsent bytes, and discard them.
CLOSE_AT_ONCE: Final = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)


def send_nothing_after_close(sock: socket) -> None:
    """
    Discard unsent bytes when the socket is closed.

    Otherwise the kernel would go on sending them for minutes: a write that has failed would arrive when the network
    works again, and overwrite a later one.
    """
    sock.setsockopt(SOL_SOCKET, SO_LINGER, CLOSE_AT_ONCE)


def unread_in(sock: socket) -> Callable[[], bool]:
    """
    Return what tells whether an idle connection has bytes to read, or was closed by the server.

    A restarted server has closed its connections by now, so no command has to be sent, perhaps twice, to find out. The
    rest of an old answer is detected as well.
    """
    if not hasattr(select, "poll"):  # on Windows
        return lambda: bool(select.select([sock], [], [], 0)[0])
    poll = select.poll()  # once for a connection: to register costs more than to ask
    poll.register(sock, select.POLLIN)
    return lambda: bool(poll.poll(0))
