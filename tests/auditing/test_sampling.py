"""Which hits are audited, and that their callers notice nothing."""

import pytest
from django.db import transaction
from pytest_django import Settings

from cachedeco import Event, listening, mode
from cachedeco.auditing import auditor
from cachedeco.auditing.auditor import REMEDY
from cachedeco.loading import sampling
from cachedeco.runtime import state
from tests.auditing.conftest import AUDIT_SECONDS, TIMEOUT, Background, Told
from tests.auditing.test_two_looks import planted
from tests.loading.refreshing.conftest import Truth
from tests.support.backends import Commands
from tests.support.sides import SYNC, Side, both

# --- the caller ---


@both
def test_caller_sees_and_tells_what_any_hit_does(side: Side, later: Background, truth: Truth) -> None:  # noqa: ARG001
    """A hit that is audited gives the same value, and is the same event."""
    truth.value = ["old"]
    read = truth.cached(side, timeout=TIMEOUT)
    side.call(read, 1)
    seen: list[Event] = []

    with listening(seen.append):
        found = side.call(read, 1)

    assert (["old"], 1, [("hit", read.key_for(1))]) == (found, truth.read_count, [(e.kind, e.key) for e in seen])


@both
def test_computation_around_depends_on_an_audited_hit(side: Side, later: Background, truth: Truth) -> None:
    """What an audited hit depended on, the call around it depends on too; not on what its audit asks for."""
    inner = truth.cached(SYNC, timeout=TIMEOUT)
    inner(1)
    outer_truth = Truth()
    outer_truth.meanwhile = lambda: inner(1) and later.look()
    outer = outer_truth.cached(side, timeout=TIMEOUT)
    side.call(outer)

    inner.invalidate(1)
    side.call(outer)

    assert 2 == outer_truth.read_count


@both
def test_computation_around_does_not_depend_on_what_the_audit_asks_for(
    side: Side, later: Background, truth: Truth
) -> None:
    """A computation that still runs while a hit inside it is audited learns nothing of what the audit calls."""
    other = Truth().cached(SYNC, timeout=TIMEOUT, name=f"tests.other.{side.is_async}")
    is_elsewhere: list[bool] = []
    inner = truth.cached(SYNC, timeout=TIMEOUT, key=lambda number: (number, is_elsewhere and other(1) and None))
    inner(1)
    outer_truth = Truth()

    def call_inside() -> None:
        inner(1)
        is_elsewhere.append(True)
        later.look()

    outer_truth.meanwhile = call_inside
    outer = outer_truth.cached(side, timeout=TIMEOUT)
    side.call(outer)

    other.invalidate(1)
    side.call(outer)

    assert 1 == outer_truth.read_count


@both
def test_full_background_is_no_matter(side: Side, later: Background, truth: Truth, told: Told) -> None:
    """Where there is no place the caller is served, nothing is told, and another hit may find one."""
    later.has_room = False
    read = planted(side, truth)

    later.has_room = True
    side.call(read, 1)

    later.look()
    later.look()

    assert ["inconsistent"] == told.kinds


# --- chance ---


@both
@pytest.mark.parametrize(("chance", "count"), [(0.249, 1), (0.25, 0)])
def test_fraction_of_hits_is_audited(  # noqa: PLR0913 -- a pair
    side: Side, later: Background, settings: Settings, monkeypatch: pytest.MonkeyPatch, *, chance: float, count: int
) -> None:
    """A hit is audited if chance is below the setting."""
    settings.CACHEDECO = {"AUDIT": 0.25}
    monkeypatch.setattr(sampling, "random", lambda: chance)
    read = Truth().cached(side, timeout=TIMEOUT)
    side.call(read, 1)

    side.call(read, 1)

    assert count == len(later.jobs)


@both
def test_nothing_is_audited_unless_asked_for(side: Side, later: Background, settings: Settings) -> None:
    """Without the setting there is no audit, and no dice are thrown."""
    settings.CACHEDECO = {}
    read = Truth().cached(side, timeout=TIMEOUT)
    side.call(read, 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sampling, "random", lambda: pytest.fail("thrown"))
        side.call(read, 1)

    assert [] == later.jobs


@both
def test_function_that_opts_out_is_not_audited(side: Side, later: Background, truth: Truth) -> None:
    """A function whose value changes by itself says so."""
    planted(side, truth, audit=False)

    assert [] == later.jobs


@both
@pytest.mark.parametrize("name", ["bypass", "off"])
def test_call_past_the_cache_is_not_audited(side: Side, later: Background, truth: Truth, name: str) -> None:
    """What was computed just now is no hit."""
    with mode(name):  # type: ignore[arg-type]
        planted(side, truth)

    assert [] == later.jobs


@both
@pytest.mark.parametrize("number", [0, 1])
def test_mode_that_changes_meanwhile_ends_the_audit(  # noqa: PLR0913 -- at either look
    side: Side,
    later: Background,
    truth: Truth,
    told: Told,
    *,
    settings: Settings,
    commands: Commands,
    number: int,
) -> None:
    """
    Where the cache is turned off before a look, it is not touched any more.

    The defect: the second look asked it for the tokens.
    """
    planted(side, truth)
    for _ in range(number):
        later.look()
    settings.CACHEDECO = {**settings.CACHEDECO, "MODE": "off"}
    commands.clear()

    later.look()
    later.look()

    assert ([], 1 + number, []) == (told, truth.read_count, commands)


# --- transactions ---


@both
@pytest.mark.django_db(transaction=True)
def test_hit_inside_a_transaction_is_not_audited(side: Side, later: Background, truth: Truth) -> None:
    """What it has written no other connection sees; and the hit after it is audited again."""
    with transaction.atomic():
        planted(side, truth)
        inside = len(later.jobs)
    planted(side, truth)

    assert (0, 1) == (inside, len(later.jobs))


@both
@pytest.mark.django_db
def test_hit_inside_a_test_case_is_not_audited(side: Side, later: Background, truth: Truth) -> None:
    """In the block of a TestCase, which is never committed, no other connection could see what a test has written."""
    planted(side, truth)

    assert [] == later.jobs


@both
@pytest.mark.django_db(transaction=True)
def test_look_inside_a_transaction_is_none(side: Side, later: Background, truth: Truth, told: Told) -> None:
    """A connection that is in a transaction when a task of its loop comes to look does not see what was committed."""
    planted(side, truth)

    with transaction.atomic():
        later.look()

    assert ([], [], 1) == (told, later.jobs, truth.read_count)


# --- elsewhere ---


@both
def test_call_with_another_key_in_the_background_is_not_audited(
    side: Side, later: Background, truth: Truth, told: Told
) -> None:
    """What is known only to the caller's thread or connection would give another tenant's value: an event says so."""
    tenant = ["one"]
    planted(side, truth, vary=lambda: tenant[0])
    tenant[0] = "nobody"

    later.look()

    [event] = told
    assert ("error", "The audit failed", 1, []) == (event.kind, event.reason, truth.read_count, later.jobs)
    assert str(event.error).endswith(REMEDY)


@both
def test_call_that_has_no_key_in_the_background_is_not_audited(
    side: Side, later: Background, truth: Truth, told: Told
) -> None:
    """Where what a call varies on raises in the background, an event has the exception."""
    divisor = [1]
    planted(side, truth, vary=lambda: 1 / divisor[0])
    divisor[0] = 0

    later.look()

    assert [ZeroDivisionError] == [type(each.error) for each in told]


@both
@pytest.mark.parametrize("number", [0, 1])
def test_function_that_raises_in_the_audit_is_an_event(
    side: Side, later: Background, truth: Truth, told: Told, number: int
) -> None:
    """Nothing is known then of what was served, and no call is broken."""
    planted(side, truth)
    for _ in range(number):
        later.look()
    truth.error = ZeroDivisionError("broken")

    later.look()

    assert [("error", "The audit failed", truth.error)] == [(e.kind, e.reason, e.error) for e in told]
    assert [] == later.jobs


@both
def test_result_that_is_refused_in_the_audit_is_an_event(
    side: Side, later: Background, truth: Truth, told: Told
) -> None:
    """A function that returns what can't be cached by now fails in the audit as it would in a call."""
    planted(side, truth)
    truth.value = iter("new")

    later.look()

    assert [TypeError] == [type(each.error) for each in told]


class Brittle:
    """What is unpickled for the caller, and then no more."""

    left = 1

    def __setstate__(self, _: object) -> None:
        """Fail, in the end."""
        type(self).left -= 1
        if type(self).left < 0:
            raise LookupError

    def __getstate__(self) -> object:
        """Have a state, so that it is set."""
        return {"n": 1}


@both
def test_values_that_can_not_be_told_apart_are_an_event(
    side: Side, later: Background, truth: Truth, told: Told
) -> None:
    """A value that can't be stored now, as a hit would load it, is an event."""
    truth.value = [1]
    read = truth.cached(side, timeout=TIMEOUT)
    side.call(read, 1)
    side.call(read, 1)
    truth.value = [lambda: 3]

    later.look()

    assert ["error"] == told.kinds


@both
def test_value_that_can_not_be_unpickled_again_is_an_event(
    side: Side, later: Background, truth: Truth, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was served is not known any more: nothing is said of it."""
    monkeypatch.setattr(Brittle, "left", 1)
    truth.value = Brittle()
    read = truth.cached(side, timeout=TIMEOUT)
    side.call(read, 1)
    side.call(read, 1)

    later.look()

    assert [("error", "The entry can't be unpickled")] == told.reasons


# --- the cache ---


@both
@pytest.mark.parametrize("number", [0, 1])
def test_cache_that_can_not_be_asked_ends_the_audit(  # noqa: PLR0913 -- at either look
    side: Side, later: Background, truth: Truth, told: Told, monkeypatch: pytest.MonkeyPatch, *, number: int
) -> None:
    """Where it is unknown whether there was an invalidation, no call is accused."""
    planted(side, truth)
    for _ in range(number):
        later.look()
    monkeypatch.setattr("cachedeco.storage.store.Store.get_many", lambda *_: None)

    later.look()
    later.look()

    assert [] == told


# --- suspects ---


@both
def test_suspect_is_not_audited_before_its_second_look(side: Side, later: Background, truth: Truth, told: Told) -> None:
    """An old value that is asked for a thousand times is one report; and after that there may be another."""
    read = planted(side, truth)
    later.look()
    side.call(read, 1)
    while_suspect = len(later.jobs)
    later.look()
    side.call(read, 1)

    later.look()
    later.look()

    assert (1, ["inconsistent"] * 2) == (while_suspect, told.kinds)


@both
def test_hits_that_are_audited_at_once_are_one_report(side: Side, later: Background, truth: Truth, told: Told) -> None:
    """Two callers whose first looks come before any suspicion share the second."""
    read = planted(side, truth)
    side.call(read, 1)

    later.look()
    later.look()

    assert (["inconsistent"], []) == (told.kinds, later.jobs)


@both
@pytest.mark.parametrize(("seconds", "kinds"), [(2 * AUDIT_SECONDS - 1, []), (2 * AUDIT_SECONDS, ["inconsistent"])])
def test_suspect_whose_second_look_never_comes_is_forgotten(  # noqa: PLR0913 -- a pair
    side: Side, later: Background, truth: Truth, told: Told, *, seconds: float, kinds: list[str]
) -> None:
    """A loop that ends takes the second look along: a while later the entry may be audited again."""
    read = planted(side, truth)
    later.look()
    later.jobs.clear()
    later.clock.now += seconds
    side.call(read, 1)

    later.look()
    later.look()

    assert kinds == told.kinds


@both
def test_second_look_that_finds_no_place_is_forgotten(side: Side, later: Background, truth: Truth, told: Told) -> None:
    """Where no second look can be had there is no suspect: the next hit may be audited."""
    read = planted(side, truth)
    later.has_room = False
    later.look()
    later.has_room = True
    side.call(read, 1)

    later.look()
    later.look()

    assert ["inconsistent"] == told.kinds


@both
@pytest.mark.parametrize(("room", "kinds"), [(2, ["inconsistent"] * 2), (1, ["inconsistent"])])
def test_suspects_are_so_many_at_most(  # noqa: PLR0913 -- a pair
    side: Side, later: Background, truth: Truth, told: Told, *, room: int, kinds: list[str]
) -> None:
    """What waits for its second look holds memory, and so there is an end to it."""
    read = truth.cached(side, timeout=TIMEOUT)
    for number in (1, 2):
        side.call(read, number)
    truth.value = "new"
    for number in (1, 2):
        side.call(read, number)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(auditor, "MOST_SUSPECTS", room)
        later.look()
        later.look()

    assert kinds == told.kinds


def test_forked_child_has_no_suspects(later: Background, truth: Truth) -> None:
    """Who would have looked a second time is not there."""
    planted(SYNC, truth)
    later.look()
    before = len(auditor._suspects)

    state.reset_in_child()

    assert (1, {}) == (before, auditor._suspects)
