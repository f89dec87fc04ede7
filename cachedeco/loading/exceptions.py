"""Copy an exception, so that each follower of a single flight raises its own."""

import copy

from cachedeco.runtime.interrupts import pass_interrupt


def copy_exception(error: Exception) -> Exception:
    """Return a copy of an exception for one follower: one object raised by several threads would mix tracebacks."""
    try:
        twin = _copy(error)
    except Exception as failure:  # noqa: BLE001 -- a class of the user's that can't be constructed again
        pass_interrupt(failure)
        return error
    # What copy() leaves out, or shares.
    twin.__cause__, twin.__context__ = error.__cause__, error.__context__
    twin.__suppress_context__ = error.__suppress_context__
    if hasattr(error, "__notes__"):
        twin.__notes__ = [*error.__notes__]
    return twin.with_traceback(error.__traceback__)


def _copy(error: Exception) -> Exception:
    cls = type(error)
    try:
        twin = copy.copy(error)
        if type(twin) is cls and [*map(id, twin.args)] == [*map(id, error.args)]:
            return twin
    except Exception as failure:  # noqa: BLE001 -- as above
        pass_interrupt(failure)
    # Its __init__ takes other arguments than it passes on.
    twin = cls.__new__(cls, *error.args)
    twin.args = error.args
    vars(twin).update(vars(error))
    return twin
