"""An invalidation does not wait for the end of a pause where the server may have been started again, and be in use."""

import pytest

from cachedeco import Namespace
from cachedeco.storage.breaker import breakers
from cachedeco.testing import capture_events
from tests.conftest import UseCaches
from tests.storage.failing.calls import double, sent
from tests.support.backends import Commands
from tests.support.faults import faulty

pytestmark = pytest.mark.usefixtures("clock")


@pytest.fixture(autouse=True)
def _faulty(use_caches: UseCaches) -> None:
    """Give a cache that can misbehave."""
    use_caches(default="faulty")


def fail(error: type[Exception]) -> None:
    """Open the breaker."""
    with faulty(raises=error):
        for _ in range(3):
            double(4)


def test_invalidation_reaches_a_server_that_was_started_again() -> None:
    """It goes out at once, and the cache is used again: others use it since it started."""
    fail(ConnectionRefusedError)

    with capture_events() as events:
        Namespace("club", 7).invalidate()

    assert ["breaker_closed", "invalidated"] == [event.kind for event in events], events


def test_invalidation_does_not_wait_for_a_server_that_hangs(commands: Commands) -> None:
    """A server that was waited for in vain is left alone until the pause is over."""
    fail(TimeoutError)

    assert [] == sent(commands, Namespace("club", 7).invalidate)


def test_call_does_not_hurry(commands: Commands) -> None:
    """Only what must not wait asks a server that is gone: a call has its value without it."""
    fail(ConnectionRefusedError)

    assert [] == sent(commands, lambda: double(4))


def test_server_that_is_gone_costs_an_invalidation_one_command_and_no_longer_pause() -> None:
    """Who is in a hurry does not make the pause longer for all others."""
    fail(ConnectionRefusedError)
    until = breakers["default"].retry_at

    with faulty(raises=ConnectionRefusedError) as fault:
        for _ in range(3):
            Namespace("club", 7).invalidate()

    assert (3, until) == (len(fault.met), breakers["default"].retry_at)


def test_server_that_begins_to_hang_is_not_hurried() -> None:
    """The first probe that is waited for is the last one before the end of the pause."""
    fail(ConnectionRefusedError)

    with faulty(raises=TimeoutError) as fault:
        for _ in range(3):
            Namespace("club", 7).invalidate()

    assert 1 == len(fault.met)
