"""When the computation raises, an old value may be served in its place, for as long as was said."""

from typing import Any

import pytest

from cachedeco import Event, listening
from cachedeco.loading.leases import FAILED
from cachedeco.storage.store import Store
from tests.loading.leases.elsewhere import lease_for
from tests.loading.refreshing.conftest import Cached, Truth
from tests.support.backends import Commands
from tests.support.clocks import Clock
from tests.support.faults import faulty
from tests.support.sides import Side, both
from tests.support.stored import stored

either = pytest.mark.parametrize(
    "options",
    [{"stale_if_error": 100}, {"stale_if_error": 100, "stale_while_revalidate": 50}, {"stale_while_revalidate": 100}],
    ids=["on error", "both", "stale"],
)


def due_and_broken(side: Side, clock: Clock, truth: Truth, passed: float = 60, **options: Any) -> Cached:
    """Return a cached function that has stored "old" so many seconds ago, and can't be computed any more."""
    read = truth.cached(side, **options)
    side.call(read, 1)
    clock.now += passed
    truth.error = ZeroDivisionError("broken")
    return read


@pytest.mark.covering(2)
@both
@either
@pytest.mark.parametrize(("passed", "is_served"), [(60, True), (159.99, True), (160, False)])
def test_error_is_kept_from_the_caller_within_bounds(  # noqa: PLR0913 -- the fixtures and the bounds
    side: Side, clock: Clock, truth: Truth, options: dict[str, Any], *, passed: float, is_served: bool
) -> None:
    """From the timeout on, and for so long, the old value is served where the computation raises; then it is raised."""
    read = due_and_broken(side, clock, truth, passed, **options)
    found: list[object] = []

    try:
        found.append(side.call(read, 1))
    except ZeroDivisionError:
        found.append("raised")

    assert (["old" if is_served else "raised"], 2) == (found, truth.read_count)


@both
@either
def test_error_that_was_rescued_is_an_event(side: Side, clock: Clock, truth: Truth, options: dict[str, Any]) -> None:
    """No caller sees the exception, so an event has it; the value that is served is a stale one."""
    read = due_and_broken(side, clock, truth, **options)
    seen: list[Event] = []

    with listening(seen.append):
        side.call(read, 1)

    assert ["miss", "error", "stale"] == [each.kind for each in seen]
    assert (truth.error, "The computation failed, and the old value was served") == (seen[1].error, seen[1].reason)


@both
@either
def test_attempts_after_an_error_are_throttled(
    side: Side, clock: Clock, truth: Truth, commands: Commands, options: dict[str, Any]
) -> None:
    """For five seconds no other caller tries, or waits: what fails is not made worse."""
    read = due_and_broken(side, clock, truth, **options)
    lease = lease_for(read, 1)
    side.call(read, 1)
    [mark] = [each for each in commands if each.name == "set_many" and each.keys == (lease.key,)]

    found = [side.call(read, 1) for _ in range(3)]

    assert (["old"] * 3, 2, []) == (found, truth.read_count, clock.pauses)
    assert (6, {lease.key: FAILED}) == (mark.timeout, Store("default").get_many([lease.key]))


@both
@either
def test_attempts_go_on_after_the_throttle(side: Side, clock: Clock, truth: Truth, options: dict[str, Any]) -> None:
    """Once the mark is gone one caller tries again, and what it computes is served."""
    read = due_and_broken(side, clock, truth, **options)
    lease = lease_for(read, 1)
    side.call(read, 1)
    truth.value, truth.error = "new", None
    stored().delete(lease.key)

    found = side.call(read, 1), side.call(read, 1)

    assert ("new", "new") == found


@both
@pytest.mark.parametrize("options", [{}, {"stale_if_error": 100}], ids=["not said", "said"])
def test_error_without_an_old_value_reaches_the_caller(
    side: Side, truth: Truth, clock: Clock, options: dict[str, Any]
) -> None:
    """A call that is new has nothing to serve: each of its callers gets the exception, and none is throttled."""
    read = truth.cached(side, **options)
    truth.error = ZeroDivisionError("broken")

    for _ in range(2):
        with pytest.raises(ZeroDivisionError, match="broken"):
            side.call(read, 1)

    assert (2, []) == (truth.read_count, clock.pauses)


@both
@pytest.mark.usefixtures("faulty_backend")
def test_error_is_raised_where_it_is_unknown_whether_the_value_was_invalidated(
    side: Side, clock: Clock, truth: Truth
) -> None:
    """A cache that can't be asked after the failure might hold an invalidation: the old value is not served."""
    read = due_and_broken(side, clock, truth, stale_if_error=100)
    fault = faulty("get_many", raises=OSError)
    truth.meanwhile = fault.__enter__

    with pytest.raises(ZeroDivisionError):
        side.call(read, 1)

    fault.__exit__(None, None, None)


@both
def test_newer_value_of_another_process_is_served_in_place_of_the_error(side: Side, clock: Clock, truth: Truth) -> None:
    """Where another caller has meanwhile stored what this one failed to compute, that is served, and is fresh."""
    read = truth.cached(side, stale_if_error=100)
    side.call(read, 1)
    clock.now += 60
    truth.error, truth.meanwhile = ZeroDivisionError("broken"), lambda: read.call(1).set("theirs")
    seen: list[Event] = []

    with listening(seen.append):
        found = side.call(read, 1)

    assert ("theirs", "hit") == (found, seen[-1].kind)


@both
def test_base_exceptions_are_never_rescued(side: Side, clock: Clock, truth: Truth) -> None:
    """Control-C is not a failure of the computation: it is raised, and the lease is given back."""
    read = truth.cached(side, stale_while_revalidate=100, stale_if_error=100)
    side.call(read, 1)
    clock.now += 60
    truth.error = GeneratorExit("not an Exception")  # type: ignore[assignment] # as it says
    lease = lease_for(read, 1)

    with pytest.raises(GeneratorExit):
        side.call(read, 1)

    assert side.is_async or {} == Store("default").get_many([lease.key])


# --- before the timeout ---


@both
def test_early_refresh_that_raises_does_not_reach_the_caller(side: Side, clock: Clock, truth: Truth) -> None:
    """An entry that is fresh is served, though the attempt to refresh it early has failed; the next is throttled."""
    truth.meanwhile = lambda: setattr(clock, "now", clock.now + 1)
    read = truth.cached(side, early=1e9)
    side.call(read, 1)
    truth.error = ZeroDivisionError("broken")
    seen: list[Event] = []

    with listening(seen.append):
        found = side.call(read, 1), side.call(read, 1)

    assert (("old", "old"), 2) == (found, truth.read_count)
    assert ["miss", "error", "hit", "hit"] == [each.kind for each in seen]


@both
def test_early_refresh_that_raises_past_the_timeout_reaches_the_caller(side: Side, clock: Clock, truth: Truth) -> None:
    """Where the entry is due by the time the attempt fails, and nothing else was said, there is nothing to serve."""
    truth.meanwhile = lambda: setattr(clock, "now", clock.now + 60)
    read = truth.cached(side, early=1e9)
    side.call(read, 1)
    truth.error = ZeroDivisionError("broken")

    with pytest.raises(ZeroDivisionError):
        side.call(read, 1)
