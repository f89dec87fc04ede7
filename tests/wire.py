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
from threading import Event, Thread
from typing import Final, Literal, Self

from tests.servers import HOST, Server
from tests.threads import PATIENCE_SECONDS

Fault = Literal["refused", "timeout", "reset", "garbage", "truncated", "slow"]

# Longer than a client here waits for an answer, and shorter than a test.
SLOW_SECONDS: Final = 0.15
CHUNK: Final = 65536
GARBAGE: Final = b"\xde\xad\xbe\xef\x00 nonsense\r\n"
# To close a connection such that the other side sees it reset: wait for nothing, for 0 seconds.
RESETTING: Final = pack("ii", 1, 0)


class Wire:
    """Stands between clients and a server, from the beginning of the block to its end."""

    def __init__(self, server: Server) -> None:
        """Take a port, and keep it also while nobody listens on it."""
        self._server = server
        self._fault: Fault | None = None
        self._kept = self._bound(0)
        self._port: int = self._kept.getsockname()[1]
        self._listener: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._ready = Event()
        self._thread = Thread(target=lambda: asyncio.run(self._main()), name="wire")

    @property
    def location(self) -> str:
        """The address for Django's CACHES."""
        return self._server.location.replace(str(self._server.port), str(self._port))

    @contextmanager
    def faulty(self, fault: Fault) -> Iterator[None]:
        """Treat all messages in this way until the block ends."""
        self._do(fault)
        try:
            yield
        finally:
            self._do(None)

    def __enter__(self) -> Self:
        """Begin to listen."""
        self._thread.start()
        assert self._ready.wait(PATIENCE_SECONDS)
        return self

    def __exit__(self, *exception: object) -> None:
        """Close every connection."""
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(PATIENCE_SECONDS)
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
            self._listener = await asyncio.start_server(self._connected, sock=self._bound(self._port))

    async def _main(self) -> None:
        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        await self._set(None)
        self._ready.set()
        await self._ended.wait()
        if self._listener:
            self._listener.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _connected(self, requests: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(requests, client))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: client.close())

    async def _serve(self, requests: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        answers, server = await asyncio.open_connection(HOST, self._server.port)
        ways = [
            asyncio.create_task(self._carry_requests(requests, client, server)),
            asyncio.create_task(self._carry_answers(answers, client)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            server.close()

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
