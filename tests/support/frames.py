"""Whose lines a failure shows."""

import pytest


def files_in(failure: pytest.ExceptionInfo[BaseException]) -> list[str]:
    """Return the files of the frames that pytest shows of a failure."""
    return [str(frame.path) for frame in failure.traceback.filter(failure)]
