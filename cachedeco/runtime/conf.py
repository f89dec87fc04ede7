"""
Settings: the dict `CACHEDECO` in Django's settings, parsed and cached.

They are parsed once, and again after Django's signal `setting_changed` (runtime/state.py), so `override_settings` takes
effect at once.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any, Final, Self, get_args, get_type_hints

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured

from cachedeco.runtime import validation
from cachedeco.runtime.locks import RLock
from cachedeco.runtime.validation import (
    UNSET,
    KeyErrors,
    ModeName,
    Refresher,
    Unset,
    fraction_of,
    list_of,
    mode_of,
    one_of,
    remedy_for,
    seconds_of,
    span_of,
)

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

_ALIASES: Final = partial(list_of, items="one or more aliases of Django's CACHES", least=1)
_MODULES: Final = partial(
    list_of, items="names of modules inside your apps, such as 'queries'", pattern=r"[^\W\d]\w*(\.[^\W\d]\w*)*"
)
_DEPENDENCIES: Final = partial(list_of, items="models, of names 'app_label.Model', or of 'auto'", pattern=None)
_COLUMNS: Final = partial(list_of, items="fields, such as 'auth.User.last_login'", pattern=r"[^.]*\.[^.]*\.[^.]*")


@dataclass(frozen=True)
class Settings:
    """The settings in the dict `CACHEDECO`: type, parser and default of each. All times are in seconds."""

    MODE: Annotated[ModeName, mode_of] = "on"
    ALIASES: Annotated[tuple[str, ...], _ALIASES] = ("default",)
    TIMEOUT: Annotated[float | Unset | None, seconds_of] = UNSET
    VARY: Annotated[tuple[Callable[[], object], ...], validation.callables_of] = ()
    KEY_ERRORS: Annotated[KeyErrors, partial(one_of, get_args(KeyErrors))] = "raise"
    KEY_PREFIX: Annotated[str, validation.prefix_of] = "cd"
    JITTER: Annotated[float, partial(fraction_of, what="the jitter")] = 0.0
    WAIT: Annotated[float, partial(span_of, what="the wait")] = 5.0
    REFRESH: Annotated[Refresher, validation.refresher_of] = "caller"
    AUDIT: Annotated[float, validation.share_of] = 0.0
    AUDIT_SECONDS: Annotated[float, validation.pause_of] = 60.0
    OUTBOX_SECONDS: Annotated[float, partial(span_of, what="the value")] = 600.0
    BREAKER_FAILURES: Annotated[int, validation.failures_of] = 3
    BREAKER_SECONDS: Annotated[float, validation.pause_of] = 1.0
    MODULES: Annotated[tuple[str, ...], _MODULES] = ("queries",)
    # A value ends with the next write to a table that it has read.
    DEPENDS_ON: Annotated[tuple[Any, ...], _DEPENDENCIES] = ("auto",)
    IGNORED_TABLES: Annotated[tuple[str, ...], validation.tables_of] = IGNORED_TABLES
    IGNORED_COLUMNS: Annotated[tuple[str, ...], _COLUMNS] = ()
    TABLES: Annotated[Mapping[str, tuple[str, ...]], validation.tables_by_name] = field(default_factory=dict)
    REPLICA_LAG: Annotated[Mapping[str, float] | float | None, validation.lag_of] = None
    LOG_ARGUMENTS: Annotated[bool, validation.flag_of] = False
    SHARED_STATISTICS: Annotated[float, partial(span_of, what="the interval")] = 0.0
    SIGNING_KEYS: Annotated[tuple[bytes, ...], validation.signing_keys_of] = field(default=(), repr=False)

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
        faults: list[str] = []
        values: dict[str, Any] = {}
        for name, value in raw.items():
            if name not in PARSERS:
                faults.append(f"CACHEDECO has no setting {name!r}; {_remedy_for(str(name).upper())}")
                continue
            try:
                values[name] = PARSERS[name](value)
            except (TypeError, ValueError, ImportError) as error:
                faults.append(f"CACHEDECO[{name!r}]: {error}")
        if faults:
            raise ImproperlyConfigured(" ".join(faults))
        return cls(**values)


PARSERS: Final[Mapping[str, Callable[[Any], object]]] = {
    name: get_args(hint)[1] for name, hint in get_type_hints(Settings, include_extras=True).items()
}


def _remedy_for(name: str) -> str:
    return "to switch the cache off it is 'MODE': 'off'." if name in _SWITCHES else remedy_for(name, PARSERS)


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
