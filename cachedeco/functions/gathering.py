"""
`gather()` and `agather()`: the results of several calls, by one command of each cache for all that are hits.

All calls are looked up together, as the ids of one call are. What is not stored is then loaded as by a call of its own:
one after another in sync code, together in async code. Once a computation of the gather has run, sync code looks a
call up again before it computes: the call may be equal to one before it, or may have been made inside it, and its
tokens may have changed.
"""

import asyncio
from collections.abc import Awaitable, Iterable, Sequence
from inspect import iscoroutine
from itertools import chain
from typing import Any, NoReturn, TypeVar, cast, overload

from asgiref.sync import sync_to_async

from cachedeco.functions.base import CachedFunction
from cachedeco.functions.calls import BaseCall, SyncCall
from cachedeco.functions.work import Work
from cachedeco.loading.effects import arun, run
from cachedeco.loading.found import Found, Wanted
from cachedeco.loading.lookup import recall_or_look_up
from cachedeco.loading.lookup_on_loop import recall_or_look_up_on_loop
from cachedeco.runtime.hooks import emit_hit
from cachedeco.runtime.interrupts import pass_interrupt

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
E = TypeVar("E")
F = TypeVar("F")

Calls = Sequence[BaseCall[Any, Any]]


@overload
def gather(a: SyncCall[A], /) -> tuple[A]: ...
@overload
def gather(a: SyncCall[A], b: SyncCall[B], /) -> tuple[A, B]: ...
@overload
def gather(a: SyncCall[A], b: SyncCall[B], c: SyncCall[C], /) -> tuple[A, B, C]: ...
@overload
def gather(a: SyncCall[A], b: SyncCall[B], c: SyncCall[C], d: SyncCall[D], /) -> tuple[A, B, C, D]: ...
@overload
def gather(
    a: SyncCall[A], b: SyncCall[B], c: SyncCall[C], d: SyncCall[D], e: SyncCall[E], /
) -> tuple[A, B, C, D, E]: ...
@overload
def gather(
    a: SyncCall[A], b: SyncCall[B], c: SyncCall[C], d: SyncCall[D], e: SyncCall[E], f: SyncCall[F], /
) -> tuple[A, B, C, D, E, F]: ...
@overload
def gather(*calls: SyncCall[A]) -> tuple[A, ...]: ...
def gather(*calls: Any) -> tuple[Any, ...]:
    """
    Return the results of several calls, in their order; those that are stored by one command of each cache.

    ::

        classes, page, clubs = gather(club_classes.call(7), club_page.call(club), clubs_by_id.call([1, 2, 3]))

    The calls may be of any functions and methods, over many ids too, and equal: each result is a copy of its own.
    Those that are not stored are loaded one after another, as by calls. If calls raise, the exception of the first one
    in the order of the calls is raised, after all others are done and stored.

    All entries of one cache are asked for before all tokens. So the values that were stored, and not stale, were all
    valid at one moment, if this cache is one server. Across caches or servers, each value was valid at some moment
    after the gather began.

    Raises:
        TypeError: An argument is no call, or the call of an async function; or an argument of a call can't be in a
            key. Then nothing was asked for.
    """
    for each in calls:
        if not isinstance(each, SyncCall):
            _refuse("gather", each)
    gathered = _look_up(calls)
    if gathered.left:
        _load_in_order(calls, gathered)
    return gathered.results()


@overload
async def agather(a: BaseCall[Any, A], /) -> tuple[A]: ...
@overload
async def agather(a: BaseCall[Any, A], b: BaseCall[Any, B], /) -> tuple[A, B]: ...
@overload
async def agather(a: BaseCall[Any, A], b: BaseCall[Any, B], c: BaseCall[Any, C], /) -> tuple[A, B, C]: ...
@overload
async def agather(
    a: BaseCall[Any, A], b: BaseCall[Any, B], c: BaseCall[Any, C], d: BaseCall[Any, D], /
) -> tuple[A, B, C, D]: ...
@overload
async def agather(
    a: BaseCall[Any, A], b: BaseCall[Any, B], c: BaseCall[Any, C], d: BaseCall[Any, D], e: BaseCall[Any, E], /
) -> tuple[A, B, C, D, E]: ...
@overload
async def agather(
    a: BaseCall[Any, A],
    b: BaseCall[Any, B],
    c: BaseCall[Any, C],
    d: BaseCall[Any, D],
    e: BaseCall[Any, E],
    f: BaseCall[Any, F],
    /,
) -> tuple[A, B, C, D, E, F]: ...
@overload
async def agather(*calls: BaseCall[Any, A]) -> tuple[A, ...]: ...
async def agather(*calls: Any) -> tuple[Any, ...]:
    """
    Do as `gather()`, from async code, with calls of async and sync functions.

    Calls of async functions that are not stored are loaded together, each in a task; those of sync functions one after
    another, meanwhile, in the thread where Django keeps its connections.
    """
    for each in calls:
        if not isinstance(each, BaseCall):
            _refuse("agather", each)
    gathered = await _look_up_on_loop(calls)
    if gathered.left:
        await _load_together(calls, gathered)
    return gathered.results()


class _Gathered:
    """The results of calls so far, by their numbers."""

    __slots__ = ("errors", "left", "values")

    def __init__(self) -> None:
        """Begin with none."""
        self.values: list[Any] = []
        self.left: dict[int, Work] = {}  #: what leads to the results that are not stored
        self.errors: dict[int, Exception] = {}

    def results(self) -> tuple[Any, ...]:
        """Return the values, or raise the exception of the first call that has raised one."""
        if self.errors:
            try:
                raise self.errors[min(self.errors)]
            finally:
                self.errors = {}  # or an exception in it and the frames that hold this would be a reference cycle
        return tuple(self.values)


def _look_up(calls: Calls) -> _Gathered:
    """Look all calls up together, and serve what is stored."""
    wanted: list[Wanted] = []
    asked = [call._ask(wanted) for call in calls]
    return _serve(calls, asked, recall_or_look_up(wanted) if wanted else ())


async def _look_up_on_loop(calls: Calls) -> _Gathered:
    """Do as `_look_up()`, for async code: if all are hits that need no thread, they are served here."""
    wanted: list[Wanted] = []
    asked = [call._ask_on_loop(wanted) for call in calls]
    results = await recall_or_look_up_on_loop(wanted) if wanted and None not in asked else None
    if results is None:
        return await sync_to_async(_look_up)(calls)
    if callable(results):
        return await sync_to_async(lambda: _serve(calls, asked, results()))()
    return _serve(calls, asked, results)


def _serve(calls: Calls, asked: Sequence[object], found: Iterable[Found]) -> _Gathered:
    """Serve what a look-up has found; *asked* are what the calls have said of it."""
    results = iter(found)
    gathered = _Gathered()
    values = gathered.values
    for call, admitted in zip(calls, asked, strict=True):
        if type(admitted) is tuple:  # for one entry, and nearly always a plain hit: as of a call alone
            one = next(results)
            entry = one.entry
            if entry is not None and one.raw is None and not entry.is_error:
                policy = admitted[0]
                emit_hit(policy.function, one.keys[0], policy.store.alias, entry.seconds)
                values.append(entry.value)
                continue
            results = chain([one], results)
        served: object = None
        try:
            served = admitted if type(admitted) is Work else call._serve_found(admitted, results)
        except Exception as error:  # noqa: BLE001 -- one that is stored
            pass_interrupt(error)
            gathered.errors[len(values)] = error
        if type(served) is Work:
            gathered.left[len(values)] = served
        values.append(served)
    return gathered


def _load_in_order(calls: Calls, gathered: _Gathered) -> None:
    """Do the work of the calls of sync functions, one after another."""
    computed: list[None] = []  # one for each computation
    for n, work in gathered.left.items():
        if not isinstance(calls[n], SyncCall):
            continue
        try:
            # Looked up again after a computation.
            gathered.values[n] = cast("Any", calls[n])() if computed else _run(work, computed)
        except Exception as error:  # noqa: BLE001 -- raised when the others are done
            pass_interrupt(error)
            gathered.errors[n] = error


def _run(work: Work, computed: list[None]) -> object:
    flow, compute = work

    def noted(*args: object) -> object:
        computed.append(None)
        return compute(*args)

    return run(flow, noted)


async def _load_together(calls: Calls, gathered: _Gathered) -> None:
    """Do the work of all calls."""
    tasks: list[Awaitable[object]] = [_load(gathered, n) for n in gathered.left if not isinstance(calls[n], SyncCall)]
    if len(tasks) < len(gathered.left):
        tasks.append(sync_to_async(_load_in_order)(calls, gathered))
    # With return_exceptions it waits for all of them, also after a cancellation: they clean up.
    for interrupt in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(interrupt, BaseException):
            raise interrupt


async def _load(gathered: _Gathered, n: int) -> None:
    try:
        gathered.values[n] = await arun(*gathered.left[n])
    except Exception as error:  # noqa: BLE001 -- raised when the others are done
        pass_interrupt(error)
        gathered.errors[n] = error


def _refuse(name: str, given: object) -> NoReturn:
    """
    Refuse what is no call that can be gathered, and say what to pass.

    Raises:
        TypeError: Always.
    """
    if isinstance(given, BaseCall):
        msg = f"{name}() got {given!r}, of an async function: await agather(...) takes it."
    elif isinstance(given, CachedFunction):
        msg = f"{name}() got {given!r}; it takes calls of it, which its call(...) returns for the arguments of a call."
    else:
        if iscoroutine(given):
            given.close()  # or Python warns that it was never awaited
        msg = (
            f"{name}() got an object of {type(given).__name__}; it takes calls, {name}(f.call(7), g.call()), "
            f"and several in a list as {name}(*calls)."
        )
    raise TypeError(msg)
