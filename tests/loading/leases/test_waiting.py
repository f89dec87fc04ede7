"""Who finds the lease taken waits for what its holder computes, looks again and again, and never without bound."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event as Signal
from typing import Any

import pytest
from pytest_django import Settings

from cachedeco import MISSING, Event, listening
from cachedeco.loading import flights, single_flight
from cachedeco.loading.leases import FAILED, LONGEST_POLL, STORED, Lease
from cachedeco.storage.store import Store
from tests.loading.leases.elsewhere import held_lease, lease_for, left_of, take_apart
from tests.loading.leases.readers import Cached, reader
from tests.support.backends import Commands
from tests.support.clocks import Clock
from tests.support.faults import faulty
from tests.support.sides import SYNC, Side, both
from tests.support.stored import stored
from tests.support.threads import PATIENCE_SECONDS

shared_backends = pytest.mark.parametrize("backend", ["locmem", "memcached", "redis"], indirect=True)


def store_theirs(cached: Cached, lease: Lease) -> None:
    """Do as the holder of a lease does at its end."""
    cached.call(1).set("theirs")
    lease.end(STORED)


@both
@shared_backends
@pytest.mark.usefixtures("backend")
def test_waiter_gets_what_the_holder_stores(side: Side, clock: Clock) -> None:
    """A cold call whose lease another process holds gives that one's value as soon as it is there, and runs nothing."""
    read, ran = reader(side)
    lease = held_lease(read, 1)
    clock.meanwhile = [lambda: None, lambda: store_theirs(read, lease)]
    events: list[Event] = []

    with listening(events.append):
        found = side.call(read, 1)

    assert ("theirs", [], 2) == (found, ran, len(clock.pauses))
    assert ["miss", "shared"] == [each.kind for each in events if each.kind != "stored"]


class Brittle:
    """Can be pickled, and not unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Name what fails."""
        return int, ("no number",)


@both
def test_entry_that_can_not_be_read_is_told_of_once_while_a_call_waits(side: Side, clock: Clock) -> None:
    """Each look finds it again."""
    read, _ = reader(side, wait=0.5)
    read.call(1).set(Brittle())
    events: list[Event] = []

    with listening(events.append):
        held_lease(read, 1)
        side.call(read, 1)

    assert 1 < len(clock.pauses)
    assert ["The entry can't be unpickled"] == [each.reason for each in events if each.kind == "error"]


@both
def test_pauses_grow_with_jitter_and_end_at_wait(side: Side, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pauses grow from 5 to 100 ms, each shortened at random to half of it at most, and come to `wait` together."""
    bounds: list[tuple[float, float]] = []

    def uniform(low: float, high: float) -> float:
        bounds.append((low, high))
        return high

    monkeypatch.setattr("cachedeco.loading.leases.uniform", uniform)
    read, ran = reader(side, wait=0.5)
    held_lease(read, 1)

    found = side.call(read, 1)

    assert [0.005, 0.008, 0.0128] == pytest.approx(clock.pauses[:3])
    assert 0.1 == max(clock.pauses) == clock.pauses[-2]
    assert 0.5 == pytest.approx(sum(clock.pauses))
    assert {(0.5, 1)} == set(bounds)
    assert ("ours", [1]) == (found, ran)


@both
@pytest.mark.parametrize("option", [True, False], ids=["parameter", "setting"])
def test_waiter_computes_and_stores_after_wait(
    side: Side,
    clock: Clock,
    settings: Settings,
    *,
    option: bool,
) -> None:
    """A holder who never ends costs `wait`, of the decorator or of the settings; what is computed then is stored."""
    settings.CACHEDECO = {} if option else {"WAIT": 3}
    read, ran = reader(side, **({"wait": 3} if option else {}))
    held_lease(read, 1)
    start = clock.now

    found = side.call(read, 1), side.call(read.peek, 1)

    assert (("ours", "ours"), [1]) == (found, ran)
    assert 3 == pytest.approx(clock.now - start)


@both
@shared_backends
@pytest.mark.usefixtures("backend")
def test_one_takes_over_before_all_have_waited_long_enough(side: Side, clock: Clock) -> None:
    """A holder who never ends is replaced after three fifths of `wait`, so that the others need not all compute."""
    read, ran = reader(side, wait=5)
    late = lease_for(read, 1, is_takeover=True)
    assert lease_for(read, 1).take()
    start = clock.now

    found = side.call(read, 1)

    assert ("ours", [1]) == (found, ran)
    assert 3 <= clock.now - start < 3 + LONGEST_POLL
    assert STORED == stored().get(late.key)


@both
def test_wait_zero_asks_for_no_lease(side: Side, clock: Clock, commands: Commands) -> None:
    """With `wait=0` a caller computes though another process holds the lease."""
    read, ran = reader(side, wait=0)
    held_lease(read, 1)
    commands.clear()

    side.call(read, 1)

    assert (["get_many", "set_many"], [1], []) == (commands.names, ran, clock.pauses)


@both
@shared_backends
@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("again", [1, 2])
def test_invalidation_revokes_the_lease(side: Side, clock: Clock, *, again: int) -> None:
    """What the holder computes is dead once the call was invalidated: the waiter goes on under the new stamp."""
    read, ran = reader(side)
    held_lease(read, 1)
    takes_new: list[Callable[[], object]] = [lambda: (read.invalidate(1), held_lease(read, 1))] * (again - 1)
    clock.meanwhile = [*takes_new, lambda: read.invalidate(1)]

    found = side.call(read, 1)

    assert ("ours", [1], again) == (found, ran, len(clock.pauses))
    assert "ours" == side.call(read.peek, 1)


@both
@shared_backends
@pytest.mark.usefixtures("backend")
def test_lease_given_back_is_taken(side: Side, clock: Clock) -> None:
    """A waiter takes the lease once its holder has given it back, or it has expired with a holder who died."""
    read, ran = reader(side)
    lease = held_lease(read, 1)
    clock.meanwhile = [lambda: lease.end(None)]

    found = side.call(read, 1)

    assert ("ours", [1], 1, STORED) == (found, ran, len(clock.pauses), left_of(lease))


@both
@pytest.mark.parametrize("mark", [STORED, FAILED])
def test_lease_that_ended_in_nothing_stops_the_wait(
    side: Side,
    clock: Clock,
    mark: Any,
) -> None:
    """Where the holder has ended and nothing is there, the waiter computes at once, and none wait in a row."""
    read, ran = reader(side, cache_if=lambda _: False)
    lease = held_lease(read, 1)
    clock.meanwhile = [lambda: lease.end(mark)]

    found = side.call(read, 1), side.call(read, 1), side.call(read, 1)

    assert (("ours",) * 3, [1, 1, 1], 1, mark) == (found, ran, len(clock.pauses), left_of(lease))


@both
@shared_backends
@pytest.mark.usefixtures("backend")
def test_late_caller_does_not_compute_again(side: Side, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has found nothing, and asks for the lease when the holder has stored and marked it, looks once more."""
    read, ran = reader(side)
    theirs = lease_for(read, 1)
    take = Lease.take

    def late(lease: Lease) -> bool:
        store_theirs(read, theirs)
        return take(lease)

    take_apart(monkeypatch, late)

    found = side.call(read, 1)

    assert ("theirs", [], []) == (found, ran, clock.pauses)


def test_control_without_a_mark_late_caller_computes_again(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: were the lease deleted at its end, as leases usually are, a late caller would compute again."""
    read, ran = reader(SYNC)
    theirs = lease_for(read, 1)
    take = Lease.take

    def late(lease: Lease) -> bool:
        read.call(1).set("theirs")
        theirs.end(None)
        return take(lease)

    take_apart(monkeypatch, late)

    assert ("ours", [1], []) == (read(1), ran, clock.pauses)


@both
def test_those_who_wait_for_the_waiter_get_the_value_too(
    side: Side, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one process one caller looks for what another process computes, and the others wait for that one."""
    read, ran = reader(side)
    lease = held_lease(read, 1)
    board, joined = flights.join_or_lead, Signal()
    events: list[Event] = []

    def boarded(*args: Any) -> Any:
        others = board(*args)
        if others:
            joined.set()
        return others

    monkeypatch.setattr(single_flight, "join_or_lead", boarded)
    with ThreadPoolExecutor(1) as pool, listening(events.append):
        follower: list[Future[str]] = []
        clock.meanwhile = [
            lambda: (follower.append(pool.submit(side.call, read, 1)), joined.wait(PATIENCE_SECONDS)),
            lambda: store_theirs(read, lease),
        ]

        found = side.call(read, 1), follower[0].result(PATIENCE_SECONDS)

    assert (("theirs", "theirs"), []) == (found, ran)
    assert 2 == [each.kind for each in events].count("shared")


# --- a cache that is not well ---


@both
@pytest.mark.usefixtures("faulty_backend")
def test_lease_refused_that_is_not_held_costs_one_pause(side: Side, clock: Clock) -> None:
    """A node that says "no" to each `add` looks like a holder; the lease that is not there gives it away."""
    read, ran = reader(side)
    lease_for(read, 1)

    with faulty("add", returns=False) as refused:
        found = side.call(read, 1)

    assert ("ours", [1], 3, 1) == (found, ran, len(refused.met), len(clock.pauses))
    assert "ours" == side.call(read.peek, 1)


@both
@pytest.mark.usefixtures("faulty_backend")
def test_refusals_count_only_in_a_row(side: Side, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many who find the lease given back one gets it: who was refused then, and sees it held, waits on."""
    read, ran = reader(side)
    first, second = lease_for(read, 1), lease_for(read, 1)
    assert first.take()
    take = Lease.take

    def beaten(lease: Lease) -> bool:
        take(second)
        return take(lease)

    def give_back(lease: Lease) -> Callable[[], None]:
        return lambda: lease.end(None)

    monkeypatch.setattr(Lease, "take", beaten)
    clock.meanwhile = [give_back(first), *[lambda: None, give_back(second)] * 3, lambda: store_theirs(read, second)]

    assert ("theirs", []) == (side.call(read, 1), ran)


@both
def test_lease_taken_though_refused_is_ours(side: Side, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that was lost on its way, and repeated by the client: our own owner stands there, so we hold it."""
    read, ran = reader(side)
    add, asked = Store.add_each, []

    def unlucky(store: Store, items: Any) -> list[bool]:
        asked.extend(key for key, _, _ in items)
        return [is_added and ")@" not in key for is_added, (key, _, _) in zip(add(store, items), items, strict=True)]

    monkeypatch.setattr(Store, "add_each", unlucky)

    found = side.call(read, 1)

    [lease] = [key for key in asked if ")@" in key]
    assert ("ours", [1], [], STORED) == (found, ran, clock.pauses, Store("default").get_many([lease])[lease])


@both
@pytest.mark.usefixtures("faulty_backend")
@pytest.mark.parametrize("way", [{"raises": OSError()}, {"unreachable": True}], ids=["raises", "unreachable"])
def test_cache_that_fails_while_we_wait_ends_the_wait(side: Side, clock: Clock, way: dict[str, Any]) -> None:
    """Where the cache can't be asked any more the waiter computes at once, and stores nothing without a stamp."""
    read, ran = reader(side)
    held_lease(read, 1)
    faults: list[Any] = []
    events: list[Event] = []

    def break_down() -> None:
        faults.append(faulty(**way))
        faults[0].__enter__()

    clock.meanwhile = [break_down]
    with listening(events.append):
        found = side.call(read, 1)
    faults[0].__exit__(None, None, None)

    assert ("ours", [1], 1) == (found, ran, len(clock.pauses))
    assert 1 == [each.kind for each in events].count("unstored")
    assert MISSING is side.call(read.peek, 1)


@both
@pytest.mark.parametrize("nonsense", [["a list"], "text", b"", 7], ids=repr)
def test_nonsense_under_a_lease_is_waited_for_and_no_more(side: Side, clock: Clock, nonsense: object) -> None:
    """Any bytes under the name of a lease are taken for one: they cost `wait`, and raise nothing."""
    read, ran = reader(side, wait=1)
    lease = lease_for(read, 1)
    stored().set(lease.key, nonsense, None)  # type: ignore[arg-type] # as just said

    found = side.call(read, 1)

    assert ("ours", [1]) == (found, ran)
    assert 0.6 <= sum(clock.pauses) < 0.6 + LONGEST_POLL  # then another lease is taken
