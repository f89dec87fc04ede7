"""What our backends ask of a socket, beside sending and receiving."""

import os
import select
import struct
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


def is_readable(sock: socket) -> bool:
    """
    Tell whether an idle connection has bytes to read, or was closed by the server.

    A restarted server has closed its connections by now, so no command has to be sent, perhaps twice, to find out. The
    rest of an old answer is detected as well.
    """
    if not hasattr(select, "poll"):  # on Windows
        return bool(select.select([sock], [], [], 0)[0])
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))
