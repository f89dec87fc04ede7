"""Modes: whether cached functions use the cache here and now (`mode()`, `bypass()`)."""

import inspect
from collections.abc import Callable
from contextlib import ContextDecorator
from contextvars import ContextVar
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from asgiref.sync import iscoroutinefunction

from cachedeco.runtime.conf import settings
from cachedeco.runtime.validation import ModeName, mode_of

P = ParamSpec("P")
R = TypeVar("R")

Modes = tuple[tuple["mode", ModeName], ...]  # of the blocks that are open, the innermost last

_modes: ContextVar[Modes] = ContextVar("cachedeco_modes", default=())


def current_mode() -> ModeName:
    """Return the mode in force for this thread or task."""
    modes = _modes.get()
    return modes[-1][1] if modes else settings().MODE


class mode(ContextDecorator):  # noqa: N801 -- reads as a verb: `with mode("off"):`
    """
    Put a mode in force for a block or a function, sync or async, in this thread or task only.

    ::

        with mode("on"): ...      # cache, also where the setting says otherwise
        with mode("bypass"): ...  # compute always, store nothing; invalidations still go out
        with mode("off"): ...     # the cache server is never touched

    Blocks nest, the innermost one counts, and its end restores the mode before, also after an exception. Tasks and
    `sync_to_async` calls started inside inherit the mode; a new `Thread` begins with the setting.

    Raises:
        ValueError: It is none of the three names.
        TypeError: It decorates a generator function, whose body runs after the block, or a class.
    """

    def __init__(self, name: ModeName) -> None:
        """Remember the mode; nothing is in force until the block begins."""
        self._name: ModeName = mode_of(name)

    def _mode_to_enter(self) -> ModeName:
        return self._name

    def __enter__(self) -> None:
        """Put the mode in force."""
        before = _modes.get()
        try:
            _modes.set((*before, (self, self._mode_to_enter())))
        except BaseException:  # an interrupt, after the call: the block does not begin, and so does not end
            _modes.set(before)
            raise

    def __exit__(self, *_: object) -> None:
        """Restore the previous mode. The stack is in the context: one object may be reused, or used by many threads."""
        before = _modes.get()
        try:
            _modes.set(self._without_own(before))
        except BaseException:  # an interrupt, perhaps before the call
            _modes.set(self._without_own(before))
            raise

    def _without_own(self, modes: Modes) -> Modes:
        """Leave out this block's own item: blocks in generators may end in any order, and in another context."""
        own = [n for n, (block, _) in enumerate(modes) if block is self]
        return modes[: own[-1]] + modes[own[-1] + 1 :] if own else modes

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:  # type: ignore[override] # ParamSpec is narrower
        """Decorate a function: the mode is in force while it runs."""
        if inspect.isclass(function):
            msg = (
                f"{function!r} is a class, which this would turn into a function; decorate its methods, or use `with`."
            )
            raise TypeError(msg)
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            msg = f"{function!r} is a generator function: its body would run outside; use `with` inside it."
            raise TypeError(msg)
        if not iscoroutinefunction(function):  # asgiref's: on Python 3.11 inspect's knows no marked callables
            return super().__call__(function)

        @wraps(function)
        async def wrapper(*args: P.args, **kwargs: P.kwargs) -> Any:
            with self:
                return await function(*args, **kwargs)

        return wrapper  # type: ignore[return-value] # a coroutine function for a coroutine function


class bypass(mode):  # noqa: N801 -- reads as a verb
    """
    Bypass the cache for a block or a function: compute always, store nothing, still invalidate.

    Inside "off" it stays off: code that bypasses must not reach a cache server from a test suite without one.
    """

    def __init__(self) -> None:
        """Prepare the block."""
        super().__init__("bypass")

    def _mode_to_enter(self) -> ModeName:
        return "off" if current_mode() == "off" else "bypass"
