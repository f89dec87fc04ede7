"""Fixtures of the tests of races: a truth that changes, and a cached function that reads it."""

import pytest

from tests.sources import READERS, Reader, Source


@pytest.fixture
def source() -> Source:
    """Give a truth that is "old"."""
    return Source()


@pytest.fixture(params=READERS.values(), ids=READERS)
def read(request: pytest.FixtureRequest, source: Source) -> Reader:
    """Give a cached function over the source, sync and async."""
    reader: Reader = request.param(source)
    return reader
