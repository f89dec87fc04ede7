"""Exceptions that are none of the cache, raised in the middle of its commands: of a handler of a signal."""

import pytest

from cachedeco import MISSING
from cachedeco.loading.leases import Held
from cachedeco.storage.connections import connection
from cachedeco.storage.store import Store
from cachedeco.storage.writers import Acknowledged
from cachedeco.testing import capture_events
from tests.loading.leases.elsewhere import lease_for, left_of
from tests.storage.failing.calls import double, fail
from tests.storage.failing.clocks import Clock, queue
from tests.support.faults import faulty

pytestmark = pytest.mark.usefixtures("faulty_backend", "clock")

Expired = type("Expired", (Exception,), {"__module__": "elsewhere"})


@pytest.mark.parametrize("operation", ["get_many", "add", "set_many"])
def test_exception_of_a_handler_passes(operation: str) -> None:
    """It reaches the caller, and is no failure of the cache."""
    with capture_events() as events, faulty(operation, raises=Expired), pytest.raises(Expired):
        double(4)

    assert "error" not in [event.kind for event in events]
    assert 8 == double(4)


def test_invalidation_in_which_a_handler_raises_is_kept(clock: Clock) -> None:
    """The exception reaches the caller, and the invalidation is delivered later."""
    double(4)
    with faulty("set_many", raises=Expired), pytest.raises(Expired):
        double.invalidate(4)
    assert 1 == len(queue())

    clock.advance(60)

    assert MISSING is double.peek(4)


def test_interrupt_while_a_lease_is_taken_leaves_none() -> None:
    """The cache may have taken it: it is given back."""
    lease = lease_for(double, 5)
    with faulty("add", raises=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        double(5)

    assert (b"stored", 10) == (left_of(lease), double(5))


def test_interrupted_invalidation_is_delivered_before_the_next_command() -> None:
    """No command has failed: the cache is used at once, and another invalidation is sent at once."""
    double(4)
    with faulty("set_many", raises=Expired, times=1), pytest.raises(Expired):
        double.invalidate(4)
    assert (1, MISSING) == (len(queue()), double.peek(4))

    assert (8, []) == (double(4), queue())


def test_interrupted_probe_tells_nothing(clock: Clock) -> None:
    """The next caller probes, and no pause begins."""
    fail(3)
    clock.advance(1)
    with faulty("set_many", raises=KeyboardInterrupt, times=1), pytest.raises(KeyboardInterrupt):
        double(4)

    double(4)

    assert MISSING is not double.peek(4)


@pytest.mark.parametrize("has_arrived", [True, False])
def test_lease_is_given_back_even_where_its_command_arrives_late(*, has_arrived: bool) -> None:
    """A lease that is there is deleted; the place of one that is not there yet is taken by a tombstone."""
    lease = lease_for(double, 5)
    if has_arrived:
        assert lease.take()

    Held([lease]).give_back()

    assert (None if has_arrived else b"stored") == left_of(lease)
    assert has_arrived == lease.take()


def test_error_that_a_writer_reports_is_an_event(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that refuses an item raises nothing: the writer says so."""
    refused = Acknowledged([False])
    refused.error = ConnectionRefusedError()
    monkeypatch.setattr(connection("default").writer, "add_each", lambda _items: refused)

    with capture_events() as events:
        assert [False] == Store("default").add_each([("key", b"value", None)])

    assert [refused.error] == [event.error for event in events if event.kind == "error"]


def test_token_that_can_not_be_replaced_keeps_the_entry_unstored() -> None:
    """What lies under the key of a token is none, and the cache takes no other: nothing is stored."""
    double(6)
    own = double._spec.own_token((6,), {}).key
    connection("default").cache.set(own, b"no token")

    with faulty("set_many", raises=ValueError):
        assert 12 == double(6)

    assert MISSING is double.peek(6)
