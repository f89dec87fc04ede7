"""Threads, tasks and processes that find the pause over at the same time: one probes, none waits for it."""

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from threading import Barrier

import pytest

from cachedeco import cached_query
from cachedeco.invalidation import retry_queue
from cachedeco.runtime import state
from cachedeco.storage import breaker
from tests.storage.failing.clocks import Clock, queue
from tests.support.backends import Commands
from tests.support.faults import faulty
from tests.support.interrupts import Attempt, handled
from tests.support.threads import PATIENCE_SECONDS, Gate, started

pytestmark = pytest.mark.usefixtures("faulty_backend")

THREADS = 16
# Of our code, that a probe of any outcome runs through.
FEWEST_POINTS = 9


@cached_query(name="race.double")
def double(number: int) -> int:
    """Return twice a number."""
    return 2 * number


def open_breaker(clock: Clock) -> None:
    """Have the cache fail, and let the pause pass."""
    with faulty(raises=TimeoutError):
        for _ in range(3):
            double(4)
    clock.advance(1)


def test_exactly_one_thread_probes(clock: Clock, commands: Commands) -> None:
    """Of sixteen threads that call at the same moment one asks the cache, which is still out."""
    open_breaker(clock)
    together = Barrier(THREADS)
    commands.clear()

    def call(number: int) -> int:
        together.wait(PATIENCE_SECONDS)
        return double(number)

    with faulty(raises=TimeoutError), ThreadPoolExecutor(THREADS) as pool:
        found = list(pool.map(call, range(THREADS)))

    assert ([2 * number for number in range(THREADS)], ["set_many"]) == (found, commands.names)


def test_no_caller_waits_for_the_one_that_probes(clock: Clock, commands: Commands) -> None:
    """While a probe hangs others go on without the cache, and their invalidations are noted."""
    gate = Gate()
    open_breaker(clock)
    commands.clear()
    gate.shut()

    with faulty("set_many", before=gate.wait_to_pass, times=1), started(lambda: double(4)) as probing:
        gate.wait_reached()
        found = double(5)
        double.invalidate(5)
        meanwhile = list(commands.names), len(queue())
        gate.open()
        probing.result(PATIENCE_SECONDS)

    assert (10, (["set_many"], 1)) == (found, meanwhile)


def test_invalidation_during_a_probe_keeps_the_breaker_open(clock: Clock) -> None:
    """A probe that succeeds does not make this process trust what it was told is old in the meantime."""
    gate = Gate()
    double(5)
    open_breaker(clock)
    gate.shut()

    with faulty("get_many", before=gate.wait_to_pass, times=1), started(lambda: double(4)) as probing:
        gate.wait_reached()
        double.invalidate(5)
        gate.open()
        probing.result(PATIENCE_SECONDS)

    computed = double.stats().computations
    double(5)

    assert (1, []) == (double.stats().computations - computed, queue())


class Interrupted:
    """A lock whose holder is interrupted, once, as it leaves it."""

    def __init__(self) -> None:
        """Begin as any lock."""
        self._lock = threading.RLock()
        self._interrupts = [KeyboardInterrupt()]

    def __enter__(self) -> None:
        """Take it."""
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        """Leave it; the first time by an interrupt."""
        self._lock.release()
        if self._interrupts:
            raise self._interrupts.pop()


def test_interrupt_before_the_probe_leaves_it_to_the_next(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller that a signal has stopped before its probe keeps no other one from probing."""
    open_breaker(clock)
    monkeypatch.setattr(breaker, "_lock", Interrupted())

    with pytest.raises(KeyboardInterrupt):
        double(4)
    clock.advance(60)
    double(4)

    assert {} == breaker.breakers


@pytest.mark.parametrize("answers", [True, False])
def test_interrupt_at_any_point_of_a_probe_leaves_the_next_to_another(answers: bool, clock: Clock) -> None:
    """Of a cache that answers, and of one that does not: what is owed is delivered, and the cache used again."""
    with handled():
        for point in count():
            breaker.enqueue_pending("default", {"key": breaker.PendingInvalidation("", None)}, retry_queue.flush)
            opened, attempt = breaker.breakers["default"], Attempt(point)
            clock.advance(1)
            attempt.run(lambda: opened.allows_request(lambda: answers))  # noqa: B023 -- called here
            clock.advance(60)

            assert opened.allows_request(lambda: True), attempt.fell
            double(4)
            assert {} == breaker.breakers, attempt.fell
            if not attempt.fell:
                break
    assert point > FEWEST_POINTS


def test_cache_may_be_used_by_who_interrupts(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The handler of a signal runs in the middle of anything, in the thread that may hold the lock."""
    nested: list[int] = []

    def interrupted(_least: float, most: float) -> float:
        if not nested and breaker._lock.acquire(blocking=False):
            breaker._lock.release()
            nested.append(0)
            nested.append(double(5))
        return most

    monkeypatch.setattr("cachedeco.storage.breaker.uniform", interrupted)

    open_breaker(clock)

    assert [0, 10] == nested


def test_fork_renews_the_lock_and_ends_the_probe() -> None:
    """The same within this process: the child does not wait for anything that a thread of the parent holds."""
    breaker.enqueue_pending("default", {"key": breaker.PendingInvalidation("", None)}, retry_queue.flush)
    opened = breaker.breakers["default"]
    opened.probing = True
    with breaker._lock:
        state.reset_in_child()

        breaker.reset()

    assert (False, {}) == (opened.probing, breaker.breakers)


def in_child(work: Callable[[], int]) -> int:
    """Return what some work gives in a forked child."""
    child = os.fork()
    if not child:
        os._exit(work())
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # that there are threads is the point
def test_forked_child_does_not_wait_for_a_thread_that_is_not_there(clock: Clock) -> None:
    """A child whose parent's other thread was probing, with the lock in its hand, probes itself, and delivers too."""
    with faulty("set_many", raises=TimeoutError):
        double.invalidate(4)
    clock.advance(1)
    opened = breaker.breakers["default"]
    opened.probing = True
    held = threading.Event()

    def work() -> int:
        double.peek(4)
        return len(queue())

    def hold() -> None:
        with breaker._lock:
            held.set()
            gate.wait_to_pass()

    gate = Gate()
    gate.shut()
    with started(hold):
        held.wait(PATIENCE_SECONDS)
        left_in_child = in_child(work)
        gate.open()
    state.probing = False

    assert (0, 1) == (left_in_child, len(queue()))
