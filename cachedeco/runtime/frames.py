"""Frames: the line of the project that this thread is in, for people who ask who it was."""

import sys
from collections.abc import Callable
from contextvars import ContextVar
from inspect import currentframe
from types import FrameType
from typing import Any, Final

from asgiref.sync import sync_to_async

# Packages whose frames lie between the line of the project and a hook, or below all lines of the project: what async
# code does by Django's thread has, on a server for WSGI, only those of the server.
_BETWEEN: Final = frozenset(
    {
        *sys.stdlib_module_names,
        *("asgiref", "cachedeco", "debug_toolbar", "django"),
        *("daphne", "granian", "gunicorn", "hypercorn", "twisted", "uvicorn", "waitress"),
    }
)
# The frame that awaits what this thread does, in the context of `sync_verb()`.
_awaiting: ContextVar[FrameType | None] = ContextVar("cachedeco_awaiting", default=None)


async def sync_verb(verb: Callable[..., None], **kwargs: Any) -> None:
    """Run a verb in the thread of Django's connections, whose frames do not say who awaits it."""
    before = _awaiting.get()
    _awaiting.set(caller_frame())
    try:
        await sync_to_async(verb)(**kwargs)
    finally:
        _awaiting.set(before)


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
