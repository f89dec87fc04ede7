"""What must not be cut short is done where no handler of a signal runs."""

import gc
import queue
import sys
import threading
from _thread import LockType, allocate_lock, start_new_thread
from collections.abc import Callable, Iterator
from concurrent.futures import _base, thread
from contextlib import suppress
from functools import partial
from itertools import count
from threading import Event, current_thread, main_thread
from types import FrameType
from typing import Any

import pytest
from django.test import override_settings

from cachedeco.auditing import later
from cachedeco.auditing.later import Delay
from cachedeco.runtime import background, conf, uninterrupted
from cachedeco.storage import shared_statistics
from tests.support.interrupts import WATCHED, Attempt, handled
from tests.support.programs import output_of
from tests.support.threads import PATIENCE_SECONDS, in_thread

OF_PYTHON = tuple(str(module.__file__) for module in (threading, queue, thread, _base, uninterrupted))

NONE_LEFT = """
from _thread import _count
from cachedeco.runtime.uninterrupted import uninterrupted
before = _count()
uninterrupted(int)
print(any(_count() == before for _ in range(10**6)))
"""


class WideAttempt(Attempt):
    """An attempt whose points are in Python's threads and executors, too."""

    @staticmethod
    def is_point(frame: FrameType, event: str, _argument: object) -> bool:
        """See `Attempt`."""
        return event in {"call", "c_return"} and frame.f_code.co_filename.startswith((*WATCHED, *OF_PYTHON))


def interrupted(act: Callable[[], object], begin_anew: Callable[[], object]) -> Iterator[WideAttempt]:
    """Act at first and once more, with an exception at each point of either; yield what has happened."""
    with handled():
        for is_first in (True, False):
            for point in count():
                begin_anew()
                if not is_first:
                    act()
                attempt = WideAttempt(point)
                attempt.run(act)
                if not attempt.fell:
                    assert point
                    break
                yield attempt


@pytest.fixture
def _own_pool() -> Iterator[None]:
    before = background._pool, later._later
    background._pool = None  # that of other tests must not be shut down
    yield
    background._pool, later._later = before


def _begin_pool() -> None:
    if background._pool is not None:
        background._pool.shutdown(wait=False)
    background._pool = None


@pytest.mark.usefixtures("_own_pool")
@pytest.mark.parametrize(
    ("submit", "begin_anew"), [(background.submit, _begin_pool), (Delay(0).submit, later.begin_anew)]
)
def test_interrupt_in_the_middle_of_submitting_keeps_no_one_from_it(
    submit: Callable[[Callable[[], object]], bool], begin_anew: Callable[[], object]
) -> None:
    """Work that another thread submits then is done: no lock stays taken, also none of all executors."""
    begin_anew()
    for attempt in interrupted(lambda: submit(int), begin_anew):
        done = Event()
        assert in_thread(lambda done=done: submit(done.set)), attempt.fell  # type: ignore[misc] # a default
        assert done.wait(PATIENCE_SECONDS), attempt.fell
    _begin_pool()


def test_interrupt_while_counts_begin_to_be_shared_leaves_no_thread_that_can_not_begin() -> None:
    """Where the thread was started it writes, and ends."""
    with override_settings(CACHEDECO={"SHARED_STATISTICS": 3600}):
        for attempt in interrupted(lambda: shared_statistics.begin(conf.settings()), shared_statistics.end):
            shared_statistics.begin(conf.settings())
            assert shared_statistics._sharing is not None, attempt.fell
        shared_statistics.end()


def test_main_thread_has_another_one_call() -> None:
    """The result is the function's; another thread calls itself, as no handler runs there."""
    others = uninterrupted.uninterrupted(current_thread)

    assert others is not main_thread()
    assert in_thread(lambda: uninterrupted.uninterrupted(current_thread) is current_thread())


def test_outcome_is_what_the_function_returns_or_raises() -> None:
    """There is one in any case, and the caller does not wait for ever."""
    outcomes: queue.SimpleQueue[uninterrupted.Outcome] = queue.SimpleQueue()
    error = SystemExit()

    def fail() -> None:
        raise error

    uninterrupted._call(lambda: 7, outcomes)
    uninterrupted._call(fail, outcomes)

    assert [(7, None), (None, error)] == [outcomes.get(), outcomes.get()]


@pytest.mark.parametrize("kind", [ValueError, SystemExit])
def test_exception_of_the_function_is_raised(kind: type[BaseException]) -> None:
    """And the next function is called."""

    def fail() -> None:
        raise kind

    with pytest.raises(kind):
        uninterrupted.uninterrupted(fail)
    assert 7 == uninterrupted.uninterrupted(lambda: 7)


def test_function_is_called_although_the_wait_for_it_is_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception that comes before it is handed over prevents the call, and one that comes later does not."""
    calls: list[int] = []
    counts = []

    begun: list[LockType] = []

    def start(call: Callable[..., object], given: tuple[Any, ...]) -> None:
        lock = allocate_lock()
        lock.acquire()
        begun.append(lock)

        def run() -> None:
            call(*given)
            lock.release()

        start_new_thread(run, ())

    monkeypatch.setattr(uninterrupted, "start_new_thread", start)

    for _ in interrupted(lambda: uninterrupted.uninterrupted(partial(calls.append, 1)), calls.clear):
        while begun:  # what was handed over is done
            assert begun.pop().acquire(timeout=PATIENCE_SECONDS)
        counts.append(len(calls))

    assert {0, 1, 2} == set(counts)


def test_nothing_is_called_while_the_interpreter_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread runs no more then, and a caller would wait for ever."""
    monkeypatch.setattr(sys, "is_finalizing", lambda: True)

    with pytest.raises(RuntimeError, match="the interpreter is ending"):
        uninterrupted.uninterrupted(int)
    assert not background.submit(int)


def test_no_thread_is_left() -> None:
    """Python aborts at the end of a sub-interpreter that has one left, and a forked child does not have it."""
    assert "True\n" == output_of("-c", NONE_LEFT)


def test_exception_is_in_no_reference_cycle() -> None:
    """What the caller's frames hold is freed with it."""

    def fail() -> None:
        raise ValueError

    gc.collect()
    gc.disable()
    try:
        with suppress(ValueError):
            uninterrupted.uninterrupted(fail)
        assert not gc.collect()
    finally:
        gc.enable()
