"""The auditor accuses no writer who invalidates, in any order of steps; the explorer can find one that does."""

from dataclasses import replace

import pytest

from tests.auditing.schedules import AUDITS, WEAKENED
from tests.schedules.acts import writes
from tests.schedules.explorer import Scenario, explore, throw
from tests.support.selection import of_length

# Has as many schedules as all others together: `--soak` runs every one of them, and other runs some at random.
WIDE = "two hits are audited, two writers"


@pytest.mark.parametrize(
    "scenario",
    [pytest.param(each, marks=[pytest.mark.soak] if each.name == WIDE else [], id=each.name) for each in AUDITS],
)
def test_no_schedule_has_a_false_alarm(scenario: Scenario) -> None:
    """No schedule accuses a writer who invalidates, nor serves an old value."""
    explored = explore(scenario, is_one_enough=True)

    assert "" == explored.violation


def test_no_random_schedule_has_a_false_alarm() -> None:
    """The same holds where each of two processes audits a hit, and a third one writes twice."""
    [scenario] = [each for each in AUDITS if each.name == WIDE]

    explored = throw(scenario, range(of_length(200, soak=5000)))

    assert "" == explored.violation


@pytest.mark.parametrize("name", WEAKENED)
def test_auditor_without_one_line_of_defence_is_found_out(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each line of defence is there for a schedule, and without it this schedule is found."""
    target, replacement = WEAKENED[name]
    monkeypatch.setattr(f"cachedeco.auditing.auditor.{target}", replacement)

    explored = explore(AUDITS[0], is_one_enough=True)

    assert explored.violation


def test_write_that_is_not_announced_is_found() -> None:
    """If the writer does not invalidate there is a schedule in which the auditor says so."""
    audited = AUDITS[0]

    explored = explore(replace(audited, cast={**audited.cast, "W": writes("row")}), is_one_enough=True)

    assert "the auditor has accused somebody: it differs" in explored.violation
