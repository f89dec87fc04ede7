"""Jitter: entries that were written together do not expire together; and how long a stale entry stays visible."""

from random import Random
from typing import Any

import pytest
from pytest_django import Settings

from cachedeco import MISSING
from cachedeco.loading import writing
from cachedeco.loading.lookup import look_up
from tests.loading.refreshing.conftest import Cached, Truth
from tests.support.backends import Commands
from tests.support.clocks import START, Clock
from tests.support.sides import SYNC, Side, both

MONTH = 30 * 24 * 3600 - 1


def expiry(cached: Cached, number: int) -> float:
    """Return how long after the beginning an entry is due."""
    policy, keys = cached._spec.resolve_call((number,), {})
    entry = look_up(policy, [keys])[0].entry
    assert entry is not None
    return entry.expires - START


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize("option", ["parameter", "setting"])
def test_jitter_spreads_the_timeouts_over_its_fraction(
    truth: Truth, settings: Settings, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    """No entry lives longer than its timeout, none shorter than the fraction leaves, and all parts have their share."""
    monkeypatch.setattr(writing, "random", Random(7).random)
    settings.CACHEDECO = {"JITTER": 0.2} if option == "setting" else {"JITTER": 0.9}
    read = truth.cached(SYNC, timeout=100, **({"jitter": 0.2} if option == "parameter" else {}))

    for number in range(400):
        read(number)

    due = [expiry(read, number) for number in range(400)]
    quarters = [sum(low < each <= low + 5 for each in due) for low in (80, 85, 90, 95)]
    assert 400 == sum(quarters)
    assert all(70 < count < 130 for count in quarters)


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize(("chance", "due"), [(0.0, 100), (0.5, 75), (1 - 2**-53, 50)])
def test_jitter_has_its_bounds(truth: Truth, monkeypatch: pytest.MonkeyPatch, chance: float, due: float) -> None:
    """The timeout itself at the most, and the timeout less the fraction at the least."""
    monkeypatch.setattr(writing, "random", lambda: chance)
    read = truth.cached(SYNC, timeout=100, jitter=0.5)

    read(1)

    assert due == pytest.approx(expiry(read, 1))


@both
def test_jittered_entry_is_served_until_it_is_due(
    side: Side, clock: Clock, truth: Truth, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the entry says is kept to the fraction of a second."""
    monkeypatch.setattr(writing, "random", lambda: 0.5)
    read = truth.cached(side, timeout=100, jitter=0.5)
    side.call(read, 1)
    found = []

    for passed in (74.99, 0.01):
        clock.now += passed
        found.append(side.call(read.peek, 1))

    assert ["old", MISSING] == found


@pytest.mark.parametrize("options", [{"timeout": None, "jitter": 0.5}, {"timeout": 100}, {"timeout": 100, "jitter": 0}])
def test_timeout_without_jitter_is_left_alone(
    clock: Clock, truth: Truth, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    """For ever stays for ever, and unless it was asked for nothing is shortened."""
    monkeypatch.setattr(writing, "random", lambda: 0.99)
    read = truth.cached(SYNC, **options)

    read(1)

    assert (options["timeout"] or float("inf")) == expiry(read, 1)
    assert clock.now == START


# --- retention ---


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize(
    ("options", "held"),
    [
        ({}, 105),
        ({"stale_while_revalidate": 3}, 105),
        ({"stale_while_revalidate": 30}, 130),
        ({"stale_if_error": 40}, 140),
        ({"stale_while_revalidate": 30, "stale_if_error": 40}, 140),
        ({"early": 1}, 105),
        ({"timeout": None, "stale_while_revalidate": 30}, MONTH),
        ({"timeout": MONTH - 10, "stale_while_revalidate": 30}, MONTH),
    ],
)  # fmt: skip
def test_cache_holds_an_entry_past_its_timeout(
    truth: Truth, commands: Commands, options: dict[str, Any], held: int | None
) -> None:
    """As long as it may be served, and at least five seconds: that it was there names the lease to replace it."""
    read = truth.cached(SYNC, **{"timeout": 100, **options})

    read(1)

    [entry] = [each for each in commands if each.name == "set_many" and each.keys == (read.key_for(1),)]
    assert held + 1 == entry.timeout


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize(
    ("options", "lifetime"),
    [
        ({}, 400),
        ({"timeout": 1}, 60),
        ({"stale_while_revalidate": 50}, 600),
        ({"stale_while_revalidate": 50, "stale_if_error": 100}, 800),
        ({"timeout": lambda _: 100, "stale_while_revalidate": 50}, MONTH),
        ({"timeout": None, "stale_while_revalidate": 50}, MONTH),
        ({"timeout": MONTH / 2}, MONTH),
        ({"cache_exceptions": {KeyError: None}}, MONTH),
    ],
)  # fmt: skip
def test_own_token_outlives_its_entries(
    truth: Truth, commands: Commands, options: dict[str, Any], lifetime: int
) -> None:
    """
    A call's token lives four times as long as an entry may be served, grace included, and a month at most.

    The defect: each argument without a value, such as the key of a row that is not there, left a token for ever.
    """
    read = truth.cached(SYNC, **{"timeout": 100, **options})

    read(1)

    key = read._spec.own_token((1,), {}).key
    [minted] = [each for each in commands if each.name == "add" and each.keys == (key,)]
    assert lifetime + 1 == minted.timeout


@both
def test_due_entry_names_the_lease(side: Side, clock: Clock, truth: Truth, commands: Commands) -> None:
    """Past its timeout an entry is still seen by the next miss, which is told from a first one by its lease."""
    read = truth.cached(side)
    side.call(read, 1)
    clock.now += 60

    side.call(read, 1)

    first, second = [each.keys for each in commands if each.name == "add" and ")@" in each.keys[0]]
    assert first != second
