"""
A bad network: a TCP proxy on loopback that drops, loses, delays, cuts and garbles messages.

```python
with Proxy(server.port, seed=1) as proxy:              # clients connect to proxy.port
    proxy.trouble = Trouble(cut=0.1, delay=0.1)        # from now on; Trouble() for none
```

A message is what one side has sent at once. What happens to which is decided by the seed and the order of arrival.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from threading import Event, Thread
from typing import Final, Self

HOST: Final = "127.0.0.1"
CHUNK: Final = 65536


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """How likely a message is to meet with what; of each message the first that happens, in this order."""

    drop: float = 0.0  #: a request vanishes, and the connection is closed
    lose: float = 0.0  #: a request is carried out, its answer vanishes, and the connection is closed
    cut: float = 0.0  #: the first half of an answer arrives, and the connection is closed
    garble: float = 0.0  #: noise arrives in place of an answer, and the connection is closed
    delay: float = 0.0  #: a request or an answer arrives late, even where nobody waits for it any more
    seconds: float = 0.1  #: the longest delay


class Proxy:
    """Stands between clients and a server on this machine, from the beginning of the block to its end."""

    def __init__(self, target: int, *, seed: int = 0) -> None:
        """Make a proxy for the server on a port."""
        self.trouble = Trouble()
        self.met = 0  #: messages that something has happened to
        self.port = 0
        self._target = target
        self._random = Random(seed)  # noqa: S311 -- to be repeated, not to be kept secret
        self._ready = Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = Thread(target=lambda: asyncio.run(self._main()), name="proxy")

    def __enter__(self) -> Self:
        """Begin to listen."""
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *exception: object) -> None:
        """Close every connection."""
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()

    async def _main(self) -> None:
        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._connected, HOST, 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._ended.wait()
        server.close()
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
        """Carry messages to and fro until one side, or the trouble, closes the connection."""
        try:
            answers, server = await asyncio.open_connection(HOST, self._target)
        except OSError:  # no server: the client is to see the connection closed
            return
        ways = [
            asyncio.create_task(self._carry_requests(requests, server)),
            asyncio.create_task(self._carry_answers(answers, client)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            server.close()

    async def _carry_requests(self, requests: asyncio.StreamReader, server: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while message := await requests.read(CHUNK):
                if self._meets(self.trouble.drop):
                    return
                await self._pass_on(message, server)

    async def _carry_answers(self, answers: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while message := await answers.read(CHUNK):
                if self._meets(self.trouble.lose):
                    return
                if self._meets(self.trouble.cut):
                    client.write(message[: len(message) // 2])
                    return
                if self._meets(self.trouble.garble):
                    # The connection ends with it: no client can take the rest for what belongs to the noise.
                    client.write(self._random.randbytes(len(message)))
                    return
                await self._pass_on(message, client)

    async def _pass_on(self, message: bytes, receiver: asyncio.StreamWriter) -> None:
        if self._meets(self.trouble.delay):
            await asyncio.sleep(self._random.uniform(0, self.trouble.seconds))
        receiver.write(message)
        await receiver.drain()

    def _meets(self, probability: float) -> bool:
        # No probability, no draw: what is switched off does not move the sequence.
        meets = probability > 0 and self._random.random() < probability
        self.met += meets
        return meets
