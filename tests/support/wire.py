"""
A wire with one fault: a TCP proxy on loopback that treats every message alike.

```python
with Wire(server) as wire:                # a client connects to wire.location
    with wire.faulty("reset"):            # every connection, until the block ends
        ...
```
"""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from struct import pack
from typing import Final, Literal

from tests.support.relay import CHUNK, Relay
from tests.support.servers import HOST, Server
from tests.support.threads import PATIENCE_SECONDS

Fault = Literal["refused", "timeout", "reset", "garbage", "truncated", "slow"]

# Longer than a client here waits for an answer, and shorter than a test.
SLOW_SECONDS: Final = 0.15
GARBAGE: Final = b"\xde\xad\xbe\xef\x00 nonsense\r\n"
# To close a connection such that the other side sees it reset: wait for nothing, for 0 seconds.
RESETTING: Final = pack("ii", 1, 0)


class Wire(Relay):
    """Stands between clients and a server, from the beginning of the block to its end."""

    def __init__(self, server: Server) -> None:
        """Take a port, and keep it also while no server listens on it."""
        super().__init__(server.port)
        self._server = server
        self._fault: Fault | None = None
        self._kept = self._bound(0)
        self.port = self._kept.getsockname()[1]

    @property
    def location(self) -> str:
        """The address for Django's CACHES."""
        return self._server.location.replace(str(self._server.port), str(self.port))

    @contextmanager
    def faulty(self, fault: Fault) -> Iterator[None]:
        """Treat all messages in this way until the block ends."""
        self._do(fault)
        try:
            yield
        finally:
            self._do(None)

    def __exit__(self, *exception: object) -> None:
        """Close every connection."""
        super().__exit__(*exception)
        self._kept.close()

    # --- in the loop ---

    @staticmethod
    def _bound(port: int) -> socket.socket:
        bound = socket.socket()
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind((HOST, port))
        return bound

    def _do(self, fault: Fault | None) -> None:
        asyncio.run_coroutine_threadsafe(self._set(fault), self._loop).result(PATIENCE_SECONDS)

    async def _set(self, fault: Fault | None) -> None:
        self._fault = fault
        if fault == "refused" and self._listener:
            self._listener.close()
            self._listener = None
        elif fault is None and self._listener is None:
            self._listener = await asyncio.start_server(self._connected, sock=self._bound(self.port))

    async def _listen(self) -> None:
        await self._set(None)

    async def _carry_requests(
        self, requests: asyncio.StreamReader, client: asyncio.StreamWriter, server: asyncio.StreamWriter
    ) -> None:
        with suppress(OSError):
            while message := await requests.read(CHUNK):
                match self._fault:
                    case "timeout":
                        continue
                    case "reset":
                        client.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESETTING)
                        return
                    case "slow":
                        await asyncio.sleep(SLOW_SECONDS)
                server.write(message)
                await server.drain()

    async def _carry_answers(self, answers: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while message := await answers.read(CHUNK):
                if self._fault == "truncated":
                    client.write(message[: len(message) // 2])
                    return
                client.write(GARBAGE if self._fault == "garbage" else message)
                await client.drain()
