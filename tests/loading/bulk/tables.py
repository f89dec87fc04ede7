"""A truth of many rows, and cached functions over it."""

import time
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any

from cachedeco import cached_query_many
from tests.support.sides import SYNC, Side
from tests.support.threads import Gate

_serials = count()


class Clock:
    """A clock that goes on when it is told to."""

    def __init__(self) -> None:
        """Begin now."""
        self.now = time.time()

    def __call__(self) -> float:
        """Return seconds since the epoch."""
        return self.now

    def pass_(self, seconds: float) -> None:
        """Go on."""
        self.now += seconds


class Table:
    """Rows by id, the lists of ids that were asked for, and a gate behind them."""

    def __init__(self, rows: Mapping[Any, Any]) -> None:
        """Begin with some rows."""
        self.rows = dict(rows)
        self.asked: list[list[Any]] = []
        self.error: Exception | None = None  # raised once, by the next who has passed the gate
        self.gate = Gate()

    def read(self, ids: list[Any]) -> dict[Any, Any]:
        """Return the rows of some ids, as they were before the gate."""
        self.asked.append(ids)
        rows = {each: self.rows[each] for each in ids if each in self.rows}
        self.gate.wait_to_pass()
        error, self.error = self.error, None
        if error is not None:
            raise error
        return rows

    def cached(self, side: Side = SYNC, **options: Any) -> Any:
        """Return a cached function over the rows, of a name of its own."""

        def rows_of(ids: list[Any]) -> dict[Any, Any]:
            return self.read(ids)

        return self.over(rows_of, side, **options)

    def over(self, function: Callable[..., Any], side: Side = SYNC, **options: Any) -> Any:
        """Decorate a function that reads from the table, with a name of its own."""
        name = f"bulk{next(_serials)}"
        more: dict[str, Any] = {"over": "ids", "name": name, **options}
        free = set(function.__code__.co_freevars)
        return cached_query_many(ignore=tuple(free), **more)(side.of(function))
