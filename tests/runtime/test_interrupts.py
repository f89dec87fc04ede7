"""Interrupts: exceptions of a signal's handler are told from those of the code that they interrupt."""

import functools
import signal
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest

from cachedeco.runtime.interrupts import is_interrupt, pass_interrupt
from cachedeco.storage.store import Store
from tests.support.forgetting import is_forgotten

Handler = Callable[[int, FrameType | None], Any]


class Expired(Exception):  # noqa: N818 -- as a deadline of the user's is called
    """Raised by handlers."""


def raise_expired(_number: int, _frame: FrameType | None) -> None:
    """Raise, as a handler that is a function."""
    raise Expired


class Deadline:
    """Handlers of other forms."""

    def expire(self, _number: int, _frame: FrameType | None) -> None:
        """Raise, as a handler that is a method."""
        raise Expired

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        """Raise, as a handler that is an object."""
        raise Expired


HANDLERS: dict[str, Handler] = {
    "function": raise_expired,
    "method": Deadline().expire,
    "object": Deadline(),
    "partial": functools.partial(functools.partial(Deadline().expire)),
}


@pytest.fixture
def handle() -> Iterator[Callable[[Handler], object]]:
    """Give the function that installs a handler until the test ends."""
    before = signal.getsignal(signal.SIGALRM)
    yield functools.partial(signal.signal, signal.SIGALRM)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("form", HANDLERS)
def test_exception_of_a_handler_is_an_interrupt(handle: Callable[[Handler], object], form: str) -> None:
    """Its frame stands in the traceback, for each form of a handler; where it was caught does not matter."""
    handle(HANDLERS[form])

    with pytest.raises(Expired) as caught:
        signal.raise_signal(signal.SIGALRM)

    assert is_interrupt(caught.value)
    with pytest.raises(Expired):
        pass_interrupt(caught.value)


def test_exception_of_other_code_is_none(handle: Callable[[Handler], object]) -> None:
    """The same class, raised by the code itself, is a result of that code."""
    handle(raise_expired)
    with pytest.raises(Expired) as caught:
        raise Expired

    assert not is_interrupt(caught.value)
    pass_interrupt(caught.value)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(), GeneratorExit()])
def test_exception_that_is_no_exception_is_an_interrupt(error: BaseException) -> None:
    """It needs no handler of a signal to be one."""
    assert is_interrupt(error)


@pytest.mark.parametrize("passes", [pass_interrupt, Store("default").pass_on], ids=["function", "store"])
def test_interrupt_that_is_let_go_is_gone(
    handle: Callable[[Handler], object], passes: Callable[[Exception], None]
) -> None:
    """
    With it goes what its frames hold: a flow is closed at once, and not when Python next looks for reference cycles.

    The defect: after an interrupted `gather()` the next call followed a flight of its own thread.
    """
    handle(raise_expired)

    def passed_on() -> None:
        try:
            signal.raise_signal(signal.SIGALRM)
        except Expired as error:
            passes(error)

    assert is_forgotten(passed_on, Expired)
