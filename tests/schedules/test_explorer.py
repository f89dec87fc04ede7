"""The explorer itself: that it sees every schedule, sees each again, and says what it has seen."""

from math import inf
from typing import Any

import pytest

from cachedeco.loading.promise import Promise
from tests.schedules.acts import passes, reads, writes
from tests.schedules.explorer import Scenario, explore, throw
from tests.schedules.functions import plain
from tests.schedules.naive import DeleteAndSet
from tests.schedules.simulation import step, wait

naive = DeleteAndSet()
TWO = Scenario(
    name="two", cast={"A": reads(naive), "W": writes("row", naive.invalidate)}, looks=[reads(naive)]
)  # fmt: skip


def acts(number: int) -> Any:
    """Return an act of some steps that do nothing."""

    def act() -> None:
        for _ in range(number):
            step("command", ("nothing",), lambda: None)

    return act


@pytest.mark.parametrize(("steps", "schedules"), [((1, 1), 2), ((2, 2), 6), ((3, 2, 1), 60), ((4, 4), 70)])
def test_every_order_of_steps_is_a_schedule(steps: tuple[int, ...], schedules: int) -> None:
    """There are as many schedules as ways to shuffle the actors' steps."""
    explored = explore(Scenario(name="n", cast={str(n): acts(each) for n, each in enumerate(steps)}, looks=[]))

    assert schedules == explored.schedules


@pytest.mark.parametrize("budget", [{}, {"evict": 1}, {"crash": 1}, {"kill": 1, "fail": 1}], ids=str)
def test_cuts_lose_no_schedule(budget: dict[str, int]) -> None:
    """To stop at a state that was met before counts the same schedules as to run each of them to its end."""
    cast = {"A": reads(plain), "W": writes("row", plain.invalidate)}
    scenario = Scenario(name="n", before=[plain], cast=cast, looks=[passes(11), reads(plain)], budget=budget)

    cut, whole = explore(scenario), explore(scenario, cuts=False)

    assert (whole.schedules, whole.runs) == (cut.schedules, whole.schedules)
    assert cut.runs <= whole.runs


def test_schedule_that_breaks_a_promise_is_told_step_by_step() -> None:
    """Who reads it sees what was expected, and each step by its number, actor, command, keys and answer."""
    explored = explore(TWO)

    assert [
        "two: a later read in p gives version 0 of row, and 1 was acknowledged before it began",
        "  1. A    get value",
        "  2. A    read row row -> 0",
        "  3. W    write row row -> 1",
        "  4. W    delete value -> False",
        "  5. A    set value, ((row 0))",
    ] == explored.violation.splitlines()


def test_random_schedule_is_the_same_again_by_its_seed() -> None:
    """A seed tells a schedule: what was found once is found again."""
    found = throw(TWO, range(1000))
    seed = found.runs - 1

    assert found.violation == throw(TWO, [seed]).violation
    assert f"two, seed {seed}: " in found.violation


def test_actor_who_fails_breaks_a_promise() -> None:
    """Each exception of an actor is told."""

    def act() -> None:
        step("command", ("nothing",), lambda: None)
        raise LookupError

    explored = explore(Scenario(name="n", cast={"A": act, "B": acts(1)}, looks=[]))

    assert "A was stopped by LookupError()" in explored.violation


def test_actors_who_wait_for_ever_break_a_promise() -> None:
    """A deadlock ends the schedule, and names those who are in it."""
    never: Promise[Any] = Promise()

    explored = explore(Scenario(name="n", cast={"A": lambda: wait(never, inf), "B": acts(1)}, looks=[]))

    assert "A wait for ever" in explored.violation


def test_read_that_fails_is_no_miss(monkeypatch: pytest.MonkeyPatch) -> None:
    """A read that fails, where the scenario has no failures, is told: the call goes on as after a miss."""

    def fail(*_: object) -> Any:
        raise OSError

    monkeypatch.setattr("tests.schedules.cache.SteppedCache._standing", fail)

    explored = explore(Scenario(name="n", cast={"A": reads(plain)}, looks=[]), is_one_enough=True)

    assert "met a fault that nobody made: Reading failed, OSError()" in explored.violation


def test_no_actor_waits_longer_than_is_promised() -> None:
    """Who has waited longer than it may, in the time of the world, is told."""
    never: Promise[Any] = Promise()

    def slow() -> dict[str, int]:
        wait(never, 6)
        return {}

    explored = explore(Scenario(name="n", cast={"A": reads(slow)}, looks=[]))

    assert "A has waited for 6.0 seconds" in explored.violation
