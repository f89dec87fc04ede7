"""
One connection of an event loop to a server: commands of many tasks are pipelined, answers come in their order.

What tasks send in one turn of the loop is written at once. When answers have come, all of them are read first; then
each task that waits goes on at once, not in the next turn, and what these tasks send is written together. A task that
is cancelled leaves its place in the order, so that its answer is read, and dropped. One watchdog guards the connection,
rather than a timeout each command: while an answer is due, the server has to send something within the timeout. Where
it does not, or sends what is no answer, the connection is closed, and all commands that wait on it fail together.
"""

from asyncio import AbstractEventLoop, BufferedProtocol, Future, Handle, Transport, current_task
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextvars import Context, copy_context
from copy import copy
from functools import cached_property, partial
from socket import socket
from time import monotonic
from typing import Any, Final, TypeVar, cast

from cachedeco.backends.exchange import Exchange, LastAnswer
from cachedeco.backends.sockets import send_nothing_after_close, unread_in
from cachedeco.runtime.interrupts import is_interrupt

T = TypeVar("T")

# Seconds. A loop that was blocked may look at its timers before it looks at its sockets, as uvloop does: the watchdog
# looks again after the loop has looked at the sockets once.
GRACE: Final = 0.01
# Bytes of one read. asyncio itself makes room for 256 KiB anew for each. In a small process the system maps and unmaps
# that each time, which has been seen to cost three times as much as all else that a loop does for one answer.
ROOM: Final = 2**16


class Answer(Future[T]):
    """
    The answer to a command: a future that wakes the first who waits for it at once, if it is told to.

    Any other future wakes in the next turn of the loop, by a handle: for one task that waits for one answer after the
    other, that is a third of what the loop does. All else is as of any future.
    """

    __slots__ = ("_first",)

    _first: tuple[Callable[["Answer[T]"], object], Context] | None  # None if nothing waits, or it has been woken

    def add_done_callback(self, fn: Callable[["Answer[T]"], object], /, *, context: Context | None = None) -> None:
        """Call a function when the answer is here: as of any future, or by `wake()`."""
        if self._first is None and not self.done():
            self._first = fn, copy_context() if context is None else context
        else:
            super().add_done_callback(fn, context=context)

    def remove_done_callback(self, fn: Callable[["Answer[T]"], object], /) -> int:
        """Do not call a function any more; return how often it would have been called."""
        removed = super().remove_done_callback(fn)
        if self._first is not None and self._first[0] == fn:
            self._first = None
            removed += 1
        return removed

    def wake(self) -> None:
        """Call the first function now: the task that waits goes on. No task of the loop may be running."""
        if self._first is not None:
            fn, context = self._first
            self._first = None
            context.run(fn, self)

    def wake_soon(self) -> None:
        """Call the first function in the next turn of the loop."""
        if self._first is not None:
            fn, context = self._first
            self._first = None
            self.get_loop().call_soon(fn, self, context=context)

    def set_result(self, result: T, /) -> None:
        """See `Future`."""
        try:
            super().set_result(result)
        finally:
            self.wake_soon()

    def set_exception(self, exception: type | BaseException, /) -> None:
        """See `Future`."""
        try:
            super().set_exception(exception)
        finally:
            self.wake_soon()

    def cancel(self, msg: Any | None = None) -> bool:
        """See `Future`."""
        cancels = super().cancel(msg)
        if cancels:
            self.wake_soon()
        return cancels


def new_answer(loop: AbstractEventLoop) -> Answer[Any]:
    """Return an answer to wait for: quicker than by a method of Python's that initializes a future of C's."""
    answer: Answer[Any] = Answer(loop=loop)
    answer._first = None  # noqa: SLF001 -- as said
    return answer


Waiting = tuple[Answer[Any], Exchange[Any]]


class LoopConnection(BufferedProtocol):
    """One connection. To be used on its loop only."""

    def __init__(
        self,
        loop: AbstractEventLoop,
        owner: object,
        on_close: Callable[["LoopConnection", bool], None],
        timeout: float | None,
    ) -> None:
        """
        Create a connection that is not open yet; commands wait until it is.

        *owner* has to live as long. *on_close* is called once, when it can't be used any more, with whether commands
        have failed by that. *timeout* is in seconds, for each part of an answer.
        """
        self.loop = loop
        self.owner = owner
        self.is_open = False
        self.is_closed = False
        #: When the server has last sent something, or an answer became due.
        self.heard_at = 0.0
        #: Commands whose answer is due, in order.
        self.waiting: deque[Waiting] = deque()
        self._on_close = on_close
        self._timeout = timeout
        self._queued: list[Waiting] = []  # until it is open
        self._outgoing: list[bytes] = []
        self._is_waking = False  # tasks that have their answers: what they send is written when all have run
        self._room = memoryview(bytearray(ROOM))
        self._parser: Generator[int, bytes, tuple[Any, bytes]] | None = None
        self._transport: Transport | None = None
        self._write: Callable[[bytes], None]  # that of the transport
        self._watchdog: Handle | None = None
        self._is_retired = False

    # --- commands ---

    def send(self, exchange: Exchange[T]) -> Answer[T]:
        """Send a command, behind those that wait."""
        future: Answer[T] = new_answer(self.loop)
        if not self.is_open:
            self._queued.append((future, exchange))
            return future
        try:
            self._send((future, exchange))
        except BaseException:  # an interrupt: it is unknown what was sent
            future.cancel()
            self.close()
            raise
        return future

    def greet(self, exchange: Exchange[T]) -> Answer[T]:
        """Send a command before those that wait until the connection is open."""
        future: Answer[T] = new_answer(self.loop)
        if self.is_closed:
            future.set_exception(_closed())
        else:
            self._send((future, exchange))
        return future

    def begin(self) -> None:
        """Send what waits: the connection is open, and the server has been greeted."""
        if self.is_closed:
            return
        try:
            self.is_open = True
            self.heard_at = monotonic()
            for each in self._queued:
                # A caller that was cancelled may have done something else since.
                if not each[0].done():
                    self._send(each)
            self._queued.clear()
        except BaseException:  # an interrupt: what it leaves would wait for ever
            self.close()
            raise
        self._close_if_retired()

    @cached_property
    def has_unread(self) -> Callable[[], bool]:
        """Tells whether the server has closed it while it was idle, or sent what no command has asked for."""
        return unread_in(self._socket)

    def retire(self) -> None:
        """Close the connection when no command waits on it any more."""
        self._is_retired = True
        self._close_if_retired()

    def close(self, error: Exception | None = None) -> None:
        """Close the connection at once; the commands that wait on it fail, each by an error of its own."""
        if self.is_closed or self.loop.is_closed():  # without an end: no task goes on there, and no transport closes
            return
        self.is_closed, self.is_open = True, False
        if self._watchdog is not None:
            self._watchdog.cancel()
        self._parser, self._outgoing = None, []
        failed = [*self.waiting, *self._queued]
        self.waiting.clear()
        self._queued.clear()
        self._on_close(self, bool(failed))
        for future, _ in failed:
            if not future.done():
                future.set_exception(copy(error) if error else _closed())
        if self._transport is not None:
            self._transport.abort()

    def _send(self, waiting: Waiting) -> None:
        is_first = not self.waiting
        self.waiting.append(waiting)
        if is_first:
            self.heard_at = monotonic()
            if self._watchdog is None and self._timeout is not None:
                self._watch(self._timeout)
            if not self._is_waking:
                # At once: most often no other task sends in this turn.
                self._write(waiting[1].command)
                return
        if not self._outgoing and not self._is_waking:
            self.loop.call_soon(self._flush)
        self._outgoing.append(waiting[1].command)

    def _flush(self) -> None:
        outgoing, self._outgoing = self._outgoing, []
        if not outgoing:  # it was closed since
            return
        try:
            self._write(outgoing[0] if len(outgoing) == 1 else b"".join(outgoing))
        except BaseException:  # an interrupt, as above
            self.close()
            raise

    def _close_if_retired(self) -> None:
        if self._is_retired and not self.waiting and not self._queued:
            self.close()

    # --- what the loop calls ---

    def connection_made(self, transport: Any) -> None:
        """Keep the transport."""
        self._transport = transport
        self._write = transport.write
        send_nothing_after_close(self._socket)
        if self.is_closed:
            transport.abort()

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 -- asyncio's signature
        """Return the room for what comes next."""
        return self._room

    def buffer_updated(self, nbytes: int) -> None:
        """Give each answer that is here to the task that waits for it."""
        data = bytes(self._room[:nbytes])
        self.heard_at = monotonic()
        answered: list[Answer[Any]] = []
        try:
            try:
                self._distribute(data, answered)
            except BaseException as error:
                if is_interrupt(error):
                    self.close()
                    raise
                self._end_with_first(cast("Exception", error))
            if self._is_retired:
                self._close_if_retired()
            self._wake(answered)
        except BaseException:  # an interrupt, of this or of a task that went on
            for each in answered:
                each.wake_soon()
            raise

    def _wake(self, answered: Sequence[Answer[Any]]) -> None:
        """Let tasks go on that have their answers, and write what they send."""
        if current_task(self.loop) is not None:  # two can't run: this transport calls from within one
            for each in answered:
                each.wake_soon()
            return
        self._is_waking = True
        try:
            for each in answered:
                each.wake()
        finally:
            self._is_waking = False
            self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail what waits: the server has closed the connection, or it broke."""
        self.close(exc if isinstance(exc, OSError) else ConnectionResetError("the server closed the connection"))

    def _distribute(self, data: bytes, answered: list[Answer[Any]]) -> None:
        waiting, set_result, set_exception = self.waiting, Future.set_result, Future.set_exception  # without waking
        parser, at = self._parser, 0
        while at < len(data):
            if not waiting:
                msg = "the server sent what no command has asked for"
                raise ConnectionError(msg)
            future, exchange = waiting[0]
            cut = exchange.cut(data, at) if parser is None else None
            if cut is not None:
                answer, at = cut
            else:
                try:
                    if parser is None:
                        parser = exchange.parse(data[at:])
                        next(parser)
                    else:
                        parser.send(data)
                except StopIteration as end:
                    answer, data = end.value
                    parser, at = None, 0
                else:
                    break
            # In this order: an interrupt may come after each line, and must leave no task that nothing wakes.
            if not future.done():
                answered.append(future)
                if isinstance(answer, Exception):
                    set_exception(future, answer)
                else:
                    set_result(future, answer)
            waiting.popleft()
        self._parser = parser

    def _end_with_first(self, error: Exception) -> None:
        """Give an error, or the last answer, to the command that is first, and close the connection."""
        if self.waiting:
            future, _ = self.waiting[0]
            if future.done():
                pass
            elif isinstance(error, LastAnswer):
                future.set_result(error.answer)
            else:
                future.set_exception(error)
            self.waiting.popleft()
        self.close(ConnectionAbortedError("the connection was closed after an answer to another command"))

    # --- the watchdog ---

    def _watch(self, seconds: float) -> None:
        # In a context of its own: that of the caller, with what it refers to, would live for as long.
        self._watchdog = self.loop.call_later(seconds, self._look, context=Context())

    def _look(self, *, again: bool = False) -> None:
        self._watchdog = None
        if not self.waiting:
            return
        missing = self.heard_at + cast("float", self._timeout) - monotonic()
        if missing > 0:
            self._watch(missing)
        elif not again:
            self._watchdog = self.loop.call_later(GRACE, partial(self._look, again=True), context=Context())
        else:
            self.close(TimeoutError("timed out"))

    @property
    def _socket(self) -> socket:
        found: socket = cast("Transport", self._transport).get_extra_info("socket")
        return found


def _closed() -> ConnectionAbortedError:
    return ConnectionAbortedError("the connection was closed")
