"""
Exceptions of a signal's handler, raised at a point that a test chooses.

Python runs the handlers of signals when a function begins and when a call of a C function has ended, inside this call:
the functions of `sys.setprofile` are called at the same points. A line is no such point: no handler runs between the
last call of a block and the first line of its `finally`, where a function of `sys.settrace` can raise. Nor is a
generator or coroutine that begins or goes on: what such a function raises there ends it without its `finally`.

Nor, here, is the call by which `with` takes a lock of C. On Python 3.14 a handler runs there, and leaves any such lock
taken: those of `LocMemCache` and the clients are not ours to mend (see `cachedeco.runtime.locks`). On others it runs at
none.
"""

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from inspect import CO_ASYNC_GENERATOR, CO_COROUTINE, CO_GENERATOR
from pathlib import Path
from types import FrameType
from typing import Any

import django
import pymemcache
import redis

import cachedeco

# What a call runs through: our code, Django's caches, the clients, and what begins and ends blocks.
FOLDERS = (
    Path(cachedeco.__file__).parent,
    Path(pymemcache.__file__).parent,
    Path(redis.__file__).parent,
    Path(django.__file__).parent / "core" / "cache",
)
GENERATORS = CO_GENERATOR | CO_COROUTINE | CO_ASYNC_GENERATOR
WATCHED = (*(f"{folder}{os.sep}" for folder in FOLDERS), contextlib.__file__)


class Expired(Exception):  # noqa: N818 -- as a deadline of the user's is called
    """What the handler raises: an `Exception`, which a careless `except` swallows."""


def _expire(_number: int, _frame: FrameType | None) -> None:
    raise Expired


@contextmanager
def handled() -> Iterator[None]:
    """Have the handler raise while the block runs."""
    before = signal.signal(signal.SIGALRM, _expire)
    try:
        yield
    finally:
        signal.signal(signal.SIGALRM, before)


def _is_in_finalizer(frame: FrameType | None) -> bool:
    while frame is not None and frame.f_code.co_name != "__del__":
        frame = frame.f_back
    return frame is not None


class Attempt:
    """A call in which a signal arrives before one point, counted from its beginning."""

    def __init__(self, point: int) -> None:
        """Wait for the point; the first is 0."""
        self.point = point
        self.points = 0  #: that were passed
        self.fell = ""  #: where the handler ran: file, line and function; empty if the call ended before
        self.is_unraisable = False  #: the handler ran in what Python calls while it frees an object
        self.is_swallowed = False  #: our code has caught the exception

    def run(self, call: Callable[[], Any]) -> None:
        """Call, in the main thread."""
        profile, hook = sys.getprofile(), sys.unraisablehook
        sys.unraisablehook = self._note_unraisable
        sys.setprofile(self._on_event)
        try:
            call()
            self.is_swallowed = bool(self.fell) and not self.is_unraisable
        except Expired:
            pass
        finally:
            sys.setprofile(profile)
            sys.unraisablehook = hook

    def _note_unraisable(self, unraisable: "sys.UnraisableHookArgs") -> None:
        self.is_unraisable |= unraisable.exc_type is Expired

    def _on_event(self, frame: FrameType, event: str, argument: object) -> None:
        if self.fell or not self.is_point(frame, event, argument):
            return
        if self.points == self.point and _is_in_finalizer(frame):
            return  # its exceptions go nowhere; the next point is taken
        if self.points == self.point:
            self.fell = f"{frame.f_code.co_filename}:{frame.f_lineno}, {frame.f_code.co_name}(), {event}"
            signal.raise_signal(signal.SIGALRM)
        self.points += 1

    @staticmethod
    def is_point(frame: FrameType, event: str, argument: object) -> bool:
        """Tell whether a signal may arrive at an event of a profile, in code that is watched."""
        if event == "c_return" and getattr(argument, "__name__", "") == "__enter__":
            return False
        kinds = {"c_return"} if frame.f_code.co_flags & GENERATORS else {"call", "c_return"}
        return event in kinds and frame.f_code.co_filename.startswith(WATCHED)
