"""
Pipelining: chunks of keys that are read one after the other, without a pause between them.

While the answer to one command comes in, the next command is on its way, and the server has it when it has answered.
Two are on the way at most, so a server keeps no more than one answer for a client that is slow.

It defends against a deadlock: a server may read nothing while it writes an answer, and it can't write on while its
client does not read. A client that waits until it has sent a command, with full buffers on both sides, waits for ever.
So nothing here waits to be sent while an answer is due: what the socket does not take at once is sent when the answer
has been read.
"""

from collections.abc import Callable, Iterable, Iterator
from socket import socket
from typing import Any

from cachedeco.runtime.interrupts import pass_interrupt


def pipeline(
    send: Callable[[Any], object], socket_of: Callable[[], socket | None], commands: Iterable[bytes]
) -> Iterator[bytes]:
    """
    Send commands, and yield each when its answer is due, which the caller reads before it takes the next one.

    Args:
        send: Sends bytes, and waits until they are sent. Raises what the client raises.

        socket_of: Returns what it sends to, once it has sent something; None if that is unknown.

        commands: The commands, in order; one at least.
    """
    following = iter(commands)
    command: bytes | None = next(following)
    sent = 0
    while command is not None:
        if sent < len(command):
            send(memoryview(command)[sent:])
        due, command = command, next(following, None)
        sent = 0 if command is None else send_what_fits(socket_of(), command)
        yield due


def send_what_fits(sock: socket | None, data: bytes) -> int:
    """
    Send what a socket takes without waiting; return how many bytes.

    Where the connection is lost it takes nothing. What reads the answer that is due, or sends the rest, raises then, in
    the way of the client.
    """
    if sock is None:
        return 0
    timeout, sent = sock.gettimeout(), 0
    sock.settimeout(0)
    try:
        while sent < len(data):
            sent += sock.send(memoryview(data)[sent:])
    except OSError as error:  # it takes no more now; of TLS, too
        pass_interrupt(error)
    finally:
        sock.settimeout(timeout)
    return sent
