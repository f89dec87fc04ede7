"""
A memcached that says what a test has written down, one connection after the other.

`with Scripted([first, None], [second]) as server:` answers the first command with the bytes `first`, and closes the
connection at the next one; to the first command on a new connection it says `second`. `server.heard` are the commands.
"""

import socket
from collections.abc import Sequence
from contextlib import suppress
from threading import Thread
from typing import Self

from tests.support.servers import HOST
from tests.support.threads import PATIENCE_SECONDS

# What is sent for a command; None closes the connection instead.
Script = Sequence[bytes | None]


class Scripted:
    """Listens from the beginning of the block to its end."""

    def __init__(self, *scripts: Script) -> None:
        """Take a port."""
        self._scripts = scripts
        self._listener = socket.create_server((HOST, 0))
        self._thread = Thread(target=self._serve, name="scripted")
        self.location = f"{HOST}:{self._listener.getsockname()[1]}"  #: the address for Django's CACHES
        self.heard: list[list[bytes]] = []

    def __enter__(self) -> Self:
        """Begin to listen."""
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Wait until the last connection has been served; where the test has failed, no longer."""
        if exception[0] is not None:
            with suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(PATIENCE_SECONDS)

    def _serve(self) -> None:
        with self._listener:  # a client after the last script is refused, and does not wait
            self._follow_scripts()

    def _follow_scripts(self) -> None:
        for script in self._scripts:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.settimeout(PATIENCE_SECONDS)
            self.heard.append([])
            # A client that closes says so by a reset.
            with connection, suppress(ConnectionResetError):
                for answer in script:
                    # On loopback a short command comes in one piece.
                    self.heard[-1].append(connection.recv(4096))
                    if answer is None:
                        break
                    connection.sendall(answer)
                else:
                    connection.recv(4096)  # until the client closes it
