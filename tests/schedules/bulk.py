"""Scenarios of calls over many ids: cold, warm, beside calls of one id, raising, and with invalidations between."""

from collections.abc import Callable
from contextlib import suppress

from tests.schedules.acts import Act, forgets, one_at_a_time, passes, raises, reads, reads_at_one_moment, writes
from tests.schedules.explorer import Scenario
from tests.schedules.functions import album, many, none
from tests.schedules.world import Failing

PAST_A_LEASE = passes(11)


def bulk(*rows: str) -> Callable[[], dict[str, int]]:
    """Return a call over some rows."""
    return lambda: many(rows)


def invalidating(*rows: str) -> Callable[[], None]:
    """Return what invalidates some rows by one command."""
    return lambda: many.invalidate(rows)


AB, BA, BC, B = bulk("a", "b"), bulk("b", "a"), bulk("b", "c"), bulk("b")
A_WRITER = {"W": writes("b", invalidating("b"))}


def _writes_one_after_the_other() -> None:
    for row in "ab":
        writes(row, invalidating(row))()
    AB()


def _raises_alone() -> None:
    with suppress(Failing):
        none(["a", "b"])


SHARES_AN_ERROR: Act = raises(lambda: none(["a", "b"]))

BULK = [
    Scenario(
        name="two bulk calls, one writer",
        promise="Calls over the same ids, in any order of them, give nothing that was invalidated before they began.",
        before=[AB, forgets],
        cast={"A": reads(AB), "B": reads(BA), **A_WRITER},
        looks=[reads(AB)],
    ),
    Scenario(
        name="two bulk calls that share an id, one writer",
        promise="A call takes the value of an id from another call, and never one that was invalidated before it.",
        before=[AB, BC, forgets],
        cast={"A": reads(AB), "B": reads(BC), **A_WRITER},
        looks=[reads(AB), reads(BC)],
    ),
    Scenario(
        name="a bulk call beside a call of one of its ids, one writer",
        promise="A call over one id and a call over several share what they compute, and nothing that is invalidated.",
        before=[AB, forgets],
        cast={"A": reads(AB), "B": reads(B), **A_WRITER},
        looks=[reads(AB), reads(B)],
    ),
    Scenario(
        name="a cold bulk call, one writer of all",
        promise="A call that creates its tokens sees an invalidation of all calls that comes meanwhile.",
        cast={"A": reads(AB), "V": writes("b", many.invalidate_all)},
        looks=[reads(AB)],
    ),
    Scenario(
        name="a warm bulk call twice, one writer of one id and one of all",
        promise="An invalidation of one id, and one of all, ends what is stored, whichever keys were read before it.",
        before=[AB],
        cast={"A": reads(AB, times=2), **A_WRITER, "V": writes("a", many.invalidate_all)},
        looks=[reads(AB)],
    ),
    Scenario(
        name="a warm bulk call, any key evicted",
        promise="A lost entry or token of one id is a miss for this id.",
        before=[AB],
        cast={"A": reads(AB), **A_WRITER},
        looks=[reads(AB)],
        budget={"evict": 1},
    ),
    Scenario(
        name="two bulk calls, one abandoned",
        promise="A leader that is no more stops neither its followers nor those that come later.",
        before=[AB, forgets],
        cast={"A": reads(AB), "B": reads(B)},
        looks=[PAST_A_LEASE, reads(AB)],
        budget={"crash": 1},
    ),
    Scenario(
        name="three bulk calls compute one at a time",
        promise="No id is computed by two calls over the same ids at one time.",
        before=[AB, forgets],
        cast=dict.fromkeys("ABC", reads(AB)),
        looks=[one_at_a_time],
    ),
    Scenario(
        name="bulk calls that share ids compute each one at a time",
        promise="In one process no id is computed by two calls at one time.",
        before=[AB, BC, forgets],
        cast={"A": reads(AB), "B": reads(BC), "C": reads(B)},
        looks=[one_at_a_time],
    ),
    Scenario(
        name="two processes compute a bulk call one at a time",
        promise="No id is computed by two processes at one time if they call over the same ids.",
        before=[AB, forgets],
        cast={"A@p": reads(AB), "B@q": reads(AB)},
        looks=[one_at_a_time],
    ),
    Scenario(
        name="two processes, one bulk call each, one writer",
        promise="A call that waits for another process gives nothing that was invalidated before it began.",
        before=[AB, forgets],
        cast={"A@p": reads(AB), "B@q": reads(AB), "W@r": A_WRITER["W"]},
        looks=[reads(AB)],
    ),
    Scenario(
        name="two bulk calls that raise",
        promise="Who waits for a computation that raises gets its exception, and does not compute again.",
        before=[_raises_alone],
        cast=dict.fromkeys("AB", SHARES_AN_ERROR),
        looks=[],
    ),
    Scenario(
        name="a bulk call inside a call, one writer",
        promise="A call depends on each id of a bulk call inside it.",
        before=[album, forgets],
        cast={"A": reads(album), "B": reads(B), **A_WRITER},
        looks=[reads(album)],
    ),
    Scenario(
        name="a bulk call of two ids that are written one after the other",
        promise="Values that are served together were valid at one moment, though their keys are read one by one.",
        before=[AB],
        cast={"A": reads_at_one_moment(AB, "a", "b"), "W": _writes_one_after_the_other},
        looks=[reads(AB)],
    ),
]

MANY_BULK = [
    Scenario(
        name="many bulk calls",
        promise="Calls over ids that overlap, in three processes, with all that may happen, give nothing invalidated.",
        before=[AB],
        cast={
            "A@p": reads(AB, times=2),
            "B@p": reads(BC, times=2),
            "C@q": reads(BA, times=2),
            "D@q": reads(album),
            "V@p": writes("b", invalidating("b"), times=2),
            "W@r": writes("a", invalidating("a", "c")),
        },
        looks=[PAST_A_LEASE, reads(AB), reads(BC), reads(album)],
        budget={"evict": 3, "crash": 1, "kill": 1, "poll": 5, "timeout": 1, "fail": 1},
    ),
    Scenario(
        name="ten bulk calls that raise",
        promise="Ten callers of what raises share its exception, whatever ends their waits.",
        before=[_raises_alone],
        cast=dict.fromkeys("ABCDEFGHIJ", SHARES_AN_ERROR),
        looks=[],
    ),
]
