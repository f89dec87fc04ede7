"""Two looks: what they find, what they explain, and what they tell."""

import logging
from collections.abc import Callable

import pytest

from cachedeco import Namespace
from cachedeco.auditing import auditor
from cachedeco.auditing.auditor import INVALIDATED, REPLACED
from cachedeco.runtime.log import text_of_key
from tests.auditing.conftest import AUDIT_SECONDS, TIMEOUT, Background, Cached, Told
from tests.loading.refreshing.conftest import Truth
from tests.support.clocks import Clock
from tests.support.sides import Side, both
from tests.support.stored import stored

Act = Callable[[], object]


def planted(side: Side, truth: Truth, **options: object) -> Cached:
    """Return a function with a hit that is old, and was not invalidated."""
    read = truth.cached(side, **{"timeout": TIMEOUT, **options})
    side.call(read, 1)
    truth.value = "new"
    side.call(read, 1)
    return read


# --- what is found ---


@both
def test_value_that_was_not_invalidated_is_reported_once(
    side: Side, later: Background, truth: Truth, told: Told
) -> None:
    """What differs at both looks under the stamp that it was served under is inconsistent, and told once."""
    planted(side, truth)

    later.look()
    at_first = list(told)
    later.look()
    later.look()

    assert ([], ["inconsistent"], [], 3) == (at_first, told.kinds, later.jobs, truth.read_count)


@both
def test_report_has_key_age_stamp_and_difference(side: Side, later: Background, truth: Truth, told: Told) -> None:
    """Who reads the report can find the entry, and what has changed since."""
    read = planted(side, truth, namespace="club:{number}")
    later.clock.now += 40
    keys = read._spec.resolve_call((1,), {})[1][1:]
    held = stored().get_many(keys)

    later.look()
    later.look()

    [event] = told
    assert (read.key_for(1), "default", 40 + AUDIT_SECONDS) == (event.key, event.cache, event.seconds)
    tokens = ", ".join(f"{key} = {token.hex()}" for key, token in zip(keys, map(held.__getitem__, keys), strict=True))
    assert event.reason == (
        f"it differs from what is computed now: 'old' and 'new'; its age is 100 s; its stamp is {tokens}"
    )


@both
def test_report_says_where_the_values_differ(side: Side, later: Background, truth: Truth, told: Told) -> None:
    """Of a value with parts, the part is named."""
    truth.value = [{"name": "Judo"}]
    read = truth.cached(side, timeout=TIMEOUT)
    side.call(read, 1)
    truth.value = [{"name": "Karate"}]
    side.call(read, 1)

    later.look()
    later.look()

    assert "now: [0]['name']: 'Judo' and 'Karate'; its" in told[0].reason


@both
def test_report_is_short(
    side: Side, later: Background, truth: Truth, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a long value nor a long stamp floods the log."""
    monkeypatch.setattr(auditor, "MOST_TOKENS_SHOWN", 2)
    truth.value = {"name": "x" * 1000}
    read = truth.cached(side, timeout=TIMEOUT, namespace="club:{number}")
    side.call(read, 1)
    truth.value = {"name": "y" * 1000}
    side.call(read, 1)

    later.look()
    later.look()

    assert 900 > len(told[0].reason)
    assert told[0].reason.endswith(", and 2 more")
    assert f"'{100 * 'x'}'... and '{100 * 'y'}'...; its age" in told[0].reason


@both
def test_report_is_logged_as_an_error_and_counted(
    side: Side, later: Background, truth: Truth, caplog: pytest.LogCaptureFixture
) -> None:
    """A developer should look at it, and it can be counted."""
    read = planted(side, truth, name=f"tests.logged.{side.is_async}")

    later.look()
    later.look()

    [record] = caplog.records
    assert (logging.ERROR, 1, 0) == (record.levelno, read.stats().inconsistent, read.stats().audited)
    assert f"key {text_of_key(read.key_for(1))}, cache 'default'" in record.getMessage()


@both
def test_entry_that_was_evicted_is_reported(side: Side, later: Background, truth: Truth, told: Told) -> None:
    """That the server needed the room explains nothing: it was served until then."""
    read = planted(side, truth)
    later.look()
    stored().delete(read.key_for(1))

    later.look()

    assert ["inconsistent"] == told.kinds


@both
def test_method_is_audited_with_its_instance(side: Side, later: Background, told: Told) -> None:
    """What is computed anew is the same call: bound to the same object, with the same arguments in any form."""
    calls: list[tuple[object, int]] = []

    class Club:
        pk = 7

        @side.cached(timeout=TIMEOUT, key="{self.pk}:{page}", ignore=("calls",))
        def classes(self, page: int) -> int:
            calls.append((self, page))
            return page

    club = Club()
    side.call(club.classes, 2)
    side.call(club.classes, page=2)

    later.look()

    assert ([(club, 2)] * 2, ["audited"]) == (calls, told.kinds)


# --- what is explained ---


@both
def test_value_that_has_not_changed_is_audited(side: Side, later: Background, truth: Truth, told: Told) -> None:
    """What is what it was is told and counted, with the time that it took to know, and looked at once."""
    read = truth.cached(side, timeout=TIMEOUT, name=f"tests.counted.{side.is_async}")
    side.call(read, 1)
    side.call(read, 1)
    truth.meanwhile = lambda: later.clock.pause(7)

    later.look()

    assert ([("audited", "")], [], 2) == (told.reasons, later.jobs, truth.read_count)
    assert (1, 0) == (read.stats().audited, read.stats().inconsistent)
    assert (read.key_for(1), 7) == (told[0].key, told[0].seconds)


@both
def test_value_that_the_caller_has_changed_is_audited(side: Side, later: Background, truth: Truth, told: Told) -> None:
    """What counts is what was stored, and not what became of the caller's copy."""
    truth.value = ["old"]
    read = truth.cached(side, timeout=TIMEOUT)
    side.call(read, 1)
    side.call(read, 1).append("mine")

    later.look()

    assert [("audited", "")] == told.reasons


@pytest.mark.covering(2)
@both
@pytest.mark.parametrize("way", ["call", "function", "namespace"])
@pytest.mark.parametrize("moment", ["before the first look", "in it", "between the looks", "in the second look"])
def test_invalidation_explains_it(  # noqa: PLR0913 -- each way at each moment
    side: Side, later: Background, truth: Truth, told: Told, *, moment: str, way: str
) -> None:
    """However long an invalidation takes: one that has arrived by the end of the second look is no fault."""
    read = planted(side, truth, namespace="club:{number}")
    invalidate: Act = {
        "call": lambda: read.invalidate(1),
        "function": read.invalidate_all,
        "namespace": Namespace("club").invalidate,
    }[way]

    def once() -> None:
        truth.meanwhile = lambda: None
        invalidate()

    for name in ("before the first look", "in it", "between the looks", "in the second look"):
        if moment == name and name.startswith("in"):
            truth.meanwhile = once
        elif moment == name:
            once()
        if not name.startswith("b") or name == moment:
            later.look()

    assert [("audited", INVALIDATED)] == told.reasons
    assert [] == later.jobs


@both
def test_second_look_that_is_explained_computes_nothing(
    side: Side, later: Background, truth: Truth, told: Told
) -> None:
    """Where the tokens have changed already there is nothing to be computed for."""
    read = planted(side, truth)
    later.look()
    side.call(read.invalidate, 1)

    later.look()

    assert ([("audited", INVALIDATED)], 2) == (told.reasons, truth.read_count)


@both
def test_value_that_is_right_again_is_audited(side: Side, later: Background, truth: Truth, told: Told) -> None:
    """What the second look finds as it was served was between two commits, or read from a replica that lagged."""
    planted(side, truth)
    later.look()
    truth.value = "old"

    later.look()

    assert [("audited", "")] == told.reasons


@both
@pytest.mark.parametrize("verb", ["refresh", "set"])
def test_entry_that_was_replaced_is_explained(
    side: Side, later: Background, truth: Truth, told: Told, verb: str
) -> None:
    """Who stores what he has written has seen to it, if not by an invalidation."""
    read = planted(side, truth)
    later.look()
    side.call(read.call(1).set, "new") if verb == "set" else side.call(read.refresh, 1)

    later.look()

    assert [("audited", REPLACED)] == told.reasons


@both
@pytest.mark.parametrize(("seconds", "kinds"), [(AUDIT_SECONDS, []), (AUDIT_SECONDS + 1, ["audited"])])
def test_entry_that_ends_before_a_second_look_is_not_audited(  # noqa: PLR0913 -- a pair
    side: Side, later: Background, truth: Truth, told: Told, *, seconds: float, kinds: list[str]
) -> None:
    """What lives no longer than AUDIT_SECONDS ends by its timeout before it could be called stuck."""
    read = truth.cached(side, timeout=seconds)
    side.call(read, 1)
    side.call(read, 1)

    later.look()

    assert kinds == told.kinds


@both
def test_entry_past_its_timeout_at_the_second_look_is_explained(
    side: Side, later: Background, truth: Truth, told: Told
) -> None:
    """A second look that comes late finds what is served no more."""
    planted(side, truth)
    later.look()
    later.clock.now += TIMEOUT

    later.look()

    assert [("audited", REPLACED)] == told.reasons


# --- its age ---


@both
@pytest.mark.parametrize(
    ("options", "age"),
    [
        ({"timeout": None}, "its age is at least 60 s"),
        ({"timeout": 3600}, "its age is 100 s;"),
        ({"timeout": 3600, "jitter": 0.5}, "its age is at most "),
        ({"timeout": lambda value: 3600 if value == "old" else 1 / 0}, "its age is 100 s;"),
    ],
    ids=["for ever", "timeout", "jitter", "callable"],
)
def test_age_is_told_as_far_as_it_is_known(  # noqa: PLR0913 -- a table
    side: Side, clock: Clock, later: Background, truth: Truth, told: Told, *, options: dict[str, object], age: str
) -> None:
    """The age follows from timeout and expiry; where there is no timeout, from when it was served."""
    read = truth.cached(side, **options)
    side.call(read, 1)
    clock.now += 40
    truth.value = "new"
    side.call(read, 1)

    later.look()
    later.look()

    assert age in told[0].reason


@both
def test_age_is_told_where_the_timeout_can_not_be(side: Side, later: Background, truth: Truth, told: Told) -> None:
    """A callable that fails by now costs the report nothing but precision."""
    divisor = [1]
    planted(side, truth, timeout=lambda _: TIMEOUT / divisor[0])
    divisor[0] = 0

    later.look()
    later.look()

    assert "its age is at least 60 s" in told[0].reason


@both
def test_age_is_no_less_than_the_time_of_the_audit(side: Side, later: Background, truth: Truth, told: Told) -> None:
    """Where the timeout is another by now, what was seen is what counts."""
    seconds = [TIMEOUT]
    planted(side, truth, timeout=lambda _: seconds[0])
    seconds[0] = 1

    later.look()
    later.look()

    assert AUDIT_SECONDS == told[0].seconds
