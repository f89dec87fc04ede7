"""Many cases of a function without state in one test: what comes around each test takes longer than such a case."""

from collections.abc import Callable, Iterable

import pytest


def in_one_test(cases: Iterable[object]) -> Callable[[Callable[..., None]], Callable[[], None]]:
    """Decorate a test, to run with each case, and to fail with all that fail; a tuple is several arguments."""
    given = list(cases)
    assert given

    def decorate(test: Callable[..., None]) -> Callable[[], None]:
        def run() -> None:
            faults = []
            for case in given:
                try:
                    test(*case) if type(case) is tuple else test(case)
                except (AssertionError, pytest.fail.Exception) as error:
                    faults.append(f"{case!r}:\n{error}")
                except Exception as error:
                    error.add_note(f"The case: {case!r}")
                    raise
            assert not faults, "\n\n".join(faults)

        # Not `wraps`: pytest would look for fixtures with the names of the arguments.
        run.__name__, run.__qualname__, run.__module__ = test.__name__, test.__qualname__, test.__module__
        run.__doc__ = test.__doc__
        return run

    return decorate
