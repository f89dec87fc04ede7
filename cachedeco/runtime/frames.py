"""Frames: the line of the project that this thread is in, for people who ask who it was."""

import sys
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from functools import partial, wraps
from inspect import currentframe
from types import FrameType
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

from asgiref.sync import sync_to_async

S = TypeVar("S")
P = ParamSpec("P")
R = TypeVar("R")

# Packages whose frames lie between the line of the project and a hook, or below all lines of the project: what async
# code does by Django's thread has, on a server for WSGI, only those of the server.
_BETWEEN: Final = frozenset(
    {
        *sys.stdlib_module_names,
        *("asgiref", "cachedeco", "debug_toolbar", "django"),
        *("daphne", "granian", "gunicorn", "hypercorn", "twisted", "uvicorn", "waitress"),
    }
)
# The frame that awaits what this thread does, in the context of a twin.
_awaiting: ContextVar[FrameType | None] = ContextVar("cachedeco_awaiting", default=None)


def from_async(verb: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], Coroutine[Any, Any, R]]:
    """
    Return the twin of a verb for async code, which runs in the thread of Django's connections.

    The frames of that thread do not say who awaits it, so the twin notes it. Not for a verb that calls the user's
    function, which is nearer to what happens inside.
    """

    @wraps(verb)
    async def twin(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        before = _awaiting.get()
        _awaiting.set(caller_frame())
        try:
            return await sync_to_async(partial(verb, self, *args, **kwargs))()  # a keyword may be "self"
        finally:
            _awaiting.set(before)

    twin.__name__ = f"a{verb.__name__}"
    twin.__qualname__ = f"{verb.__qualname__.rpartition('.')[0]}.{twin.__name__}"
    twin.__doc__ = f"Do as `{verb.__name__}()`, from async code."
    return twin


def caller_frame() -> FrameType | None:
    """Return the frame of the project that this thread is in; None in a thread that none of its code has started."""
    frame = _awaiting.get() or currentframe()
    while frame is not None and _package_of(frame) in _BETWEEN:
        frame = frame.f_back
    return frame


def caller_line() -> str:
    """Return the file and the line of that frame, as "/srv/clubs/views.py:12"; empty without one."""
    frame = caller_frame()
    return "" if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno}"


def _package_of(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]
