"""Modes: whether cached functions use the cache here and now (`mode()`, `bypass()`)."""

from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, NamedTuple, Never, NoReturn, ParamSpec, TypeVar

from cachedeco.runtime.blocks import decorate, refuse_arguments
from cachedeco.runtime.conf import settings
from cachedeco.runtime.validation import ModeName, mode_of

P = ParamSpec("P")
R = TypeVar("R")

End = Callable[[], object]


class OpenMode(NamedTuple):
    """A block that is open, and its mode."""

    block: "mode"
    name: ModeName
    end_isolation: End | None = None  #: ends what the test kit has begun for the block


Modes = tuple[OpenMode, ...]  # the innermost last

_modes: ContextVar[Modes] = ContextVar("cachedeco_modes", default=())
# Called by a block that switches the cache on; swapped whole by isolate_with(). In tests it isolates the caches.
_isolate: Callable[[], End | None] | None = None


def isolate_with(isolate: Callable[[], End | None]) -> None:
    """Call a function of the test kit at each block that switches the cache on; what it returns ends the isolation."""
    global _isolate  # noqa: PLW0603 -- swapped whole, as said above
    _isolate = isolate


def current_mode() -> ModeName:
    """Return the mode in force for this thread or task."""
    modes = _modes.get()
    return modes[-1].name if modes else settings().MODE


class _NeedsParentheses(type):
    """The type of `mode`, for an error of ours where a block is opened without parentheses."""

    if not TYPE_CHECKING:  # hidden from type checkers, so that they report the block

        def __enter__(cls) -> NoReturn:
            """Refuse the block."""
            example = "bypass()" if cls is bypass else f"{cls.__name__}('bypass')"
            msg = f"`with {cls.__name__}:` needs parentheses: `with {example}:`."
            raise TypeError(msg)

        def __exit__(cls, *_: object) -> None:
            """Be there: Python looks for it first."""


class mode(metaclass=_NeedsParentheses):  # noqa: N801 -- reads as a verb: `with mode("off"):`
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
        end = None
        try:
            name = self._mode_to_enter()
            if _isolate is not None and name != "off" and current_mode() == "off":
                end = _isolate()
            _modes.set((*before, OpenMode(self, name, end)))
        except BaseException:  # an interrupt, after the call: the block does not begin, and so does not end
            _modes.set(before)
            if end is not None:
                end()
            raise

    def __exit__(self, *_: object) -> None:
        """Restore the previous mode. The stack is in the context: one object may be reused, or used by many threads."""
        before: Modes | None = None
        after: Modes = ()
        end = None
        try:
            before = _modes.get()
            after, end = self._without_own(before)
            _modes.set(after)
        except BaseException:  # an interrupt, before or after any of these
            after, end = self._without_own(_modes.get() if before is None else before)
            _modes.set(after)
            raise
        finally:
            if end is not None:
                end()

    def _without_own(self, modes: Modes) -> tuple[Modes, End | None]:
        """
        Leave out this block's own item, and return what ends its isolation.

        Blocks in generators may end in any order, and in another context.
        """
        own = [n for n, each in enumerate(modes) if each.block is self]
        return (modes[: own[-1]] + modes[own[-1] + 1 :], modes[own[-1]].end_isolation) if own else (modes, None)

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Decorate a function: the mode is in force while it runs."""
        return decorate(function, lambda: self)


class bypass(mode):  # noqa: N801 -- reads as a verb
    """
    Bypass the cache for a block or a function: compute always, store nothing, still invalidate.

    Inside "off" it stays off: code that bypasses must not reach a cache server from a test suite without one.
    """

    def __init__(self, *given: Never) -> None:
        """Prepare the block."""
        refuse_arguments("bypass", given)
        super().__init__("bypass")

    def _mode_to_enter(self) -> ModeName:
        return "off" if current_mode() == "off" else "bypass"
