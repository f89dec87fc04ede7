"""Scenarios of gathered calls, and of calls in one block of `remembered()`, with invalidations between."""

from cachedeco import remembered
from tests.schedules.acts import Act, forgets, on_loop, only_once, reads, reads_at_one_moment, writes
from tests.schedules.explorer import Scenario
from tests.schedules.functions import (
    awaited_both,
    awaited_first,
    awaited_second,
    both,
    first,
    plain,
    second,
    shelf,
)
from tests.schedules.simulation import step

A_WRITER = {"W": writes("b", second.invalidate)}


def _writes_one_after_the_other() -> None:
    writes("a", first.invalidate)()
    writes("b", second.invalidate)()
    second()


def in_one_block(act: Act) -> Act:
    """Act in a block of `remembered()`."""

    def acts() -> None:
        with remembered():
            act()

    return acts


GATHERED = [
    Scenario(
        name="a gather of two calls that are written one after the other",
        promise="Values that are served together were valid at one moment, though their keys are read one by one.",
        before=[both],
        cast={"A": reads_at_one_moment(both, "a", "b"), "W": _writes_one_after_the_other},
        looks=[reads(both)],
    ),
    Scenario(
        name="a gather of one call that is stored, one writer",
        promise="What is not stored is loaded from what all were looked up by, and is not older than an invalidation.",
        before=[both, forgets, first],
        cast={"A": reads(both), **A_WRITER},
        looks=[reads(both)],
    ),
    Scenario(
        name="a cold gather, one writer",
        promise="A gather that creates its tokens sees an invalidation that comes meanwhile.",
        cast={"A": reads(both), **A_WRITER},
        looks=[reads(both)],
    ),
    Scenario(
        name="a gather beside a call of one of its functions, one writer",
        promise="A gather and a call share what they compute, and nothing that is invalidated.",
        before=[both, forgets],
        cast={"A": reads(both), "B": reads(second), **A_WRITER},
        looks=[reads(both)],
    ),
    Scenario(
        name="a gather inside a call, one writer",
        promise="A call depends on all that its function gathers.",
        before=[shelf, forgets],
        cast={"A": reads(shelf), **A_WRITER},
        looks=[reads(shelf)],
    ),
]


on_loop_first, on_loop_second, on_loop_both = map(on_loop, (awaited_first, awaited_second, awaited_both))
AN_ASYNC_WRITER = {"W": writes("b", awaited_second.invalidate)}


def _writes_one_after_the_other_for_loops() -> None:
    writes("a", awaited_first.invalidate)()
    writes("b", awaited_second.invalidate)()
    on_loop_second()


ASYNC = [
    Scenario(
        name="an async gather of two calls that are written one after the other",
        promise="What an event loop serves together was valid at one moment, though its keys are read one by one.",
        before=[on_loop_both, on_loop_both],
        cast={"A": reads_at_one_moment(on_loop_both, "a", "b"), "W": _writes_one_after_the_other_for_loops},
        looks=[reads(on_loop_both)],
    ),
    Scenario(
        name="an async gather of one call that is stored, one writer",
        promise="A loop loads what is not stored from what all were looked up by, and stores nothing invalidated.",
        before=[on_loop_both, forgets, on_loop_first],
        cast={"A": reads(on_loop_both), **AN_ASYNC_WRITER},
        looks=[reads(on_loop_both)],
    ),
    Scenario(
        name="an async gather beside a call of one of its functions, one writer",
        promise="Loops of two threads share what they compute, and nothing that is invalidated.",
        before=[on_loop_both, forgets],
        cast={"A": reads(on_loop_both), "B": reads(on_loop_second), **AN_ASYNC_WRITER},
        looks=[reads(on_loop_both)],
    ),
    Scenario(
        name="loops of two processes compute once",
        promise="A loop that stores by itself leaves a mark in its lease, and nobody computes or waits after it.",
        before=[on_loop_first, forgets],
        cast={"A@p": reads(on_loop_first), "B@q": reads(on_loop_first)},
        looks=[only_once],
        budget={"poll": 2},
    ),
]


def _after_a_step() -> dict[str, int]:
    """Read by a call whose first step is none of its own: the next ones are served from memory."""
    step("row", ("think",), lambda: None)
    return plain()


REMEMBERED = [
    Scenario(
        name=f"a {state} reader thrice in one block, one writer",
        promise="What a block remembers is served until its process has invalidated it, and not after that.",
        before=before,
        cast={"A": in_one_block(reads(_after_a_step, times=3)), "W": writes("row", plain.invalidate)},
        looks=[reads(plain)],
    )
    for state, before in {"cold": [], "warm": [plain]}.items()
]
