"""Assertions about cached functions, in the style of `assertNumQueries`: a failure lists the events."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Any, Final, ParamSpec, TypeAlias
from unittest import TestCase

from asgiref.sync import async_to_sync, iscoroutinefunction, sync_to_async

from cachedeco.functions.admission import BypassError, admit_many
from cachedeco.functions.base import CachedFunction
from cachedeco.functions.bulk import AsyncCachedQueryMany, CachedQueryMany
from cachedeco.functions.bulk_calls import BulkCall
from cachedeco.functions.calls import MISSING
from cachedeco.functions.single import AnyCachedQuery
from cachedeco.keys.signatures import parameters_of
from cachedeco.loading.lookup import look_up
from cachedeco.loading.policy import CachePolicy
from cachedeco.runtime.events import Event, Kind
from cachedeco.runtime.hooks import listening, runs_anywhere
from cachedeco.runtime.modes import current_mode
from cachedeco.runtime.reprs import format_arguments, repr_of, shorten, shorten_error
from cachedeco.runtime.units import counted
from cachedeco.storage.connections import is_isolated
from cachedeco.testing.isolation import isolated_test
from cachedeco.testing.outages import fault_of

P = ParamSpec("P")
AnyCached: TypeAlias = AnyCachedQuery[P, Any] | CachedQueryMany[P, Any, Any] | AsyncCachedQueryMany[P, Any, Any]

_NOT_ISOLATED: Final = (
    "{function} was served an entry from before the block, and nothing isolates the caches: it may be that of another "
    "test, or of another user of the server. Derive the test class from CacheAssertions, before TestCase; decorate the "
    "test with cache_mode('on'); or isolate the run, by TEST_RUNNER = 'cachedeco.testing.IsolatedCacheRunner', or by "
    "cachedeco_tests = isolated for pytest."
)
_ENDS: Final = frozenset[Kind]({"invalidated", "invalidation_delayed", "invalidation_lost", "error"})


@contextmanager
def capture_events(*functions: CachedFunction[..., Any]) -> Generator[list[Event]]:
    """
    Give the list of events in a block, of every thread of the process, in order.

    Args:
        functions: The functions whose events to list. Default: all functions and namespaces.
    """
    names = set(map(name_of, functions))
    events: list[Event] = []

    @runs_anywhere
    def append(event: Event) -> None:
        if not names or event.function in names:
            events.append(event)

    with listening(append):
        yield events


def assert_computations(function: CachedFunction[..., Any], number: int, /) -> "CountAssertion":
    """
    Fail unless a cached function is computed *number* times in a block: all calls, in all threads of the process.

    ::

        with assert_computations(club_classes, 1):
            self.client.get("/clubs/7/")
            self.client.get("/clubs/7/")

    Gives the list of the function's events in the block. A computation that raises counts only if *cache_exceptions*
    names the exception, which is then a result. `async with` works too.

    Fails also if the caches are not isolated, and a call was served what may have been there before the test.
    """
    return CountAssertion("computed", "computation", function, number)


def assert_hits(function: CachedFunction[..., Any], number: int, /) -> "CountAssertion":
    """Fail unless *number* calls are hits in a block; otherwise as `assert_computations()`."""
    return CountAssertion("hit", "hit", function, number)


def assert_misses(function: CachedFunction[..., Any], number: int, /) -> "CountAssertion":
    """Fail unless *number* calls are misses in a block; otherwise as `assert_computations()`."""
    return CountAssertion("miss", "miss", function, number)


def assert_invalidates(function: AnyCached[P], /, *args: P.args, **kwargs: P.kwargs) -> "EntryAssertion":
    """
    Fail unless a block ends the entry of one call: the entry from before the block is not served any more.

    Of a call over many ids, the entries of all of them.

    ::

        with assert_invalidates(club_classes, club):
            self.client.post("/classes/3/move/")

    The entry may end by an invalidation of the call, its function or a namespace, or by being replaced. Inside
    `atomic()` an invalidation counts at once, for this connection. If there is no entry, the call is computed first.
    In async code, and for async functions there, use `async with`.
    """
    return EntryAssertion(function, args, kwargs, ends=True)


def assert_keeps(function: AnyCached[P], /, *args: P.args, **kwargs: P.kwargs) -> "EntryAssertion":
    """Fail if a block ends the entry of one call: the opposite of `assert_invalidates()`."""
    return EntryAssertion(function, args, kwargs, ends=False)


class CacheAssertions:
    """
    The assertions as methods, for a `TestCase`.

    ::

        class ClubPageTests(CacheAssertions, TestCase):
            def test_page_computes_once(self):
                with self.assertComputations(club_classes, 1): ...

    Each test begins with empty caches, also with a runner that isolates nothing.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """
        Refuse a test class whose `run()` Python finds before that of the mixin: its tests would not be isolated.

        Raises:
            TypeError: The mixin stands behind the TestCase.
        """
        super().__init_subclass__(**kwargs)
        if issubclass(cls, TestCase) and cls.__mro__.index(CacheAssertions) > cls.__mro__.index(TestCase):
            first = next(each.__name__ for each in cls.__bases__ if issubclass(each, TestCase))
            msg = f"{cls.__name__} isolates nothing: write class {cls.__name__}(CacheAssertions, {first})."
            raise TypeError(msg)

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Run the test with isolated caches."""
        with isolated_test():
            return super().run(*args, **kwargs)  # type: ignore[misc] # of the TestCase behind

    def debug(self) -> None:
        """Run the test as `run()` does, without a result."""
        with isolated_test():
            super().debug()  # type: ignore[misc] # as above

    assertComputations = staticmethod(assert_computations)  # noqa: N815 -- unittest's style of names
    assertHits = staticmethod(assert_hits)  # noqa: N815
    assertMisses = staticmethod(assert_misses)  # noqa: N815

    # Not as the others: type checkers would not tie the arguments to the function.
    @staticmethod
    def assertInvalidates(function: AnyCached[P], /, *args: P.args, **kwargs: P.kwargs) -> "EntryAssertion":  # noqa: N802
        """Do as `assert_invalidates()`."""
        return assert_invalidates(function, *args, **kwargs)

    @staticmethod
    def assertKeeps(function: AnyCached[P], /, *args: P.args, **kwargs: P.kwargs) -> "EntryAssertion":  # noqa: N802
        """Do as `assert_keeps()`."""
        return assert_keeps(function, *args, **kwargs)


class EventAssertion(ABC):
    """A block that fails because of its events. A class, so that its frames can be hidden from the traceback."""

    def __init__(self, function: CachedFunction[..., Any]) -> None:
        """Store the function; the cache is not read before the block begins."""
        self._function = function
        self._name = name_of(function)
        self._listening = ExitStack()
        self._events: list[Event] = []

    def __enter__(self) -> list[Event]:
        """Begin, and give the list of the events in the block."""
        __tracebackhide__ = True
        _fail_with(self._begin())
        return self._listen()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Fail if the events are wrong, unless the block has raised."""
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
        """Prepare the block, and return why it can't begin; empty if it can."""
        return ""

    def _listen(self) -> list[Event]:
        self._events = self._listening.enter_context(capture_events())
        return self._events

    @abstractmethod
    def _fault(self) -> str:
        """Return what is wrong after the block; empty if nothing is."""

    def _about_cache(self) -> str:
        """Return why the function may not be served from its cache: its mode, or a cache that does not work."""
        return about_cache(self._function)


class CountAssertion(EventAssertion):
    """A block in which a function must have a number of events of one kind."""

    def __init__(self, kind: Kind, word: str, function: CachedFunction[..., Any], expected: int) -> None:
        """
        Store the kind and the number.

        Raises:
            TypeError: It is no number.
        """
        super().__init__(function)
        if not isinstance(expected, int) or isinstance(expected, bool) or expected < 0:
            words = "misses" if word == "miss" else f"{word}s"
            msg = (
                f"{repr_of(expected)} is no number of {words}: it takes 0 or more, and counts calls with any arguments."
            )
            raise TypeError(msg)
        self._kind = kind
        self._word = word
        self._expected = expected

    def _listen(self) -> list[Event]:
        super()._listen()
        return self._listening.enter_context(capture_events(self._function))

    def _fault(self) -> str:
        own = [event for event in self._events if event.function == self._name]
        found = sum(event.kind == self._kind for event in own)
        if found == self._expected:
            return _NOT_ISOLATED.format(function=self._name) if _served_from_before(own) else ""
        relevant = [event for event in self._events if event.function == self._name or _explains(event)]
        what = counted(found, self._word, "misses" if self._word == "miss" else "")
        happened = _format_events(relevant) if own else " nothing happened to it."
        return f"{what} of {self._name}, {self._expected} expected:{happened}{self._about_cache()}"


class EntryAssertion(EventAssertion):
    """A block in which the entry of one call must end, or must not."""

    def __init__(
        self,
        function: AnyCached[...],
        args: Sequence[object],
        kwargs: Mapping[str, object],
        *,
        ends: bool,
    ) -> None:
        """Store the call."""
        super().__init__(function)
        self._call: Any = function.call(*args, **kwargs)
        self._is_many = isinstance(self._call, BulkCall)
        self._ends = ends
        self._call_text = format_call(function, args, kwargs)
        self._found: dict[object, object] = {}

    def _begin(self) -> str:
        with capture_events(self._function) as events:
            if self._is_many or self._call.peek() is MISSING:
                call_from_sync(self._call, (), {})
        self._found = self._entries()
        if self._found and None not in self._found.values():
            return ""
        return (
            f"Nothing could be stored for {self._call_text}, so nothing can be invalidated.{self._about_cache()} "
            f"Events:{_format_events(events)}"
        )

    def _fault(self) -> str:
        entries = self._entries()
        wrong = [each for each, entry in self._found.items() if (entries.get(each) == entry) is self._ends]
        if not wrong:
            return ""
        what = "still served." if self._ends else f"not served any more. {self._why_not_served(wrong[0])}"
        one_id = f" for {repr_of(wrong[0])}" if self._is_many else ""
        ends = [event for event in self._events if event.kind in _ENDS]
        listed = f"Invalidated in the block:{_format_events(ends)}" if ends else "Nothing was invalidated in the block."
        return f"The entry of {self._call_text}{one_id} is {what} {listed}"

    def _why_not_served(self, one_id: object) -> str:
        """Return as a sentence why the entry from before the block is not served."""
        explained = self._call.explain()[one_id] if self._is_many else self._call.explain()
        if explained.outcome in {"hit", "stale"}:
            return "Another one has taken its place."
        return str(explained).partition("\n")[0]

    def _entries(self) -> dict[object, object]:
        """Return the entries as they are stored, fresh or stale, by id; None for one that this connection can't use."""
        try:
            policy, keys = self._admit()
        except BypassError:
            return {}
        found = zip(keys, look_up(policy, [*keys.values()]), strict=True)
        return {each: one.raw[one.key] if one.raw and one.entry else None for each, one in found}

    def _admit(self) -> tuple[CachePolicy, Mapping[object, list[str]]]:
        """Return the policy, and the keys by id; one, of any name, if the function takes no ids."""
        if self._is_many:
            admitted = admit_many(self._call._spec, self._call._bulk_arguments)  # noqa: SLF001 -- as below
            return admitted.policy, admitted.read_keys
        policy, keys = self._call._admit()  # noqa: SLF001 -- peek() gives only the value
        return policy, {None: keys}


def name_of(function: object) -> str:
    """
    Return the name of a cached function in events.

    Raises:
        TypeError: It is no cached function.
    """
    if not isinstance(function, CachedFunction):
        msg = f"{repr_of(function)} is no cached function; the assertions take one that cached_query decorates."
        raise TypeError(msg)
    return function._spec.name


def refuse_many(function: object, what: str) -> None:
    """
    Refuse a function over many ids.

    Raises:
        TypeError: It is one.
    """
    if isinstance(function, CachedQueryMany | AsyncCachedQueryMany):
        msg = f"{what} takes a function of one value, and {name_of(function)} takes many ids: use check_transparent()."
        raise TypeError(msg)


def format_call(function: Callable[..., object], args: Sequence[object], kwargs: Mapping[str, object]) -> str:
    """Return a call as source text."""
    return (
        f"{getattr(function, '__name__', repr_of(function))}({format_arguments(parameters_of(function), args, kwargs)})"
    )


def call_from_sync(function: Callable[..., Any], args: Sequence[object], kwargs: Mapping[str, object]) -> Any:
    """
    Call a function from sync code, and await it here if it is async.

    Raises:
        TypeError: It is async, and this thread runs an event loop.
    """
    if not iscoroutinefunction(function):
        return function(*args, **kwargs)
    refuse_in_task(function)

    async def awaited() -> Any:
        return await function(*args, **kwargs)

    return async_to_sync(awaited)()


def refuse_in_task(function: Callable[..., object]) -> None:
    """
    Refuse to await an async function in a thread that runs an event loop.

    Raises:
        TypeError: The function is async, and this thread runs an event loop.
    """
    if iscoroutinefunction(function) and asyncio._get_running_loop() is not None:  # noqa: SLF001 -- get_running_loop() raises without a loop
        msg = (
            f"{function!r} is async, and sync code can't await it inside a task: use `async with` and the `a` twins, "
            "or `await sync_to_async(...)()` around a check."
        )
        raise TypeError(msg)


# --- texts of failures ---


def _fail_with(fault: str) -> None:
    __tracebackhide__ = True
    if fault:
        raise AssertionError(fault)


def _served_from_before(events: Sequence[Event]) -> bool:
    """Tell whether a call was served an entry that the block has not stored, while nothing isolates the caches."""
    stored: set[str] = set()
    for event in events:
        if event.kind == "stored":
            stored.add(event.key)
        elif event.kind in {"hit", "stale"} and event.key not in stored and not is_isolated():
            return True
    return False


def _explains(event: Event) -> bool:
    """Tell whether an event of a namespace may explain a miss: it does not name the functions."""
    return not event.function and event.kind in _ENDS


def about_cache(function: CachedFunction[..., Any]) -> str:
    """Return, for the text of a failure, why a function may not be served from its cache; empty if it may be."""
    mode = current_mode()
    if mode == "on":
        return fault_of(function._spec.resolve().policy.store)
    return f" (The mode is {mode!r} here, in which the cache serves nothing: run the test with cache_mode('on').)"


def _format_events(events: Sequence[Event]) -> str:
    return "".join(f"\n{number}. {_format_event(event)}" for number, event in enumerate(events, 1))


def _format_event(event: Event) -> str:
    pieces = [f"{event.kind:<11} {shorten(event.key) or event.function}"]
    if event.seconds:
        pieces.append(f"{'saved' if event.kind == 'hit' else 'took'} {event.seconds:.3g} s")
    if event.reason:
        pieces.append(event.reason)
    if event.error is not None:
        pieces.append(shorten_error(event.error))
    return "; ".join(pieces)
