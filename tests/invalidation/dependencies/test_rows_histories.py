"""Histories of writes of every kind: no part is stale, and what a write does not concern stays stored."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.parts import WRITES, PartsWorld, Write


@pytest.mark.django_db
@settings(max_examples=40)
@given(st.lists(WRITES, min_size=1, max_size=8))
def test_no_history_leaves_a_part_stale_or_ends_one_without_need(history: list[Write]) -> None:
    """Each stored part is as in the database; saves, inserts and deletes end the parts of their rows alone."""
    world = PartsWorld("default")

    for write in history:
        world.run(write)
