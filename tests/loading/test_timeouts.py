"""The timeout: in each form that it takes, to the fraction of a second."""

from datetime import timedelta
from typing import Any

import pytest

from cachedeco import MISSING, Namespace, cached_query
from tests.support.backends import Commands
from tests.support.clocks import replace_time
from tests.support.sides import Side, both

START = 1_000_000_000.0


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        """Begin at a round second."""
        self.now = START

    def __call__(self) -> float:
        """Return the time."""
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Give the clock by which entries are due."""
    clock = Clock()
    replace_time(monkeypatch, clock)
    return clock


@pytest.mark.covering(2)
@both
@pytest.mark.parametrize(
    "timeout",
    [60, 60.0, timedelta(minutes=1), lambda _value: 60, lambda _value: timedelta(minutes=1)],
    ids=["int", "float", "timedelta", "gives int", "gives timedelta"],
)
@pytest.mark.parametrize(("passed", "is_served"), [(59.99, True), (60.0, False)])
def test_timeout_in_any_form_is_kept_to_the_fraction(
    side: Side,
    timeout: Any,
    passed: float,
    clock: Clock,
    *,
    is_served: bool,
) -> None:
    """A value is served until the timeout and not from then on, though a cache counts whole seconds."""

    @side.cached(timeout=timeout)
    def answer() -> int:
        return 1

    side.call(answer)

    clock.now += passed

    assert is_served == (MISSING is not side.call(answer.peek))


@pytest.mark.parametrize(
    ("timeout", "expected"),
    [(0.4, 7), (60, 66), (None, 30 * 24 * 3600), (lambda _: 1.5, 8)],
    ids=["fraction", "whole", "ever", "callable"],
)
def test_timeout_that_the_cache_is_told_is_no_shorter(timeout: Any, expected: int, commands: Commands) -> None:
    """Caches cut fractions off, memcached's clock ticks once a second, and that it is due the entry itself tells."""

    @cached_query(timeout=timeout)
    def answer() -> int:
        return 1

    answer()

    assert [expected] == [
        each.timeout for each in commands if each.name == "set_many" and each.keys == (answer.key_for(),)
    ]


def test_no_expiry_is_a_date(commands: Commands) -> None:
    """Memcached takes more than 30 days for a date, so that an entry or token would end by how two clocks agree."""

    @cached_query(timeout=None, namespace="club:{club}")
    def answer(club: int) -> int:
        return club

    answer(7)
    Namespace("club", 7).invalidate()

    timeouts = [each.timeout for each in commands if each.name in {"add", "set", "set_many"}]
    assert len(timeouts) >= 3
    assert all(timeout is None or timeout <= 30 * 24 * 3600 for timeout in timeouts)


@both
def test_timeout_none_is_for_ever(side: Side, clock: Clock) -> None:
    """With `timeout=None` only an invalidation ends an entry."""

    @side.cached(timeout=None)
    def answer() -> int:
        return 1

    side.call(answer)

    clock.now += 1e9

    assert 1 == side.call(answer.peek)


@both
@pytest.mark.parametrize(("value", "is_stored"), [([], False), ([1], True)], ids=repr)
def test_timeout_of_zero_for_a_value_stores_nothing(side: Side, value: list[int], *, is_stored: bool) -> None:
    """A callable decides by the value whether to keep it at all."""

    @side.cached(timeout=lambda found: 60 if found else 0, ignore=("value",))
    def answer() -> list[int]:
        return value

    side.call(answer)

    assert is_stored == (MISSING is not side.call(answer.peek))


@pytest.mark.parametrize(
    ("timeout", "error"),
    [
        (0, ValueError),
        (0.0, ValueError),
        (-1, ValueError),
        (float("inf"), ValueError),
        (float("nan"), ValueError),
        (timedelta(0), ValueError),
        (timedelta(seconds=-1), ValueError),
        ("60", TypeError),
        (True, TypeError),
        ([], TypeError),
    ],
    ids=repr,
)
def test_timeout_that_is_none_is_refused(timeout: Any, error: type[Exception]) -> None:
    """What can't be a timeout is an error when the function is decorated."""

    def answer() -> int:
        return 1

    with pytest.raises(error, match="timeout"):
        cached_query(timeout=timeout)(answer)


def test_timeout_too_great_for_a_number_is_refused() -> None:
    """A number of seconds that no clock could count to is refused like any other bad timeout."""

    def answer() -> int:
        return 1

    with pytest.raises(ValueError, match="timeout"):
        cached_query(timeout=10**400)(answer)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("years", [1, 4, 10, 100])
def test_timeout_of_years_is_one(years: int) -> None:
    """A timeout, and the longer life of a token, may pass what a cache counts in: memcached's clock ends in 2038."""

    @cached_query(name=f"tests.timeouts.years{years}", timeout=timedelta(days=365 * years))
    def answer() -> int:
        return 1

    answer()

    assert 1 == answer.peek()
