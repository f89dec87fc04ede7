"""A call over many ids that is repeated for some of them, in a task."""

from typing import Any

import pytest

from cachedeco.functions import repeating
from tests.loading.bulk.tables import Table


def test_task_is_told_of_the_ids_alone_that_it_refreshes(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message has a call of these ids, and their keys."""
    many: Any = table.cached()
    told: list[Any] = []
    monkeypatch.setattr(repeating, "enqueue", lambda call, keys: told.append((call, keys)))
    repeat = repeating.RepeatMany(many, many._bulk.find_ids(([1, 2, 3],), {}))

    repeat.enqueue([3, 1])

    assert [(many.call([3, 1]), list(many.keys_for([3, 1]).values()))] == told
