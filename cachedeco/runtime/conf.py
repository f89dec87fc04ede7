"""
The settings in force.

They are read once and kept until Django says that they changed (runtime/state.py), so `override_settings` takes
effect at once.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from threading import Lock
from typing import Any, ParamSpec, Self, TypeVar

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured

from cachedeco.runtime.validation import PARSERS, UNSET, ModeName, Refresher, Unset

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Settings:
    """What the dict `CACHEDECO` in Django's settings may hold, with the defaults."""

    MODE: ModeName = "on"
    ALIASES: tuple[str, ...] = ("default",)
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
