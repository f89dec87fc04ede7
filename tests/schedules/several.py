"""Scenarios of calls that end with what they contain, and of several tenants by one cache."""

from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.schedules.acts import Act, changes, forgets, passes, reads, writes
from tests.schedules.explorer import Scenario
from tests.schedules.functions import BRIEF, brief, lasting, tenanted
from tests.schedules.simulation import world
from tests.schedules.tenants import tenant
from tests.schedules.world import Violation

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def _tenant(name: str) -> "Iterator[None]":
    before = tenant.set(name)
    try:
        yield
    finally:
        tenant.reset(before)


def of_tenant(name: str, act: Act) -> Act:
    """Act for a tenant."""

    def acts() -> None:
        with _tenant(name):
            act()

    return acts


def reads_own(name: str) -> Act:
    """Read for a tenant, and get his own row."""

    def act() -> None:
        value: dict[str, int] = {}

        def read() -> dict[str, int]:
            value.update(tenanted())
            return value

        reads(read)()
        if value.keys() != {f"row of {name}"}:
            message = f"tenant {name} has got {value}"
            raise Violation(message)

    return of_tenant(name, act)


def all_that_was_written_counts() -> None:
    """Have all that was written seen by those who read from now on, though nothing was invalidated."""
    world().acked = dict(world().rows)


_KNOWN = [of_tenant(name, tenanted) for name in "ab"]

TENANTS = [
    Scenario(
        name="two tenants, one reader each",
        promise="Tenants whose keys differ only by what KEY_FUNCTION adds share neither flights nor values.",
        before=[*_KNOWN, forgets],
        cast={"A": reads_own("a"), "B": reads_own("b")},
        looks=[reads_own("a"), reads_own("b")],
    ),
    Scenario(
        name="two tenants, one writer",
        promise="A tenant sees what is written for him, whoever else computes.",
        before=[*_KNOWN, forgets],
        cast={
            "A": reads_own("a"),
            "B": reads_own("b"),
            "W": of_tenant("a", writes("row of a", tenanted.invalidate)),
        },
        looks=[reads_own("a"), reads_own("b")],
    ),
]

PAST_THE_BRIEF = passes(BRIEF + 1)

LIFETIMES = [
    Scenario(
        name="a call for ever with a brief one inside, in another cache",
        promise="An outer entry ends with the inner one, whoever has computed that, and when.",
        before=[lasting, forgets],
        cast={"A": reads(lasting), "B": reads(brief), "T": passes(BRIEF / 2), "W": changes("in")},
        looks=[PAST_THE_BRIEF, all_that_was_written_counts, reads(lasting)],
    ),
    Scenario(
        name="a cold call for ever with a warm brief one inside, in another cache",
        promise="A hit of the inner call hands on what is left of its time.",
        before=[lasting, forgets, brief],
        cast={"A": reads(lasting), "T": passes(BRIEF - 1), "W": changes("in")},
        looks=[passes(2), all_that_was_written_counts, reads(lasting)],
    ),
]
