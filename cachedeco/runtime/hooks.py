"""Hooks: functions that are called with every event of this process."""

from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from logging import DEBUG
from typing import TypeVar

from cachedeco.runtime.events import Event
from cachedeco.runtime.interrupts import pass_interrupt
from cachedeco.runtime.locks import RLock
from cachedeco.runtime.log import QUIET_KINDS, log, logger
from cachedeco.runtime.reprs import repr_of
from cachedeco.runtime.statistics import count, count_hit, count_hits
from cachedeco.runtime.validation import check_arguments, check_returns

Hook = Callable[[Event], object]
H = TypeVar("H", bound=Hook)


# Hooks of users, by an object of its own for each add_hook() and each open listening() block.
_added: dict[object, Hook] = {}
# All hooks, each once, the log first. The tuple is swapped whole, so that emit() needs no lock.
_hooks: tuple[Hook, ...] = (log, count)
# Whether a hook of users may ask a database, or wait: then a thread calls all. Replaced with the tuple.
needs_thread = False
# Whether the log wants hits, too. Asking the logger at each hit would cost a call: each other event asks, and a hit
# after many.
_logs_hits = logger.isEnabledFor(DEBUG)
_lock = RLock()


def emit(event: Event) -> None:
    """Call every hook with an event. An exception of a hook is logged and never breaks the call."""
    for hook in _hooks if _look_at_level() or event.kind not in QUIET_KINDS else _hooks[1:]:
        try:
            hook(event)
        except Exception as error:  # noqa: BLE001 -- a hook is the user's code and may raise anything
            pass_interrupt(error)
            logger.exception("The hook %s failed on an event %r of %r.", repr_of(hook), event.kind, event.function)


def emit_hit(function: str, key: str, cache: str, seconds: float) -> None:
    """Emit the event of a hit; it is counted, and no event is made, where no hook of users and no log wants it."""
    if _added or _logs_hits:
        emit(Event("hit", function, key, cache, seconds))
    elif count_hit(function, seconds):
        _look_at_level()


def emit_hits(function: str, cache: str, keys: Iterable[str], seconds: Sequence[float]) -> None:
    """Emit the events of several hits, as `emit_hit()` does that of one."""
    if _added or _logs_hits:
        for key, each in zip(keys, seconds, strict=True):
            emit(Event("hit", function, key, cache, each))
    elif count_hits(function, seconds):
        _look_at_level()


def _look_at_level() -> bool:
    """See a change of the logger's level; tell whether the log wants all events, hits too."""
    global _logs_hits  # noqa: PLW0603 -- a hit reads it
    _logs_hits = logger.isEnabledFor(DEBUG)
    return _logs_hits


def add_hook(hook: Hook) -> None:
    """
    Call *hook* with every event of this process from now on. Thread-safe.

    A hook runs in the thread of the call that caused the event, before that call returns: keep it quick. Of async code,
    it runs in the thread where Django keeps its connections, and on the event loop if each hook is marked by
    `runs_anywhere()`. Adding a hook twice is the same as adding it once.

    Raises:
        TypeError: It can't be called with an event, or is async, or a generator function.
    """
    _check(hook)
    with _lock:
        # A block takes its own one away at its end. Copies, here and below: a signal's handler may add one meanwhile.
        if not any(added == hook for by, added in [*_added.items()] if not isinstance(by, _Block)):
            _added[object()] = hook
        _replace_hooks()


def runs_anywhere(hook: H) -> H:
    """
    Mark a hook that asks no database and waits for nothing: what async code does on an event loop calls it there.

    ::

        @runs_anywhere
        def count_hits(event): ...

        add_hook(count_hits)

    It decorates a function. A class whose instances are hooks says `cachedeco_runs_anywhere = True` itself. Each hook
    that is not marked makes all hits of async code change threads.
    """
    hook.cachedeco_runs_anywhere = True  # type: ignore[attr-defined] # a function
    return hook


def remove_hook(hook: Hook) -> None:
    """Stop calling *hook*. Removing a hook that was not added does nothing."""
    with _lock:
        for each in [each for each, added in [*_added.items()] if added == hook]:
            _added.pop(each, None)
        _replace_hooks()


@contextmanager
def listening(hook: Hook) -> Generator[None]:
    """Call *hook* with every event of this process until the block ends. Blocks with the same hook nest."""
    _check(hook)
    block = _Block()
    try:
        with _lock:
            _added[block] = hook
            _replace_hooks()
        yield
    finally:
        try:
            _leave(block)
        except BaseException:  # an interrupt: perhaps before its first line
            _leave(block)
            raise


class _Block:
    """An open `listening()` block."""


def _leave(block: _Block) -> None:
    """Remove the hook of a block, if it is there."""
    with _lock:
        _added.pop(block, None)
        _replace_hooks()


def _check(hook: Hook) -> None:
    """
    Refuse what can't be called with an event, or would only begin to run.

    Raises:
        TypeError: It can't.
    """
    if not callable(hook):
        msg = f"A hook is called with each event, and {repr_of(hook)} can't be: it takes a def with one parameter."
        raise TypeError(msg)
    check_returns(hook, what="the hook")
    check_arguments(hook, None, what="the hook", advice="it is called with each event")


def _replace_hooks() -> None:
    """Replace the tuple of all hooks. The caller holds the lock."""
    global _hooks, needs_thread  # noqa: PLW0603 -- swapped whole, as said above
    added = list(_added.values())
    needs_thread = not all(getattr(hook, "cachedeco_runs_anywhere", False) is True for hook in added)
    _hooks = (log, count, *(hook for n, hook in enumerate(added) if hook not in added[:n]))
