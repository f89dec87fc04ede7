"""
The connections of each event loop to one server: two at most, and the one with the fewest commands is taken.

They end with their loop. `asyncio.run()`, asgiref's `async_to_sync()` and the servers of ASGI end a loop by closing its
asynchronous generators, so one of these, which does nothing else, closes the connections. What is kept here refers to
the loop only weakly; a loop that is thrown away without an end takes its connections along.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import suppress
from contextvars import Context
from functools import partial
from ssl import SSLContext
from time import monotonic
from typing import TYPE_CHECKING, Final, NamedTuple, cast
from weakref import ref

from cachedeco.backends.exchange import Exchange
from cachedeco.backends.loop_connection import LoopConnection
from cachedeco.runtime.interrupts import pass_interrupt

if TYPE_CHECKING:
    from types import AsyncGeneratorType

# A small answer waits behind a large one on the same connection; more than two are no better.
MOST: Final = 2
# Seconds between two attempts to open a second connection: the server may refuse it.
BETWEEN_SECONDS: Final = 1.0

# After a loop was blocked, its timers run before the tasks whose sockets are ready. So the time to connect consists of
# so many parts, each with a timer of its own: blocking the loop, however long, ends only one of them.
PARTS: Final = 8

# Another object in a forked child, where the connections are the parent's.
_process = object()


class Endpoint(NamedTuple):
    """How an event loop reaches a server: its address, and the options of a connection."""

    place: tuple[str, int] | str  #: host and port, or the path of a Unix socket
    tls: Callable[[], SSLContext] | None
    socket_options: Iterable[tuple[int, int, int]]
    greetings: Sequence[Exchange[object]]  #: what a new connection needs before it is used
    connect_timeout: float | None  #: seconds
    timeout: float | None  #: seconds for each part of an answer
    idle_seconds: float  #: seconds for which an idle connection is used again


class Loops:
    """The connections of all loops to one server. Thread-safe; what a loop has is used on it alone."""

    def __init__(self, endpoint: Endpoint) -> None:
        """Open nothing yet."""
        self._endpoint = endpoint
        self._by_loop: dict[int, ref[_OfLoop]] = {}
        # Another object after each loss: connections of before are not used any more.
        self.epoch = object()

    def choose(self, *, writes: bool) -> LoopConnection:
        """
        Return the connection of the running loop for the next command.

        Args:
            writes: Whether it writes, and so is sent once. A read is repeated, once, if this connection was open, and
                has been lost.
        """
        loop = asyncio.get_running_loop()
        known = self._by_loop.get(id(loop))
        of_loop = None if known is None else known()
        if of_loop is None or of_loop.process is not _process:
            of_loop = self._begin(loop)
        return of_loop.choose(writes=writes)

    def clear(self) -> None:
        """Use no connection any more that is open now, from any thread; each is closed when no command waits on it."""
        self.epoch = object()
        for each in list(self._by_loop.values()):
            of_loop = each()
            if of_loop is not None and of_loop.process is _process:
                with suppress(RuntimeError):  # the loop is closed
                    of_loop.loop.call_soon_threadsafe(of_loop.retire_old, context=Context())

    def _begin(self, loop: asyncio.AbstractEventLoop) -> "_OfLoop":
        of_loop = _OfLoop(loop, self, self._endpoint)
        key = id(loop)
        # A reference that was replaced calls nothing.
        self._by_loop[key] = ref(of_loop, lambda _: self._by_loop.pop(key, None))
        return of_loop


class _OfLoop:
    """The connections of one loop, which keep it alive."""

    def __init__(self, loop: asyncio.AbstractEventLoop, loops: Loops, endpoint: Endpoint) -> None:
        self.loop = loop
        self.process = _process
        self._loops = loops
        self._endpoint = endpoint
        self._epoch = loops.epoch
        self._current: list[LoopConnection] = []
        self._all: set[LoopConnection] = set()
        self._keeper: AsyncGeneratorType[None, None] | None = None
        self._next_at = 0.0

    def choose(self, *, writes: bool) -> LoopConnection:
        """Return the connection with the fewest commands, or a new one, which opens itself."""
        if self._epoch is not self._loops.epoch:
            self.retire_old()
        current = self._current
        if not current:
            return self._open()
        best = current[0]
        for each in current:
            if each is not best and each.is_open and (not best.is_open or len(each.waiting) < len(best.waiting)):
                best = each
        if not best.is_open:
            return best
        if not best.waiting:
            # A write asks by a system call, as it is sent once.
            if monotonic() - best.heard_at > self._endpoint.idle_seconds or (writes and best.has_unread()):
                best.close()  # it is of no more use
                return self.choose(writes=writes)
        elif len(current) < MOST:
            now = monotonic()
            if now >= self._next_at:
                self._next_at = now + BETWEEN_SECONDS
                self._open()
        return best

    def retire_old(self) -> None:
        """Use only connections of the current epoch from now on."""
        if self._epoch is self._loops.epoch:
            return
        self._epoch = self._loops.epoch
        old, self._current = self._current, []
        for each in old:
            each.retire()

    def _open(self) -> LoopConnection:
        connection = LoopConnection(self.loop, self, partial(self._forget, self._epoch), self._endpoint.timeout)
        self._all.add(connection)
        # In an empty context: that of the first caller would live for as long as the connection. By no factory of the
        # project's: an eager one runs it here and now, and what fails at once would fail before a command waits for it.
        task = asyncio.Task(self._connect(connection), loop=self.loop, context=Context(), name="cachedeco.connect")
        # However it ends: who cancels all tasks of a loop may do so before this one has begun.
        task.add_done_callback(lambda _: None if connection.is_open else connection.close())
        if self._endpoint.connect_timeout is not None:
            _limit_time(task, connection, self._endpoint.connect_timeout / PARTS, PARTS)
        self._current.append(connection)  # now, as what waits on it has an end
        return connection

    async def _connect(self, connection: LoopConnection) -> None:
        if self._keeper is None:
            keeper = cast("AsyncGeneratorType[None, None]", _close_at_end(self._all))
            await anext(keeper)  # the loop knows it from now on
            self._keeper = keeper
        endpoint = self._endpoint
        try:
            await _open(endpoint, connection)
            for exchange in endpoint.greetings:
                await connection.greet(exchange)
            connection.begin()
        except Exception as error:  # noqa: BLE001 -- of the system, TLS or the server: the callers that wait get it
            pass_interrupt(error)
            connection.close(error)

    def _forget(self, epoch: object, connection: LoopConnection, has_failed: bool) -> None:  # noqa: FBT001 -- a callback
        self._all.discard(connection)
        if connection in self._current:
            self._current.remove(connection)
        keeper = self._keeper
        if keeper is not None and not self._all and not keeper.ag_running:
            # Here, where it waits for nothing: the loop would end it by a task, which a loop that ends leaves pending.
            self._keeper = None
            with suppress(StopIteration):
                keeper.aclose().send(None)
        if has_failed and epoch is self._loops.epoch:
            self._loops.clear()  # the others are dead as well


def _limit_time(task: asyncio.Task[None], connection: LoopConnection, part: float, left: int) -> None:
    """Give a connection so many parts more to open, of so many seconds each."""
    if task.done():
        return
    if left:
        connection.loop.call_later(part, _limit_time, task, connection, part, left - 1, context=Context())
    else:
        task.cancel()
        connection.close(TimeoutError("timed out"))


async def _open(endpoint: Endpoint, connection: LoopConnection) -> None:
    loop = connection.loop
    if isinstance(endpoint.place, str):
        transport, _ = await loop.create_unix_connection(lambda: connection, endpoint.place)
    else:
        host, port = endpoint.place
        transport, _ = await loop.create_connection(lambda: connection, host, port, ssl=endpoint.tls and endpoint.tls())
    for option in endpoint.socket_options:
        transport.get_extra_info("socket").setsockopt(*option)


async def _close_at_end(connections: set[LoopConnection]) -> AsyncGenerator[None, None]:
    """Close connections when the loop ends."""
    try:
        yield
    finally:
        left = list(connections)
        for each in left:
            each.close()
        if left:
            # A transport closes its socket in the next turn of the loop.
            await asyncio.sleep(0)
            await asyncio.sleep(0)
