"""
All global state: the settings and the mode.

The settings are read once and kept until Django says that they changed, so `override_settings` takes effect
at once. The mode in force is the innermost `mode()` or `bypass()` of this thread or task, else `MODE`.
"""

import inspect
from collections.abc import Callable, Mapping
from contextlib import ContextDecorator
from contextvars import ContextVar
from dataclasses import dataclass, field, fields
from functools import wraps
from threading import Lock
from typing import Any, Literal, ParamSpec, Self, TypeVar

from asgiref.sync import iscoroutinefunction
from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

from cachedeco.accepted import PARSERS, UNSET, ModeName, Refresher, Unset, mode_of

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Settings:
    """What the dict `CACHEDECO` in Django's settings may hold, with the defaults."""

    MODE: ModeName = "on"
    CACHES: tuple[str, ...] = ("default",)
    TIMEOUT: float | Unset | None = UNSET
    VARY: tuple[Callable[[], object], ...] = ()
    KEY_PREFIX: str = "cd"
    JITTER: float = 0.0
    WAIT: float = 5.0
    REFRESH: Refresher = "caller"
    AUDIT: float = 0.0
    AUDIT_SECONDS: float = 60.0
    OUTBOX_SECONDS: float = 600.0
    BREAKER_FAILURES: int = 3
    BREAKER_SECONDS: float = 1.0
    ON_LOST_INVALIDATION: Literal["log", "raise"] = "log"
    MODULES: tuple[str, ...] = ("queries",)
    SIGNING_KEYS: tuple[bytes, ...] = field(default=(), repr=False)

    @classmethod
    def parse(cls, raw: object) -> Self:
        """
        Read the dict.

        Raises:
            ImproperlyConfigured: A name is unknown or a value is none that it takes. All faults are named.
        """
        if not isinstance(raw, Mapping):
            # Not what it is: a comma behind the dict makes it a tuple, and there may be keys in it.
            msg = f"CACHEDECO is a {type(raw).__name__}; it takes a dict."
            raise ImproperlyConfigured(msg)
        known = [field.name for field in fields(cls)]
        faults = [f"CACHEDECO has no setting {name!r}; it has {', '.join(known)}." for name in raw if name not in known]
        values: dict[str, Any] = {}
        for name in raw:
            if name in known:
                try:
                    values[name] = PARSERS[name](raw[name])
                except (TypeError, ValueError, ImportError) as error:
                    faults.append(f"CACHEDECO[{name!r}]: {error}")
        if faults:
            raise ImproperlyConfigured(" ".join(faults))
        return cls(**values)


_settings: Settings | None = None
_changes: object = None  # another one after each change
_lock = Lock()
_modes: ContextVar[tuple[tuple["mode", ModeName], ...]] = ContextVar("cachedeco_modes", default=())


def settings() -> Settings:
    """
    Return the settings in force: the same object until Django's settings change.

    Raises:
        ImproperlyConfigured: `CACHEDECO` has a fault.
    """
    global _settings  # noqa: PLW0603 -- this module is where global state lives
    found = _settings
    while found is None:
        before = _changes
        found = Settings.parse(getattr(django_settings, "CACHEDECO", {}))
        with _lock:
            # They may have changed while we read them: another thread's override_settings() has ended, say.
            if before is _changes:
                _settings = found
            else:
                found = None
    return found


def forget() -> None:
    """Read the settings again at the next call, and derive again what followed from them and from CACHES."""
    global _settings, _changes
    with _lock:
        _settings, _changes = None, object()


def _follow(*, setting: str, **_: object) -> None:
    if setting in {"CACHEDECO", "CACHES"}:
        forget()


setting_changed.connect(_follow, dispatch_uid="cachedeco.conf")


def current_mode() -> ModeName:
    """Return the mode in force for this thread or task."""
    modes = _modes.get()
    return modes[-1][1] if modes else settings().MODE


class mode(ContextDecorator):  # noqa: N801 -- reads as a verb: `with mode("off"):`
    """
    Put a mode in force for a block or a function, sync or async, in this thread or task only.

    ::

        with mode("on"): ...      # cache, whatever the setting says
        with mode("bypass"): ...  # compute always, store nothing; invalidations still go out
        with mode("off"): ...     # the cache server is never touched

    Blocks nest, the innermost counts, and each leaves what it found, also after an exception. Tasks and
    `sync_to_async` calls started inside inherit the mode; a new `Thread` begins with the setting.

    Raises:
        ValueError: The name is none of the three.
        TypeError: It decorates a generator function, whose body runs after the block, or a class.
    """

    def __init__(self, name: ModeName) -> None:
        """Remember the mode; nothing is in force until the block begins."""
        self._name: ModeName = mode_of(name)

    def _chosen(self) -> ModeName:
        return self._name

    def __enter__(self) -> None:
        """Put the mode in force."""
        _modes.set((*_modes.get(), (self, self._chosen())))

    def __exit__(self, *_: object) -> None:
        """Take it back. The stack lives in the context, so one object can be used again, or by many threads."""
        modes = _modes.get()
        # Our own and nobody else's: blocks in generators may end in any order, and in another context.
        mine = [n for n, (block, _) in enumerate(modes) if block is self]
        if mine:
            _modes.set(modes[: mine[-1]] + modes[mine[-1] + 1 :])

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:  # type: ignore[override] # ParamSpec is narrower
        """Decorate a function: the mode is in force while it runs."""
        if inspect.isclass(function):
            msg = f"{function!r} is a class, and would be a function then; decorate its methods, or use `with`."
            raise TypeError(msg)
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            msg = f"{function!r} is a generator function: its body would run outside; use `with` inside it."
            raise TypeError(msg)
        if not iscoroutinefunction(function):  # asgiref's: on Python 3.11 inspect's knows no marked callables
            return super().__call__(function)

        @wraps(function)
        async def inside(*args: P.args, **kwargs: P.kwargs) -> Any:  # noqa: ANN401 -- whatever the function gives
            with self:
                return await function(*args, **kwargs)

        return inside  # type: ignore[return-value] # a coroutine function for a coroutine function


class bypass(mode):  # noqa: N801 -- reads as a verb
    """
    Go past the cache for a block or a function: compute always, store nothing, still invalidate.

    Inside "off" it stays off: code that bypasses must not reach a cache server from a test suite without one.
    """

    def __init__(self) -> None:
        """Prepare the block."""
        super().__init__("bypass")

    def _chosen(self) -> ModeName:
        return "off" if current_mode() == "off" else "bypass"
