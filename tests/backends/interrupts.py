"""Sockets that are interrupted in the middle of an answer, as by a signal or a worker's end, and remember it."""

import socket
from types import ModuleType
from typing import Any


class InterruptibleSocket(socket.socket):
    """A socket that raises, when its test says so, after the first bytes of an answer."""

    #: What to raise; it is raised once, by whichever socket reads next.
    interrupt: BaseException | None = None
    #: How often something was sent on a socket that had been interrupted.
    used_again = 0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Begin well."""
        super().__init__(*args, **kwargs)
        self.is_spoiled = False

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Read; or read a little, and raise."""
        if InterruptibleSocket.interrupt is None:
            return super().recv(size, flags)
        super().recv(2, flags)
        self.is_spoiled = True
        interrupt, InterruptibleSocket.interrupt = InterruptibleSocket.interrupt, None
        raise interrupt

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Count what should not be sent."""
        if self.is_spoiled:
            InterruptibleSocket.used_again += 1
        super().sendall(data, flags)


class SocketModule(ModuleType):
    """The standard library's module, for the option `socket_module`, with another socket in it."""

    def __init__(self, kind: type[socket.socket]) -> None:
        """Take all but the socket from the standard library."""
        super().__init__("sockets_of_a_test")
        vars(self).update({**vars(socket), "socket": kind})


INTERRUPTIBLE = SocketModule(InterruptibleSocket)
