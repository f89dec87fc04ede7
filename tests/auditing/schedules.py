"""The auditor in the explorer: scenarios of hits that are audited, and the auditor broken on purpose."""

from collections.abc import Iterator, MutableMapping
from functools import partial
from typing import Any

from cachedeco.auditing import auditor
from cachedeco.loading.effects import Ok
from tests.schedules.acts import writes
from tests.schedules.explorer import Scenario
from tests.schedules.functions import TIMEOUT, inner, plain
from tests.schedules.scenarios import CALLS_INSIDE, invalidates, reads_by
from tests.schedules.simulation import REPLACED, now, submit, world
from tests.schedules.world import Violation


class Suspects(MutableMapping[tuple[str, str], float]):
    """What the process of the caller will audit a second time."""

    def __getitem__(self, name: tuple[str, str]) -> float:
        """Give the time until which it is known."""
        return world().process.suspects[name]

    def __setitem__(self, name: tuple[str, str], until: float) -> None:
        """Enter one."""
        world().process.suspects[name] = until

    def __delitem__(self, name: tuple[str, str]) -> None:
        """Forget one."""
        del world().process.suspects[name]

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """Give the names."""
        return iter(world().process.suspects)

    def __len__(self) -> int:
        """Count."""
        return len(world().process.suspects)


REPLACED.update(
    {
        "auditing.auditor.monotonic": now,
        "auditing.auditor.perf_counter": now,
        "auditing.auditor._suspects": Suspects(),
        "auditing.later.Delay.submit": lambda delay, work: submit(work, delay.seconds),
    }
)


def no_call_is_accused() -> None:
    """Fail if the auditor has called anything inconsistent."""
    if world().accusation:
        message = f"the auditor has accused somebody: {world().accusation}"
        raise Violation(message)


# A pause of the world ends when no other actor can go on: by the second look each invalidation has arrived.
_SETTINGS = {"AUDIT": 1.0, "AUDIT_SECONDS": TIMEOUT / 2}

AUDITS = [
    *[
        Scenario(
            name=f"a hit is audited, {way}",
            before=[function],
            cast=reads_by(function, "A") | {"W": writes("row", invalidate)},
            looks=[no_call_is_accused],
            settings=_SETTINGS,
        )
        for way, (function, invalidate) in invalidates.items()
    ],
    Scenario(
        name="a hit is audited, any key evicted",
        before=[plain],
        cast=reads_by(plain, "A") | {"W": writes("row", plain.invalidate)},
        looks=[no_call_is_accused],
        budget={"evict": 1},
        settings=_SETTINGS,
    ),
    Scenario(
        name="two hits are audited, two writers",
        before=[plain],
        cast=reads_by(plain, "A@p", "B@q") | {"W@r": writes("row", plain.invalidate, times=2)},
        looks=[no_call_is_accused],
        settings=_SETTINGS,
    ),
    *[
        Scenario(
            name=f"a call inside a call is audited, {name}",
            before=[function],
            cast=reads_by(function, "A") | {"W": writes("in", inner.invalidate)},
            looks=[no_call_is_accused],
            settings=_SETTINGS,
        )
        for name, function in CALLS_INSIDE.items()
    ],
]


def _accused_at_once(sample: auditor.Sample) -> Any:
    differing = yield from auditor._find_unexplained(sample)
    yield partial(auditor._report, sample, differing)
    return Ok(None)


# What is replaced in the auditor, and by what; it is missed where a hit is audited, own token.
WEAKENED: dict[str, tuple[str, Any]] = {
    "audits that look once": ("_first_look", _accused_at_once),
    "audits that do not look at the tokens": ("_without_explanation", lambda _sample, ids: list(ids)),
}
