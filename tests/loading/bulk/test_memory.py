"""What a call holds in memory beside the values that it returns."""

import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from tests.loading.bulk.tables import Table

IDS = range(2500)


def beyond_values(call: Callable[[Any], object]) -> float:
    """Return the bytes for each id that a call needs at most, beside what it returns."""
    tracemalloc.start()
    try:
        _ = call(IDS)
        left, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return (peak - left) / len(IDS)


@pytest.mark.slow
def test_memory_for_each_id_is_what_the_page_says() -> None:
    """Of values that are short: some hundred bytes for each key, and fewer for short keys."""
    many = Table(dict.fromkeys(IDS, "row")).cached(namespace="row:{each}")
    many([0])

    needed = [beyond_values(many), beyond_values(many)]
    many.invalidate(IDS)
    needed.append(beyond_values(many))

    most = [2300, 1200, 2500]
    assert all(stated / 2 < bytes_ < stated for bytes_, stated in zip(needed, most, strict=True)), needed
