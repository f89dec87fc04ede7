"""
Settings: the dict `CACHEDECO` in Django's settings, parsed and cached.

They are parsed once, and again after Django's signal `setting_changed` (runtime/state.py), so `override_settings` takes
effect at once.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from threading import RLock
from typing import Any, Final, Self

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured

from cachedeco.runtime.validation import PARSERS, UNSET, KeyErrors, ModeName, Refresher, Unset, remedy_for

# What other libraries call the switch.
_SWITCHES: Final = frozenset({"ENABLED", "ENABLE", "DISABLED", "DISABLE", "ACTIVE"})

# Written at each request or by workers all the time, and hardly ever read by what is worth caching: labels of apps,
# models, and tables without a model. Those that are not installed are no fault.
IGNORED_TABLES: Final = (
    "sessions",
    "user_sessions",
    "admin.LogEntry",
    "django_migrations",
    "cachedeco_outbox",
    "silk",
    "request",
    "axes",
    "easyaudit",
    "auditlog",
    "health_check_db",
    "django_celery_results",
    "django_q",
    "django_apscheduler",
)


@dataclass(frozen=True)
class Settings:
    """The settings in the dict `CACHEDECO`, with their defaults. All times are in seconds."""

    MODE: ModeName = "on"
    ALIASES: tuple[str, ...] = ("default",)
    TIMEOUT: float | Unset | None = UNSET
    VARY: tuple[Callable[[], object], ...] = ()
    KEY_ERRORS: KeyErrors = "raise"
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
    DEPENDS_ON: tuple[Any, ...] = ("auto",)  # a value ends with the next write to a table that it has read
    IGNORED_TABLES: tuple[str, ...] = IGNORED_TABLES
    IGNORED_COLUMNS: tuple[str, ...] = ()
    TABLES: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    REPLICA_LAG: Mapping[str, float] | float | None = None
    LOG_ARGUMENTS: bool = False
    SHARED_STATISTICS: float = 0.0
    SIGNING_KEYS: tuple[bytes, ...] = field(default=(), repr=False)

    @classmethod
    def parse(cls, raw: object) -> Self:
        """
        Parse the dict.

        Raises:
            ImproperlyConfigured: A name is unknown or a value is invalid. The message has all faults.
        """
        if not isinstance(raw, Mapping):
            # Only its type: a comma after the dict makes it a tuple, and the message must not show signing keys.
            msg = f"CACHEDECO is a {type(raw).__name__}; it takes a dict."
            raise ImproperlyConfigured(msg)
        known = [field.name for field in fields(cls)]
        faults = [
            f"CACHEDECO has no setting {name!r}; {_remedy_for(str(name).upper(), known)}"
            for name in raw
            if name not in known
        ]
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


def _remedy_for(name: str, known: list[str]) -> str:
    return "to switch the cache off it is 'MODE': 'off'." if name in _SWITCHES else remedy_for(name, known)


in_force: Settings | None = None  #: None until they are asked for after a change
_changes: object = None  # a new object after each change
_lock = RLock()


def settings() -> Settings:
    """
    Return the settings in force: the same object until Django's settings change.

    Raises:
        ImproperlyConfigured: `CACHEDECO` has a fault.
    """
    global in_force  # noqa: PLW0603 -- replaced as a whole
    current = in_force
    while current is None:
        before = _changes
        current = Settings.parse(getattr(django_settings, "CACHEDECO", {}))
        with _lock:
            # Not if they changed meanwhile: for example, another thread's override_settings() has ended.
            if before is _changes:
                in_force = current
            else:
                current = None
    return current


def forget() -> None:
    """Drop the parsed settings: the next call parses them anew, and what was derived from them and CACHES follows."""
    global in_force, _changes
    with _lock:
        in_force, _changes = None, object()
