"""Deterministic races for tests: stop a call between computing and storing, act, and let it continue."""

from concurrent.futures import Future
from contextvars import ContextVar, copy_context
from functools import partial
from threading import Event as Signal
from threading import Thread
from types import TracebackType
from typing import Any, Generic, ParamSpec, Self, TypeVar

from asgiref.sync import sync_to_async
from django.db import connections

from cachedeco.functions.single import AnyCachedQuery
from cachedeco.runtime.events import Event
from cachedeco.runtime.hooks import listening
from cachedeco.runtime.reprs import shorten_error
from cachedeco.testing.assertions import call_from_sync, format_call, name_of, refuse_many
from cachedeco.tracking.collector import collect_dependencies

P = ParamSpec("P")
V = TypeVar("V")

# The call to stop in this context: an async function may run in another thread, but in a copy of this context.
_here: ContextVar[object] = ContextVar("cachedeco_paused", default=None)


class paused(Generic[P, V]):  # noqa: N801 -- reads as a verb: `with paused(club_classes) as computation:`
    """
    Stop a call of a cached function after it has computed its value, before it stores it.

    ::

        with paused(club_classes) as computation:
            computation.start(club)                # in a thread; returns when the value is computed
            club_classes.invalidate(club)          # while the call is stopped
            assert computation.finish() == old     # stores the entry, invalidated already, and returns the value

    The call has the context and the database connections of the test: only one of the two runs at a time. Other calls
    of the function are not stopped, and do not wait for this one. To stop two calls, use two blocks. In async code use
    `async with`, `astart()` and `afinish()`. If the block ends early, the call continues.

    Args:
        function: The function, async or not, bound or not.

        timeout: Seconds to wait until the call stops, and until it ends, before the test fails.
    """

    def __init__(self, function: AnyCachedQuery[P, V], *, timeout: float = 10.0) -> None:
        """Prepare the block."""
        name_of(function)
        refuse_many(function, "paused()")
        self._function = function
        self._timeout = timeout
        self._call: _Call | None = None

    def start(self, /, *args: P.args, **kwargs: P.kwargs) -> None:
        """
        Call the function, and return when the call is stopped.

        Raises:
            AssertionError: The call does not stop: it was served from the cache, it raised, or it takes too long.
            RuntimeError: Another call of this block is under way.
        """
        __tracebackhide__ = True
        if self._call is not None:
            msg = f"{self._call.text} is under way already: finish() it first, or stop two in a block each."
            raise RuntimeError(msg)
        self._call = _Call(self._function, args, kwargs)
        self._call.begin(self._timeout)

    def finish(self) -> V:
        """
        Let the call continue, and return its value.

        Raises:
            AssertionError: The call does not end in time.
            RuntimeError: No call is under way.
        """
        __tracebackhide__ = True
        call, self._call = self._call, None
        if call is None:
            msg = "No call is under way: start() one first."
            raise RuntimeError(msg)
        value: V = call.end(self._timeout)
        return value

    async def astart(self, /, *args: P.args, **kwargs: P.kwargs) -> None:
        """Do as `start()`, from async code."""
        await sync_to_async(partial(self.start, *args, **kwargs))()

    async def afinish(self) -> V:
        """Do as `finish()`, from async code."""
        return await sync_to_async(self.finish)()

    def __enter__(self) -> Self:
        """Begin; nothing is called before `start()`."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let an unfinished call continue."""
        __tracebackhide__ = True
        call, self._call = self._call, None
        if call is not None:
            call.release(self._timeout)
            if kind is None and call.is_stopped:  # otherwise start() has raised already
                call.end(self._timeout)

    async def __aenter__(self) -> Self:
        """Begin; nothing is called before `astart()`."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let an unfinished call continue."""
        await sync_to_async(self.__exit__)(kind, error, trace)


class _Call:
    """One call, in a thread of its own."""

    def __init__(self, function: AnyCachedQuery[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.text = format_call(function, args, kwargs)
        self._function = function
        self._args = args
        self._kwargs = kwargs
        self._key = ""
        self._kinds: list[str] = []
        self.is_stopped = False
        self._reached = Signal()  # set when the call is stopped, or has ended
        self._go = Signal()
        self._outcome: Future[Any] = Future()
        # Shared, as LiveServerTestCase does: inside TestCase no other connection sees the test's rows.
        self._connections = connections.all()
        # A daemon: a call that hangs fails the test, and does not keep the process alive.
        self._thread = Thread(target=copy_context().run, args=(self._run,), name=f"paused {self.text}", daemon=True)

    def begin(self, timeout: float) -> None:
        __tracebackhide__ = True
        for connection in self._connections:
            connection.inc_thread_sharing()
        self._thread.start()
        if not self._reached.wait(timeout):
            msg = f"{self.text} has not computed its value within {timeout:g} seconds."
            raise AssertionError(msg)
        if not self.is_stopped:
            error = self._outcome.exception(timeout)
            if error is not None:
                msg = f"{self.text} could not be stopped after its computation: it raised {shorten_error(error)}."
            else:
                msg = (
                    f"{self.text} could not be stopped between computing and storing, as it was not computed: "
                    f"{', '.join(self._kinds) or 'nothing happened to it'}. Only a miss is stopped, in the mode 'on'."
                )
            raise AssertionError(msg) from error

    def release(self, timeout: float) -> None:
        self._go.set()
        self._thread.join(timeout)

    def end(self, timeout: float) -> Any:
        __tracebackhide__ = True
        self.release(timeout)
        if self._thread.is_alive():
            msg = f"{self.text} has not ended within {timeout:g} seconds."
            raise AssertionError(msg)
        return self._outcome.result(timeout)

    def _run(self) -> None:
        _here.set(self)
        for connection in self._connections:
            connections[connection.alias] = connection
        try:
            self._outcome.set_result(self._call_function())
        except BaseException as error:  # noqa: BLE001 -- raised again in the thread of the test
            self._outcome.set_exception(error)
        for connection in self._connections:
            connection.dec_thread_sharing()
        self._reached.set()

    def _call_function(self) -> object:
        # Identified by the key, since a function may call itself with other arguments. Worked out in this thread, since
        # the key may query the database.
        self._key = self._function.key_for(*self._args, **self._kwargs)
        # Marked as a leader inside a computation: such a call computes alone, so no other caller waits for it.
        with listening(self._stop), collect_dependencies("", collects=False, leads=True):
            return call_from_sync(self._function, self._args, self._kwargs)

    def _stop(self, event: Event) -> None:
        """Wait after the computation, before storing. A hook runs in the thread of the call that caused the event."""
        if _here.get() is not self or event.function != name_of(self._function):
            return
        self._kinds.append(event.kind)
        if event.kind == "computed" and event.key == self._key and not self.is_stopped:
            self.is_stopped = True
            self._reached.set()
            # No deadline: the end of the block always releases it, and an error of a hook would only be logged.
            self._go.wait()
