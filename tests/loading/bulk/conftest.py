"""Fixtures of the tests of cached functions over many ids: a table to read from, and a clock."""

from typing import Any

import pytest

from tests.loading.bulk.tables import Clock, Table
from tests.support.clocks import replace_time


@pytest.fixture
def table() -> Table:
    """Give a table with the rows 1 to 9."""
    return Table({number: f"row {number}" for number in range(1, 10)})


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Give the clock by which entries are due; the cache itself goes by another one."""
    clock = Clock()
    replace_time(monkeypatch, clock)
    return clock


@pytest.fixture
def many(table: Table) -> Any:
    """Give a cached function over the table's rows, with a namespace for each."""
    return table.cached(timeout=300, namespace="row:{each}")
