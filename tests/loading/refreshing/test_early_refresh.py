"""Early refresh: XFetch does what its authors say, and with a lease one computation for each timeout."""

from itertools import pairwise
from math import ceil, e, log
from random import Random
from statistics import mean
from typing import Any

import pytest

from cachedeco import Event, listening
from cachedeco.loading import flights, refreshing
from cachedeco.loading.refreshing import xfetch_time
from cachedeco.storage.entries import Entry
from tests.loading.leases.elsewhere import lease_for
from tests.loading.refreshing.conftest import Truth
from tests.support.backends import Commands
from tests.support.clocks import Clock
from tests.support.selection import of_length
from tests.support.sides import Side, both
from tests.support.threads import in_thread

RATE = 1000  # requests a second
SECONDS = 0.2  # that a computation takes
EXPIRIES = of_length(150, soak=600)


@pytest.fixture
def random(monkeypatch: pytest.MonkeyPatch) -> Random:
    """Give the chance of early refreshes, which is always the same."""
    random = Random(20151)
    monkeypatch.setattr(refreshing, "random", random.random)
    return random


def fired(clock: Clock, beta: float) -> tuple[float, int]:
    """
    Return how long before its timeout an entry was first refreshed, and by how many callers until one had done it.

    Each caller decides for itself, as there is no lease. Those who come long before the timeout do so for certain
    in vain, with a chance of e^-8 for all of them, and are left out.
    """
    entry = Entry(None, 1_000_000_060.0, SECONDS)
    begin = entry.expires - SECONDS * beta * (log(RATE * SECONDS * beta) + 8)
    first, count = None, 0
    for number in range(ceil(RATE * (entry.expires + 1 - begin))):
        clock.now = begin + number / RATE
        if first is not None and clock.now >= first + SECONDS:
            break
        if xfetch_time(entry, beta) >= entry.expires:
            first, count = first or clock.now, count + 1
    assert first is not None
    return entry.expires - first, count


@pytest.mark.parametrize("beta", [1, 1.5, 2])
@pytest.mark.usefixtures("random")
def test_callers_without_a_lease_would_refresh_as_often_as_the_theory_says(clock: Clock, beta: float) -> None:
    """
    e^(1/beta) computations for each timeout, at any rate; the first beta * seconds * (ln(rate...) + gamma) early.

    An unprotected entry would be computed by 200 callers: all who come while the first one computes.
    """
    seen = [fired(clock, beta) for _ in range(EXPIRIES)]

    assert e ** (1 / beta) == pytest.approx(mean(count for _, count in seen), rel=0.1)
    early = beta * SECONDS * (log(RATE * SECONDS * beta) + 0.5772)
    assert early == pytest.approx(mean(before for before, _ in seen), rel=0.05)


@pytest.mark.usefixtures("random")
def test_chance_of_an_early_refresh_is_exponential(clock: Clock) -> None:
    """A call one computation's time before the timeout refreshes with the chance 1/e; 25 times as far, with none."""
    entry = Entry(None, clock.now, 0.4)
    clock.now -= 0.4

    refreshes = sum(xfetch_time(entry, 1) >= entry.expires for _ in range(20_000))

    assert 1 / e == pytest.approx(refreshes / 20_000, rel=0.03)
    clock.now -= 9.6
    assert not any(xfetch_time(entry, 1) >= entry.expires for _ in range(20_000))


def test_time_is_never_taken_for_earlier(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """For any random number, the least included, the time taken is no earlier than now, and finite."""
    entry = Entry(None, clock.now + 1, 0.2)
    found = []
    for chance in (0.0, 1 - 2**-53):
        monkeypatch.setattr(refreshing, "random", lambda chance=chance: chance)
        found.append(xfetch_time(entry, 1.0))

    assert clock.now == found[0] < found[1] < clock.now + 8


@both
@pytest.mark.usefixtures("random")
@pytest.mark.parametrize("is_apart", [True, False], ids=["processes", "threads"])
def test_early_refresh_with_a_lease_is_one_computation_for_each_timeout(
    side: Side, clock: Clock, truth: Truth, monkeypatch: pytest.MonkeyPatch, *, is_apart: bool
) -> None:
    """However many call while one computes, in this process or in others: one computation for each timeout."""

    def call_meanwhile() -> None:
        with monkeypatch.context() as patch:
            if is_apart:
                patch.setattr(flights, "_flights", {})
            for _ in range(5):
                clock.now += SECONDS / 5
                found.append(in_thread(lambda: side.call(read, 1)))

    read, found = truth.cached(side, early=1, timeout=10, stale_while_revalidate=60), []
    side.call(read, 1)
    truth.meanwhile = call_meanwhile
    start, computed_at = clock.now, [clock.now]

    while clock.now < start + 35:
        # At first there is nothing to be seen but that they are many.
        clock.now += 1 / 25 if clock.now > computed_at[-1] + 6.5 else 1 / 2
        before = truth.read_count
        side.call(read, 1)
        computed_at += [clock.now] * (truth.read_count - before)

    between = [later - earlier for earlier, later in pairwise(computed_at)]
    assert (3, ["old"] * 15) == (len(between), found)
    assert all(7 < gap < 10.3 for gap in between)


@both
def test_early_refresh_leaves_others_to_the_entry(
    side: Side, clock: Clock, truth: Truth, commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who would refresh early and finds that another process does is served what is fresh, as a hit."""
    truth.meanwhile = lambda: setattr(clock, "now", clock.now + 1)
    read = truth.cached(side, early=1)
    side.call(read, 1)
    monkeypatch.setattr(refreshing, "random", lambda: 1 - 2**-53)  # as late as can be: 36 seconds
    clock.now += 30

    assert lease_for(read, 1).take()
    events: list[Event] = []
    commands.clear()

    with listening(events.append):
        found = side.call(read, 1)

    assert ("old", 1, ["get_many", "add"]) == (found, truth.read_count, commands.names)
    assert ["hit"] == [each.kind for each in events]


@both
@pytest.mark.parametrize("early", [0, 1])
def test_early_is_off_unless_asked_for(side: Side, clock: Clock, truth: Truth, monkeypatch: Any, early: float) -> None:
    """Without `early` nothing is refreshed before its timeout, for any random number."""
    truth.meanwhile = lambda: setattr(clock, "now", clock.now + 1)
    read = truth.cached(side, **({"early": early} if early else {}))
    side.call(read, 1)
    monkeypatch.setattr(refreshing, "random", lambda: 1 - 2**-53)
    clock.now += 59

    side.call(read, 1)

    assert 1 + early == truth.read_count


@both
def test_entry_for_ever_is_never_refreshed_early(side: Side, truth: Truth, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is never due is not due early either."""
    monkeypatch.setattr(refreshing, "random", lambda: 1 - 2**-53)
    read = truth.cached(side, early=1e9, timeout=None)
    side.call(read, 1)

    side.call(read, 1)

    assert 1 == truth.read_count
