"""What must not be cut short is done where no handler of a signal runs."""

import queue
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import _base, thread
from functools import partial
from itertools import count
from threading import Event, current_thread, main_thread
from types import FrameType

import pytest
from django.test import override_settings

from cachedeco.auditing import later
from cachedeco.auditing.later import Delay
from cachedeco.runtime import background, conf, uninterrupted
from cachedeco.storage import shared_statistics
from tests.support.interrupts import WATCHED, Attempt, handled
from tests.support.threads import PATIENCE_SECONDS, in_thread

OF_PYTHON = tuple(str(module.__file__) for module in (threading, queue, thread, _base, uninterrupted))


class WideAttempt(Attempt):
    """An attempt whose points are in Python's threads and executors, too."""

    @staticmethod
    def is_point(frame: FrameType, event: str) -> bool:
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
    background._pool = None
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
    assert others is uninterrupted.uninterrupted(current_thread)
    assert in_thread(lambda: uninterrupted.uninterrupted(current_thread) is current_thread())


@pytest.mark.parametrize("kind", [ValueError, SystemExit])
def test_exception_of_the_function_is_raised(kind: type[BaseException]) -> None:
    """And the next function is called."""

    def fail() -> None:
        raise kind

    with pytest.raises(kind):
        uninterrupted.uninterrupted(fail)
    assert 7 == uninterrupted.uninterrupted(lambda: 7)


def test_function_is_called_although_the_wait_for_it_is_interrupted() -> None:
    """An exception that comes before it is handed over prevents the call, and one that comes later does not."""
    calls: list[int] = []
    counts = []

    for _ in interrupted(lambda: uninterrupted.uninterrupted(partial(calls.append, 1)), calls.clear):
        uninterrupted.uninterrupted(int)  # what was handed over before is done
        counts.append(len(calls))

    assert {0, 1, 2} == set(counts)


def test_nothing_is_called_while_the_interpreter_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread runs no more then, and a caller would wait for ever."""
    monkeypatch.setattr(sys, "is_finalizing", lambda: True)

    with pytest.raises(RuntimeError, match="the interpreter is ending"):
        uninterrupted.uninterrupted(int)
    assert not background.submit(int)


def test_forked_child_has_a_thread_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its parent's is not there."""
    parents = uninterrupted._calls
    monkeypatch.setattr(uninterrupted, "_calls", parents)
    monkeypatch.setattr(uninterrupted, "_is_served", True)

    uninterrupted.begin_anew()

    assert uninterrupted._calls is not parents
    assert 7 == uninterrupted.uninterrupted(lambda: 7)
