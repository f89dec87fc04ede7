"""Fixtures of the tests with transactions that are real: what they leave, and a row to begin with."""

from collections.abc import Iterator

import pytest

from tests.support.clubs import assert_nothing_waits, made_club


@pytest.fixture
def _nothing_left_waiting() -> Iterator[None]:
    """Fail a test after which something still waits for a commit."""
    yield
    assert_nothing_waits()


@pytest.fixture
def pk() -> int:
    """Give the primary key of a club of the name "old", whose functions were called."""
    return made_club()
