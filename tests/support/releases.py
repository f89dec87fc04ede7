"""Two releases of a project in one process: the other one's models have one field more."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from cachedeco.storage import model_pickles


@contextmanager
def another_release(field: str = "one more") -> Iterator[None]:
    """Be a process of a release whose models have one field more, of this name."""
    fields_of = model_pickles._fields_of
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(model_pickles, "_fields_of", lambda model: (*fields_of(model), field))
            _forget()
            yield
    finally:
        _forget()


def _forget() -> None:
    model_pickles._describe.cache_clear()
    model_pickles._current.clear()
