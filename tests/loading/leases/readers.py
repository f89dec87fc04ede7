"""Cached functions that tell how often they ran."""

from collections.abc import Callable
from typing import Any

from cachedeco import CachedQuery
from tests.support.sides import Side

Cached = CachedQuery[..., Any]


def reader(
    side: Side,
    work: Callable[[], object] = lambda: None,
    **options: Any,
) -> tuple[Cached, list[int]]:
    """Return a cached function that gives "ours" after some work, and the list of the arguments that it ran with."""
    ran: list[int] = []

    @side.cached(**{"timeout": 60, "ignore": ("ran", "work"), **options})
    def read(number: int) -> str:
        ran.append(number)
        work()
        return "ours"

    return read, ran
