"""What stands between clients and a server on this machine, and carries what they say to and fro."""

import asyncio
from abc import ABC, abstractmethod
from threading import Event, Thread
from typing import Final, Self

from tests.support.servers import HOST
from tests.support.threads import PATIENCE_SECONDS

CHUNK: Final = 65536


class Relay(ABC):
    """
    A TCP proxy on loopback, from the beginning of the block to its end, in the loop of a thread of its own.

    A message is what one side has sent at once; what becomes of it, a subclass says.
    """

    def __init__(self, target: int) -> None:
        """Make a relay for the server on a port."""
        self.port = 0
        self._target = target
        self._listener: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._ready = Event()
        self._thread = Thread(target=lambda: asyncio.run(self._main()), name="relay")

    def __enter__(self) -> Self:
        """Begin to listen."""
        self._thread.start()
        assert self._ready.wait(PATIENCE_SECONDS)
        return self

    def __exit__(self, *exception: object) -> None:
        """Close every connection."""
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(PATIENCE_SECONDS)

    # --- in the loop ---

    async def _listen(self) -> None:
        """Begin to listen on some port."""
        self._listener = await asyncio.start_server(self._connected, HOST, 0)
        self.port = self._listener.sockets[0].getsockname()[1]

    @abstractmethod
    async def _carry_requests(
        self, requests: asyncio.StreamReader, client: asyncio.StreamWriter, server: asyncio.StreamWriter
    ) -> None:
        """Carry messages of a client; the connection ends with it."""

    @abstractmethod
    async def _carry_answers(self, answers: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        """Carry messages of the server; the connection ends with it."""

    async def _main(self) -> None:
        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        await self._listen()
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
        # Also of one that is cancelled before it begins.
        task.add_done_callback(lambda _: client.close())

    async def _serve(self, requests: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        try:
            answers, server = await asyncio.open_connection(HOST, self._target)
        except OSError:  # no server: the client is to see the connection closed
            return
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
