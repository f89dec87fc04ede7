"""A call over many ids that is repeated for some of them, in another thread or a task."""

from typing import Any

from tests.loading.bulk.tables import Table


def test_call_is_repeated_for_the_ids_alone_that_are_refreshed(table: Table) -> None:
    """What a load gives to a thread or a task is a call of some of its ids, and has their keys."""
    many: Any = table.cached()

    again = many._call_again(many._bulk.find_ids(([1, 2, 3],), {}), [3, 1])

    assert many.call([3, 1]) == again
    assert list(many.keys_for([3, 1]).values()) == again._entry_keys()
