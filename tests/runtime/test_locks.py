"""Locks that an interrupt leaves taken on no version of Python."""

import threading
from collections.abc import Callable
from itertools import count
from types import FrameType
from typing import Any

import pytest

from cachedeco.runtime import locks
from cachedeco.runtime.locks import LockOfPython314
from tests.support.interrupts import Attempt, handled
from tests.support.threads import in_thread


class AttemptHere(Attempt):
    """An attempt whose points are in this module, and in that of the locks."""

    @staticmethod
    def is_point(frame: FrameType, event: str, _argument: object) -> bool:
        """See `Attempt`."""
        return event in {"call", "c_return"} and frame.f_code.co_filename in {__file__, locks.__file__}


class TakenByACall(LockOfPython314):
    """The control: the call that takes the lock is a point, as that of `with` is on Python 3.14."""

    def __enter__(self) -> Any:
        """Take the lock."""
        return self.acquire()


def is_free(lock: Any) -> bool:
    """Tell whether another thread can take a lock, and give it back."""

    def take() -> bool:
        taken: bool = lock.acquire(blocking=False)
        if taken:
            lock.release()
        return taken

    return in_thread(take)


def stays_taken(lock: Any) -> bool:
    """Tell whether an exception of a signal, at any point, leaves a lock taken."""

    def hold() -> None:
        with lock:
            assert not is_free(lock)

    with handled():
        for point in count():
            attempt = AttemptHere(point)
            attempt.run(hold)
            if not attempt.fell:
                assert point
                return False
            if not is_free(lock):
                return True
    return False


def test_interrupt_leaves_no_lock_taken() -> None:
    """Where the handler of a signal can raise, the lock is not taken yet, or the block gives it back."""
    assert not stays_taken(LockOfPython314())


def test_interrupt_leaves_a_lock_taken_that_a_call_takes() -> None:
    """As the control shows, such a point is met."""
    assert stays_taken(TakenByACall())


@pytest.mark.parametrize("make", [LockOfPython314, locks.RLock])
def test_lock_is_reentrant_and_exclusive(make: Callable[[], Any]) -> None:
    """Its own thread takes it again, and another one only when it is given back as often."""
    lock = make()
    with lock:
        with lock:
            assert not is_free(lock)
        assert not is_free(lock)
    assert is_free(lock)


def test_forked_child_can_renew_a_lock() -> None:
    """`threading` itself does so with its own, and a subclass has what that needs."""
    assert issubclass(LockOfPython314, type(threading.RLock()))
