"""Hooks: functions that are called with every event of this process."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from threading import Lock

from cachedeco.runtime.events import Event
from cachedeco.runtime.log import log, logger
from cachedeco.runtime.statistics import count

Hook = Callable[[Event], object]


# Hooks of users, once for each add_hook() and each open listening() block.
_added: list[Hook] = []


# All hooks, each once. The tuple is swapped whole, so that emit() needs no lock.
_hooks: tuple[Hook, ...] = (count, log)


_lock = Lock()


def emit(event: Event) -> None:
    """Call every hook with an event. An exception of a hook is logged and never breaks the call."""
    for hook in _hooks:
        try:
            hook(event)
        except Exception:  # noqa: BLE001 -- whatever a hook of the user's raises
            logger.exception("The hook %r failed on %r.", hook, event)


def add_hook(hook: Hook) -> None:
    """
    Call *hook* with every event of this process from now on. Thread-safe.

    A hook runs in the thread of the call that caused the event, before that call returns: keep it quick.
    Adding a hook twice is the same as adding it once.
    """
    with _lock:
        _rearrange([hook] if hook not in _added else [], [])


def remove_hook(hook: Hook) -> None:
    """Stop calling *hook*. Removing a hook that was not added does nothing."""
    with _lock:
        _rearrange([], [each for each in _added if each == hook])


@contextmanager
def listening(hook: Hook) -> Generator[None]:
    """Call *hook* with every event of this process until the block ends. Blocks with the same hook nest."""
    with _lock:
        _rearrange([hook], [])
    try:
        yield
    finally:
        with _lock:
            _rearrange([], [hook] if hook in _added else [])


def _rearrange(more: list[Hook], less: list[Hook]) -> None:
    global _hooks  # noqa: PLW0603 -- swapped whole, as said above
    _added.extend(more)
    for hook in less:
        _added.remove(hook)
    _hooks = (count, log, *(each for n, each in enumerate(_added) if each not in _added[:n]))
