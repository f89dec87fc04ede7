"""Copy an exception, for each follower of a single flight to raise its own."""

import copy
from contextlib import suppress


def copy_exception(error: Exception) -> Exception:
    """Return an error for one more caller to raise: raised by several threads, one error would mix their tracebacks."""
    try:
        twin = _copy_of(error)
    except Exception:  # noqa: BLE001 -- a class of the user's that can't be made anew
        return error
    # What copy() leaves out, or does not copy.
    twin.__cause__, twin.__context__ = error.__cause__, error.__context__
    twin.__suppress_context__ = error.__suppress_context__
    if hasattr(error, "__notes__"):
        twin.__notes__ = [*error.__notes__]
    return twin.with_traceback(error.__traceback__)


def _copy_of(error: Exception) -> Exception:
    kind = type(error)
    with suppress(Exception):
        twin = copy.copy(error)
        if type(twin) is kind and [*map(id, twin.args)] == [*map(id, error.args)]:
            return twin
    # Its __init__ takes something else than it hands on.
    twin = kind.__new__(kind, *error.args)
    twin.args = error.args
    vars(twin).update(vars(error))
    return twin
