"""What the library promises, in every order of every step of few actors, and in random orders of many."""

import pytest

from tests.schedules.explorer import Scenario, explore, throw
from tests.schedules.scenarios import LARGE, SMALL
from tests.support.selection import of_length

# Random schedules of each large scenario; `python -m tests.schedules --random 100000` throws more.
SEEDS = of_length(60, soak=5000)
# The widest of the small ones: a smaller one beside each has the same race. `--soak` runs every schedule of them, and
# other runs as many random ones as of a large scenario.
WIDEST = {
    "two processes compute once",
    "two processes, one bulk call each, one writer",
    "two processes, one writer",
    "a call inside a call, first",
    "one of two tasks is cancelled",
    "a bulk call of two ids that are written one after the other",
    "two tenants, one writer",
    "one of two readers gets a signal",
    "a warm bulk call twice, one writer of one id and one of all",
    "an entry is due, A B, refreshed by caller",
    "two readers, any key evicted",
    "a call inside a call, elsewhere, in two processes that have nothing",
    "a call inside a call, first, in two processes that have nothing",
    "a call inside a call, last, in two processes that have nothing",
    "a call inside a call, first, and beside it",
    "a call inside a call, last, and beside it",
    "a call inside a call, elsewhere",
    "a call for ever with a brief one inside, in another cache",
    "a process is killed",
    "a reader is abandoned",
    "two readers, one writer, namespace",
    "two readers, one writer, function's token",
    "a call inside a call is due, refreshed by thread",
    "an entry is due, A B, refreshed by thread",
    "three readers in two processes compute once",
    "a bulk call inside a call, one writer",
    "a bulk call beside a call of one of its ids, one writer",
    "three readers of a cache that can't be read, one writer",
    "the old value stands in for one that can't be computed",
    "a call inside a call, last",
    "a call inside a call is due, refreshed by caller",
    "followers who give up",
    "a reader comes late",
    "a bulk call gets a signal",
    "two processes that know more and fewer tables, the list evicted",
    "a reader twice, any two keys evicted",
    "a call inside a call inside a call",
    "set",
    "two bulk calls, one writer",
    "two bulk calls that share an id, one writer",
    "three bulk calls compute one at a time",
    "bulk calls that share ids compute each one at a time",
    "a gather beside a call of one of its functions, one writer",
    "an async gather beside a call of one of its functions, one writer",
    "one of two tasks is cancelled, one writer",
    "two cold readers under AUTO",
    "two cold readers under AUTO, one writer",
    "the tables grow during a flight, one writer",
    "two processes that know other tables, the list evicted",
    *(each.name for each in SMALL if each.name.startswith("two new tables") and each.name.endswith("two writers")),
}
assert WIDEST <= {each.name for each in SMALL}


@pytest.mark.parametrize(
    "scenario",
    [pytest.param(each, marks=[pytest.mark.soak] if each.name in WIDEST else [], id=each.name) for each in SMALL],
)
def test_no_schedule_breaks_a_promise(scenario: Scenario) -> None:
    """Nothing invalidated is read, nothing is stuck, no actor fails or waits for ever, one computes: in any order."""
    explored = explore(scenario, is_one_enough=True)

    assert "" == explored.violation


@pytest.mark.parametrize(
    "scenario", [*LARGE, *(each for each in SMALL if each.name in WIDEST)], ids=lambda scenario: scenario.name
)
def test_no_random_schedule_breaks_a_promise(scenario: Scenario) -> None:
    """The same holds for six actors in three processes, with evictions, crashes, failures and time that passes."""
    explored = throw(scenario, range(SEEDS))

    assert "" == explored.violation
