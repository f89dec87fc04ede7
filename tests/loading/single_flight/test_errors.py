"""A computation that others wait for raises: each gets the error, and none stores it."""

import asyncio
import gc
import weakref
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Self

import pytest
from asgiref.sync import SyncToAsync

from tests.loading.single_flight.callers import Boarding
from tests.support.sides import Side, both
from tests.support.threads import Gate, started


class Boom(Exception):  # noqa: N818 -- only a test's
    """What the user's function raises."""


class Reworded(Exception):  # noqa: N818 -- as above
    """Takes something else than it hands on: made anew by its arguments, it would say something else."""

    def __init__(self, code: int, *, where: str = "here") -> None:
        """Make the text."""
        super().__init__(f"code {code} {where}")
        self.code = code


class Keyworded(Exception):  # noqa: N818 -- as above
    """Can't be made anew by its arguments."""

    def __init__(self, *, code: int) -> None:
        """Keep the code."""
        super().__init__(f"code {code}")
        self.code = code


class Alone(Exception):  # noqa: N818 -- as above
    """Can't be made anew at all."""

    def __new__(cls, *, secret: str, **_: Any) -> Self:
        """Refuse to be made without it."""
        return super().__new__(cls, secret)

    def __init__(self, **_: Any) -> None:
        """Take it."""


def raised(call: Callable[[], object]) -> BaseException:
    """Return what a call raises."""
    try:
        call()
    except BaseException as error:  # noqa: BLE001 -- any is given back
        return error
    pytest.fail("nothing was raised")


def ends(side: Side, boarding: Boarding, error: BaseException, followers: int = 2) -> list[BaseException]:
    """Return what leader and followers get of a computation that raises."""
    gate = Gate()
    gate.shut()

    @side.cached(ignore=("gate", "error"))
    def value() -> None:
        gate.wait_to_pass()
        raise error

    with ExitStack() as threads:
        leader = threads.enter_context(started(lambda: raised(lambda: side.call(value))))
        gate.wait_reached()
        others = [threads.enter_context(started(lambda: raised(lambda: side.call(value)))) for _ in range(followers)]
        boarding.wait_for_followers(followers)
        gate.open()
    return [each.result() for each in (leader, *others)]


# --- it raises ---


@both
def test_error_reaches_those_who_waited(side: Side, boarding: Boarding) -> None:
    """The leader gets the error itself, each of the others a copy with a traceback that ends where it was raised."""
    error = Boom("text", 7)

    leader, *others = ends(side, boarding, error)

    assert error is leader
    assert [("text", 7)] * 2 == [each.args for each in others]
    assert 3 == len({id(each) for each in (leader, *others)})
    assert 1 == boarding.leaders
    for each in (leader, *others):
        names = []
        trace = each.__traceback__
        while trace:
            names.append(trace.tb_frame.f_code.co_name)
            trace = trace.tb_next
        assert "value" == names[-1]


@both
@pytest.mark.parametrize(
    "error",
    [Reworded(7, where="there"), Keyworded(code=7), OSError(2, "no such thing", "file"), KeyError("key"), Boom()],
    ids=lambda error: type(error).__name__,
)
def test_copy_of_an_error_says_the_same(side: Side, error: Exception, boarding: Boarding) -> None:
    """A copy has the text and the attributes of any exception, and is none of the others."""
    _, first, second = ends(side, boarding, error)

    assert [(type(error), str(error), vars(error))] * 2 == [
        (type(each), str(each), vars(each)) for each in (first, second)
    ]
    assert 3 == len({id(error), id(first), id(second)})


def test_copy_of_an_error_has_its_cause_and_notes(boarding: Boarding) -> None:
    """What an error was raised from is told to everybody, and a note that one caller adds only to that one."""
    error, cause = Boom(), ValueError("cause")
    error.__cause__ = cause
    error.add_note("note")

    _, first, second = ends(Side(is_async=False), boarding, error)
    first.add_note("of the first")

    assert [cause] * 2 == [first.__cause__, second.__cause__]
    assert (True, ["note"]) == (second.__suppress_context__, second.__notes__)


def test_error_that_has_no_copy_is_shared(boarding: Boarding) -> None:
    """An error that can't be made anew is better than none."""
    error = Alone(secret="s")  # noqa: S106 -- no password

    assert [error] * 3 == ends(Side(is_async=False), boarding, error)


@both
def test_error_is_not_cached(side: Side) -> None:
    """The next call computes."""
    outcomes: list[Any] = [Boom(), "value"]

    @side.cached(ignore=("outcomes",))
    def value() -> str:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return str(outcome)

    with pytest.raises(Boom):
        side.call(value)

    assert "value" == side.call(value)


@both
def test_error_and_frames_do_not_keep_each_other_alive(side: Side) -> None:
    """What the function has raised goes when its caller lets it go, and with it what its frames hold."""

    @side.cached()
    def value() -> None:
        raise Boom

    def forgotten() -> weakref.ref[BaseException]:
        return weakref.ref(raised(value))

    async def aforgotten() -> weakref.ref[BaseException]:
        # Caught in here: asyncio makes such circles itself.
        try:
            await value()
        except Boom as error:
            return weakref.ref(error)
        pytest.fail("nothing was raised")

    gc.disable()
    try:
        kept = asyncio.run(aforgotten()) if side.is_async else forgotten()
        SyncToAsync.single_thread_executor.submit(int).result()  # the thread of the last step has let go of it, too
        assert kept() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("error", [TimeoutError, StopIteration, asyncio.QueueEmpty])
def test_sync_function_may_raise_what_drivers_use(error: type[Exception], boarding: Boarding) -> None:
    """What generators and waiting raise themselves is an error like any other if the user's function raises it."""
    got = ends(Side(is_async=False), boarding, error("mine"))

    assert [(error, ("mine",))] * 3 == [(type(each), each.args) for each in got]
    assert [None] * 3 == [each.__context__ for each in got]


@pytest.mark.parametrize("error", [TimeoutError, StopAsyncIteration])
def test_async_function_may_raise_what_drivers_use(error: type[Exception], boarding: Boarding) -> None:
    """As in sync code."""
    got = ends(Side(is_async=True), boarding, error("mine"))

    assert [(error, ("mine",))] * 3 == [(type(each), each.args) for each in got]
