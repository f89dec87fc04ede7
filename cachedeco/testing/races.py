"""Races on purpose: stop a computation in the middle, do something else meanwhile, and let it go."""

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
from cachedeco.testing.assertions import call_from_sync, name_of, shown
from cachedeco.tracking.collector import collect_dependencies

P = ParamSpec("P")
V = TypeVar("V")

# The call that is to be stopped here: the context goes along into the loop of an async function, a thread does not.
_here: ContextVar[object] = ContextVar("cachedeco_paused", default=None)


class paused(Generic[P, V]):  # noqa: N801 -- reads as a verb: `with paused(club_classes) as computation:`
    """
    Stop a call of a cached function when it has computed its value and not stored it yet.

    ::

        with paused(club_classes) as computation:
            computation.start(club)                # in a thread; returns when the value is computed
            club_classes.invalidate(club)          # so this comes in the middle
            assert computation.finish() == old     # stores the value, which is dead already, and returns it

    The call has the context, and the database connections, of the test: only one of the two runs at a time. Other
    calls of the function are not stopped, and do not wait for this one. Two can be, in a block each. In async code use
    `async with`, `astart()` and `afinish()`. A block that ends early lets the call go.

    Args:
        function: The function, async or not, bound or not.

        timeout: Seconds to wait for the call, to its stop and to its end, before the test fails.
    """

    def __init__(self, function: AnyCachedQuery[P, V], *, timeout: float = 10.0) -> None:
        """Prepare the block."""
        name_of(function)
        self._function = function
        self._timeout = timeout
        self._call: _Call | None = None

    def start(self, /, *args: P.args, **kwargs: P.kwargs) -> None:
        """
        Call the function, and return when it stands in the middle.

        Raises:
            AssertionError: It does not come there: it was served from the cache, it raised, or it takes too long.
            RuntimeError: A call is under way already.
        """
        __tracebackhide__ = True
        if self._call is not None:
            msg = f"{self._call.text} is under way already: finish() it first, or stop two in a block each."
            raise RuntimeError(msg)
        self._call = _Call(self._function, args, kwargs)
        self._call.begin(self._timeout)

    def finish(self) -> V:
        """
        Let the call go, and return its value when it has ended.

        Raises:
            AssertionError: It does not end in time.
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
        """Let go what was not finished."""
        __tracebackhide__ = True
        call, self._call = self._call, None
        if call is not None:
            call.let_go(self._timeout)
            if kind is None and call.stands:  # or start() has told already what went wrong
                call.end(self._timeout)

    async def __aenter__(self) -> Self:
        """Begin; nothing is called before `astart()`."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go what was not finished."""
        await sync_to_async(self.__exit__)(kind, error, trace)


class _Call:
    """One call, in a thread of its own."""

    def __init__(self, function: AnyCachedQuery[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.text = shown(function, args, kwargs)
        self._function = function
        self._args = args
        self._kwargs = kwargs
        self._key = ""
        self._kinds: list[str] = []
        self.stands = False
        self._arrived = Signal()  # in the middle, or at the end
        self._go = Signal()
        self._outcome: Future[Any] = Future()
        # As LiveServerTestCase lends them to its server: inside TestCase no other connection sees the test's rows.
        self._connections = connections.all()
        # Daemonic: what hangs for ever must fail the test, not keep the process.
        self._thread = Thread(target=copy_context().run, args=(self._run,), name=f"paused {self.text}", daemon=True)

    def begin(self, timeout: float) -> None:
        __tracebackhide__ = True
        for connection in self._connections:
            connection.inc_thread_sharing()
        self._thread.start()
        if not self._arrived.wait(timeout):
            msg = f"{self.text} has not computed its value within {timeout:g} seconds."
            raise AssertionError(msg)
        if not self.stands:
            error = self._outcome.exception(timeout)
            if error is not None:
                msg = f"{self.text} could not be stopped after its computation: it raised {error!r}."
            else:
                msg = (
                    f"{self.text} could not be stopped between its computation and its storing, as there was none: "
                    f"{', '.join(self._kinds) or 'nothing happened to it'}. Only a miss is stopped, in the mode 'on'."
                )
            raise AssertionError(msg) from error

    def let_go(self, timeout: float) -> None:
        self._go.set()
        self._thread.join(timeout)

    def end(self, timeout: float) -> Any:
        __tracebackhide__ = True
        self.let_go(timeout)
        if self._thread.is_alive():
            msg = f"{self.text} has not ended within {timeout:g} seconds."
            raise AssertionError(msg)
        return self._outcome.result(timeout)

    def _run(self) -> None:
        _here.set(self)
        for connection in self._connections:
            connections[connection.alias] = connection
        try:
            self._outcome.set_result(self._called())
        except BaseException as error:  # noqa: BLE001 -- it is raised where the test waits
            self._outcome.set_exception(error)
        for connection in self._connections:
            connection.dec_thread_sharing()
        self._arrived.set()

    def _called(self) -> object:
        # By the key, as a function may call itself with other arguments; here, as the key may ask the database.
        self._key = self._function.key_for(*self._args, **self._kwargs)
        # As inside a computation that others wait for: alone, so that nobody waits for the one that is stopped.
        with listening(self._stop), collect_dependencies("", collects=False, leads=True):
            return call_from_sync(self._function, self._args, self._kwargs)

    def _stop(self, event: Event) -> None:
        """Wait where the value is computed and not stored. A hook runs in the thread of the call that it hears of."""
        if _here.get() is not self or event.function != name_of(self._function):
            return
        self._kinds.append(event.kind)
        if event.kind == "computed" and event.key == self._key and not self.stands:
            self.stands = True
            self._arrived.set()
            # No deadline: the test's block lets go in any case, and nobody hears what a hook raises.
            self._go.wait()
