"""A lease is named by what it is for, lives as long as a computation may take, and tells at its end how it ended."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from cachedeco import Namespace, cached_query
from cachedeco.loading.leases import FAILED, STORED, Lease
from cachedeco.tracking import nested_names
from tests.loading.leases.elsewhere import held_lease, lease_for, left_of
from tests.loading.leases.readers import Cached, reader
from tests.support.backends import Command, Commands
from tests.support.clocks import Clock
from tests.support.faults import faulty
from tests.support.sides import ASYNC, SYNC, Side, both
from tests.support.stored import stored


def lease_commands(commands: Commands) -> list[Command]:
    """Return the commands that concern leases."""
    return [each for each in commands if each.name != "get_many" and ")@" in each.keys[0]]


# --- its name ---


WAYS: dict[str, Callable[[Cached, Clock], object]] = {
    "invalidate": lambda read, _: read.invalidate(1),
    "invalidate_all": lambda read, _: read.invalidate_all(),
    "namespace": lambda *_: Namespace("leases", 1).invalidate(),
    "parent": lambda *_: Namespace("leases").invalidate(),
    "timeout": lambda _, clock: setattr(clock, "now", clock.now + 61),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_what_ends_an_entry_begins_another_lease(way: Callable[[Cached, Clock], object], clock: Clock) -> None:
    """Each invalidation, and each timeout, has a lease of its own: no caller waits for one that began before it."""
    read, _ = reader(SYNC, namespace="leases:{number}")
    before = lease_for(read, 1).key, lease_for(read, 1).key
    read(1)

    way(read, clock)

    after = lease_for(read, 1).key
    assert (before[0], after) == (before[1], lease_for(read, 1).key)
    assert before[0] != after


def test_two_calls_have_two_leases_and_owners_are_never_the_same() -> None:
    """What another call holds is no reason to wait; each claim is known by its owner."""
    read, _ = reader(SYNC)

    leases = [lease_for(read, number) for number in (1, 1, 2)]

    assert (2, 3) == (len({lease.key for lease in leases}), len({lease.owner for lease in leases}))


def test_name_of_a_lease_fits_memcached() -> None:
    """A call whose key leaves no room for a lease's has one all the same, and of its own."""

    @cached_query
    def read(text: str) -> str:
        return text

    leases = [lease_for(read, "t" * length) for length in (80, 100, 120, 300)]

    assert all(len(lease.key) <= 250 for lease in leases)
    assert 4 == len({lease.key for lease in leases})


def test_lease_does_not_depend_on_what_a_process_remembers(monkeypatch: pytest.MonkeyPatch) -> None:
    """On an empty server a process that knows which calls are inside asks for the same lease as one that doesn't."""
    read, _ = reader(SYNC)
    policy, keys = read._spec.resolve_call((1,), {})
    read(2)  # so that the token of the function, which is remembered here, is there
    with monkeypatch.context() as patch:
        patch.setitem(nested_names.names_by_function, policy.function, nested_names.FunctionNames((keys[2],)))
        with_memory = lease_for(read, 1).key

    assert with_memory == lease_for(read, 1).key


@both
def test_inner_invalidation_begins_another_lease(side: Side, clock: Clock) -> None:
    """
    An entry that an inner call's invalidation has killed is computed once between processes, like any other.

    The defect: the lease was named by the call's own tokens, and was marked as landed for five seconds yet, so that
    every process computed.
    """
    inner, _ = reader(SYNC)
    read, ran = reader(side, work=lambda: inner(2))
    side.call(read, 1)
    inner.invalidate(2)
    lease = held_lease(read, 1)
    clock.meanwhile = [lambda: lease.end(None)]

    found = side.call(read, 1)

    assert ("ours", [1, 1], 1, STORED) == (found, ran, len(clock.pauses), left_of(lease))


@both
def test_entry_dead_at_birth_by_an_inner_invalidation_is_contended_for(side: Side, clock: Clock) -> None:
    """Where the holder's entry is dead when it arrives, as a call inside was invalidated, the waiters elect another."""
    inner, _ = reader(SYNC)
    read, ran = reader(side, work=lambda: inner(2))
    side.call(read, 1)
    read.invalidate(1)
    lease = held_lease(read, 1)

    def land_dead() -> None:
        side.call(read.refresh, 1)
        inner.invalidate(2)
        lease.end(STORED)

    clock.meanwhile = [land_dead]

    found = side.call(read, 1)

    new = lease_for(read, 1)
    assert ("ours", [1, 1, 1], 1) == (found, ran, len(clock.pauses))
    assert "ours" == side.call(read.peek, 1)
    assert (STORED, True) == (left_of(lease), new.key != lease.key)


# --- its lifetime ---


@both
@pytest.mark.parametrize(
    ("took", "lifetime"),
    [(0.0, 2), (0.2, 2), (0.25, 2.5), (2.9, 29), (3.0, 30), (60.0, 30)],
)
def test_lease_lives_ten_computations_within_bounds(
    side: Side, clock: Clock, commands: Commands, took: float, lifetime: float
) -> None:
    """A holder has ten times as long as the last computation took, at least 2 and at most 30 seconds, then is dead."""
    read, _ = reader(side, work=lambda: setattr(clock, "now", clock.now + took), stale_while_revalidate=60)
    side.call(read, 1)
    clock.now += 60
    commands.clear()

    side.call(read, 1)

    [add, mark] = lease_commands(commands)
    assert ("add", "set_many") == (add.name, mark.name)
    assert lifetime <= add.timeout <= lifetime + 2  # type: ignore[operator] # whole seconds, and a tick


@both
def test_lease_of_an_unknown_computation_lives_ten_seconds(side: Side, clock: Clock, commands: Commands) -> None:
    """Of a call that is new, or was invalidated, it is unknown how long it takes; its mark stays five seconds."""
    read, _ = reader(side, work=lambda: setattr(clock, "now", clock.now + 60))
    side.call(read, 1)
    side.call(read.invalidate, 1)
    side.call(read, 1)

    assert [("add", 11), ("set_many", 6)] * 2 == [(each.name, each.timeout) for each in lease_commands(commands)]


# --- its end ---


@both
@pytest.mark.parametrize(
    ("options", "value"),
    [({}, "a value"), ({"cache_if": lambda _: False}, "a value"), ({"timeout": lambda _: 0}, 1), ({}, lambda: None)],
    ids=["stored", "cache_if", "timeout", "unpicklable"],
)
def test_lease_is_held_while_computing_and_marked_as_landed(side: Side, options: dict[str, Any], value: object) -> None:
    """While the function runs its owner stands there; then, with the value stored or not, that there is no more."""
    held: list[object] = []

    @side.cached(**{"timeout": 60, "ignore": ("held", "lease", "value"), **options})
    def read() -> object:
        held.append(left_of(lease))
        return value

    lease = lease_for(read)

    found = side.call(read)

    [owner] = held
    assert (value, bytes, 8) == (found, type(owner), len(owner))  # type: ignore[arg-type] # as just said
    assert STORED == left_of(lease)


@both
def test_lease_is_given_back_when_nothing_can_be_served(side: Side, clock: Clock) -> None:
    """After an exception without an old value the next caller computes at once, in any process."""
    read, ran = reader(side, work=lambda: 1 // 0)
    lease = lease_for(read, 1)

    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            side.call(read, 1)

    assert ([1, 1], [], None) == (ran, clock.pauses, left_of(lease))


@both
def test_lease_is_marked_as_failed_only_where_the_old_value_is_served(side: Side, clock: Clock) -> None:
    """
    No caller is throttled by an exception after an invalidation: there is no old value to serve meanwhile.

    The defect: the lease was marked by the entry that had been there before the wait, dead by then.
    """
    faults = [None, 1]
    read, _ = reader(side, work=lambda: 1 // (faults.pop() or 0) if faults else 1 // 0, stale_if_error=60)
    side.call(read, 1)
    clock.now += 60
    held = lease_for(read, 1)
    assert held.take()
    new: list[Lease] = []
    clock.meanwhile = [lambda: (read.invalidate(1), new.append(lease_for(read, 1)))]

    with pytest.raises(ZeroDivisionError):
        side.call(read, 1)

    assert None is left_of(new[0])


def test_lease_of_a_cancelled_computation_is_given_back() -> None:
    """A request that is broken off keeps no caller waiting for it."""

    @cached_query(ignore=("begun",))
    async def read(begun: asyncio.Event) -> None:
        begun.set()
        await asyncio.Event().wait()

    async def cancelled() -> None:
        begun = asyncio.Event()
        call = asyncio.create_task(read(begun))
        await begun.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

    lease = lease_for(read, None)

    ASYNC.call(cancelled)

    assert (None, {}) == (left_of(lease), stored().get_many([lease.key]))


@both
@pytest.mark.usefixtures("faulty_backend")
def test_lease_that_can_not_be_marked_is_given_back(side: Side, clock: Clock) -> None:
    """
    No caller waits for a leader that has ended, though a cache that is full takes neither entry nor mark.

    The defect: each call waited for the lease of the one before, and a full cache made every call slow.
    """
    read, ran = reader(side)

    with faulty("set_many", raises=OSError("OOM command not allowed")):
        found = [side.call(read, 1) for _ in range(3)]

    assert (["ours"] * 3, [1, 1, 1], []) == (found, ran, clock.pauses)


def test_marks_are_two() -> None:
    """The two ends differ from each other, and from every owner."""
    read, _ = reader(SYNC)

    assert 3 == len({STORED, FAILED, lease_for(read, 1).owner})
    assert 8 not in {len(STORED), len(FAILED)}
