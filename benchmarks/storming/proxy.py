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

from tests.support.relay import CHUNK, Relay


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """How likely a message is to meet with what; of each message the first that happens, in this order."""

    drop: float = 0.0  #: a request vanishes, and the connection is closed
    lose: float = 0.0  #: a request is carried out, its answer vanishes, and the connection is closed
    cut: float = 0.0  #: the first half of an answer arrives, and the connection is closed
    garble: float = 0.0  #: noise arrives in place of an answer, and the connection is closed
    delay: float = 0.0  #: a request or an answer arrives late, even where no client waits for it any more
    seconds: float = 0.1  #: the longest delay


class Proxy(Relay):
    """Stands between clients and a server on this machine, from the beginning of the block to its end."""

    def __init__(self, target: int, *, seed: int = 0) -> None:
        """Make a proxy for the server on a port."""
        super().__init__(target)
        self.trouble = Trouble()
        self.met = 0  #: messages that something has happened to
        self._random = Random(seed)

    async def _carry_requests(
        self,
        requests: asyncio.StreamReader,
        client: asyncio.StreamWriter,  # noqa: ARG002 -- what other relays close
        server: asyncio.StreamWriter,
    ) -> None:
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
