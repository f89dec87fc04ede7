"""Assertions about cached functions, in the style of `assertNumQueries`: a failure lists what happened."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Any, Final, ParamSpec

from asgiref.sync import async_to_sync, iscoroutinefunction, sync_to_async

from cachedeco.functions.base import CachedFunction
from cachedeco.functions.calls import MISSING
from cachedeco.functions.single import AnyCachedQuery
from cachedeco.loading.reading import read_entry
from cachedeco.runtime.events import Event, Kind
from cachedeco.runtime.hooks import listening
from cachedeco.runtime.modes import current_mode

P = ParamSpec("P")

_PLURALS: Final = {"computation": "computations", "hit": "hits", "miss": "misses"}
_ENDS: Final = frozenset[Kind]({"invalidated", "invalidation_delayed", "invalidation_lost", "error"})


@contextmanager
def capture_events(*functions: CachedFunction[..., Any]) -> Generator[list[Event]]:
    """
    Give the list of what happens in a block, in every thread of the process, in its order.

    Args:
        functions: Only what happens to these; to all functions and namespaces where there are none.
    """
    names = set(map(name_of, functions))
    events: list[Event] = []

    def note(event: Event) -> None:
        if not names or event.function in names:
            events.append(event)

    with listening(note):
        yield events


def assert_computations(function: CachedFunction[..., Any], number: int, /) -> "Counted":
    """
    Fail unless a cached function is computed so many times in a block, all its calls together, in every thread.

    ::

        with assert_computations(club_classes, 1):
            self.client.get("/clubs/7/")
            self.client.get("/clubs/7/")

    Gives the list of what happens to the function in the block. A computation that raises is none. `async with` does
    the same.
    """
    return Counted("computed", "computation", function, number)


def assert_hits(function: CachedFunction[..., Any], number: int, /) -> "Counted":
    """Fail unless so many calls are served from the cache in a block; otherwise as `assert_computations()`."""
    return Counted("hit", "hit", function, number)


def assert_misses(function: CachedFunction[..., Any], number: int, /) -> "Counted":
    """Fail unless so many calls find nothing to serve in a block; otherwise as `assert_computations()`."""
    return Counted("miss", "miss", function, number)


def assert_invalidates(function: AnyCachedQuery[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> "Watched":
    """
    Fail unless a block puts an end to the entry of one call: what was there is not served any more.

    ::

        with assert_invalidates(club_classes, club):
            self.client.post("/classes/3/move/")

    It does not matter whether the call, its function or a namespace was invalidated, or the entry replaced. Inside
    `atomic()` an invalidation counts at once, for this connection. If nothing is stored, the call is computed first.
    `async with` does the same in async code, and for async functions there.
    """
    return Watched(function, args, kwargs, ends=True)


def assert_keeps(function: AnyCachedQuery[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> "Watched":
    """Fail if a block puts an end to the entry of one call: the opposite of `assert_invalidates()`."""
    return Watched(function, args, kwargs, ends=False)


class CacheAssertions:
    """
    The assertions as methods, for a `TestCase`.

    ::

        class ClubPageTests(CacheAssertions, TestCase):
            def test_page_computes_once(self):
                with self.assertComputations(club_classes, 1): ...
    """

    assertComputations = staticmethod(assert_computations)  # noqa: N815 -- unittest's way to write names
    assertHits = staticmethod(assert_hits)  # noqa: N815
    assertMisses = staticmethod(assert_misses)  # noqa: N815
    assertInvalidates = staticmethod(assert_invalidates)  # noqa: N815
    assertKeeps = staticmethod(assert_keeps)  # noqa: N815


class Block(ABC):
    """A block that fails by what has happened in it. A class, so that none of its frames stand around the message."""

    def __init__(self, function: CachedFunction[..., Any]) -> None:
        """Remember the function; nothing is asked of the cache until the block begins."""
        self._function = function
        self._name = name_of(function)
        self._listening = ExitStack()
        self._happened: list[Event] = []

    def __enter__(self) -> list[Event]:
        """Begin, and give the list of what happens in the block."""
        __tracebackhide__ = True
        _fail_with(self._begin())
        return self._listen()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Judge what has happened, unless the block has raised."""
        __tracebackhide__ = True
        self._listening.close()
        if kind is None:
            _fail_with(self._fault())

    async def __aenter__(self) -> list[Event]:
        """Do as `with`, where Django keeps its connections."""
        __tracebackhide__ = True
        _fail_with(await sync_to_async(self._begin)())
        return self._listen()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Do as `with`, where Django keeps its connections."""
        __tracebackhide__ = True
        self._listening.close()
        if kind is None:
            _fail_with(await sync_to_async(self._fault)())

    def _begin(self) -> str:
        """Do what comes before the block, and return why it can't begin, if so."""
        return ""

    def _listen(self) -> list[Event]:
        self._happened = self._listening.enter_context(capture_events())
        return self._happened

    @abstractmethod
    def _fault(self) -> str:
        """Return what is wrong after the block, if anything is."""


class Counted(Block):
    """A block in which so many things of one kind must happen to a function."""

    def __init__(self, kind: Kind, word: str, function: CachedFunction[..., Any], expected: int) -> None:
        """Remember what to count."""
        super().__init__(function)
        self._kind = kind
        self._word = word
        self._expected = expected

    def _listen(self) -> list[Event]:
        super()._listen()
        return self._listening.enter_context(capture_events(self._function))

    def _fault(self) -> str:
        own = [event for event in self._happened if event.function == self._name]
        found = sum(event.kind == self._kind for event in own)
        if found == self._expected:
            return ""
        told = [event for event in self._happened if event.function == self._name or _explains(event)]
        what = self._word if found == 1 else _PLURALS[self._word]
        happened = _listed(told) if own else " nothing happened to it."
        return f"{found} {what} of {self._name}, {self._expected} expected:{happened}{_about_mode()}"


class Watched(Block):
    """A block in which the entry of one call must, or must not, come to its end."""

    def __init__(
        self,
        function: AnyCachedQuery[..., Any],
        args: Sequence[object],
        kwargs: Mapping[str, object],
        *,
        ends: bool,
    ) -> None:
        """Remember the call."""
        super().__init__(function)
        self._call = function.call(*args, **kwargs)
        self._ends = ends
        self._shown = shown(function, args, kwargs)
        self._found: object = None

    def _begin(self) -> str:
        with capture_events(self._function) as events:
            if self._call.peek() is MISSING:
                call_from_sync(self._call, (), {})
        self._found = self._entry()
        if self._found is not None:
            return ""
        return (
            f"Nothing could be stored for {self._shown}, so nothing can be invalidated.{_about_mode()} "
            f"What happened:{_listed(events)}"
        )

    def _fault(self) -> str:
        if (self._entry() == self._found) is not self._ends:
            return ""
        what = "still served" if self._ends else "not served any more"
        told = [event for event in self._happened if event.kind in _ENDS]
        listed = f"Invalidated in the block:{_listed(told)}" if told else "Nothing was invalidated in the block."
        return f"The entry of {self._shown} is {what}. {listed}"

    def _entry(self) -> object:
        """Return the entry as it is stored, due or not; None where it is not valid for this connection."""
        admitted = self._call._admitted()  # noqa: SLF001 -- peek() gives the value alone
        if admitted is None:
            return None
        asked, found, entry = read_entry(*admitted)
        return found[asked[0]] if found and entry else None


def name_of(function: object) -> str:
    """
    Return the name of a cached function in events.

    Raises:
        TypeError: It is none.
    """
    if not isinstance(function, CachedFunction):
        msg = f"{function!r} is no cached function; the assertions take one that cached_query decorates."
        raise TypeError(msg)
    return function._spec.name  # noqa: SLF001 -- for these tools alone, so it has no public name


def shown(function: Callable[..., object], args: Sequence[object], kwargs: Mapping[str, object]) -> str:
    """Return a call as one would type it."""
    arguments = [*map(repr, args), *(f"{name}={value!r}" for name, value in kwargs.items())]
    return f"{getattr(function, '__name__', repr(function))}({', '.join(arguments)})"


def call_from_sync(function: Callable[..., Any], args: Sequence[object], kwargs: Mapping[str, object]) -> Any:
    """
    Call a function from sync code, and await it here if it is async.

    Raises:
        TypeError: It can't be awaited here.
    """
    if not iscoroutinefunction(function):
        return function(*args, **kwargs)
    refuse_in_task(function)

    async def awaited() -> Any:
        return await function(*args, **kwargs)

    return async_to_sync(awaited)()


def refuse_in_task(function: Callable[..., object]) -> None:
    """
    Refuse to await an async function where the thread runs a loop already.

    Raises:
        TypeError: It does.
    """
    if iscoroutinefunction(function) and asyncio._get_running_loop() is not None:  # noqa: SLF001 -- the one that raises nothing
        msg = (
            f"{function!r} is async, and sync code can't await it inside a task: use `async with` and the `a` twins, "
            "or `await sync_to_async(...)()` around a check."
        )
        raise TypeError(msg)


# --- what a failure says ---


def _fail_with(fault: str) -> None:
    __tracebackhide__ = True
    if fault:
        raise AssertionError(fault)


def _explains(event: Event) -> bool:
    """Tell whether this befell a namespace, of which an event does not say whose it is: so a miss may come of it."""
    return not event.function and event.kind in _ENDS


def _about_mode() -> str:
    mode = current_mode()
    if mode == "on":
        return ""
    return f" (The mode is {mode!r} here, in which the cache serves nothing: run the test with cache_mode('on').)"


def _listed(events: Sequence[Event]) -> str:
    return "".join(f"\n{number}. {_line(event)}" for number, event in enumerate(events, 1))


def _line(event: Event) -> str:
    pieces = [f"{event.kind:<11} {event.key or event.function}"]
    if event.seconds:
        pieces.append(f"{'saved' if event.kind == 'hit' else 'took'} {event.seconds:.3g} s")
    if event.reason:
        pieces.append(event.reason)
    if event.error is not None:
        pieces.append(f"{type(event.error).__name__}: {event.error}")
    return "; ".join(pieces)
