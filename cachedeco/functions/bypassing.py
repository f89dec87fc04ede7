"""Calls that bypass the cache: why, and the event where their key can't be made."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from django.core.exceptions import ImproperlyConfigured

from cachedeco.functions.spec import EXPLAINED, FunctionSpec
from cachedeco.runtime.events import NO_KEY, BypassReason, Event
from cachedeco.runtime.hooks import emit
from cachedeco.runtime.validation import ModeName
from cachedeco.storage.keyspace import KeyFunctionError
from cachedeco.tracking.collector import mark_unauditable

NO_IDS: Final = ""
BY_MODE: Final[Mapping[ModeName, BypassReason]] = {"bypass": "mode bypass", "off": "mode off"}

NO_WHOLE_KEY: Final = "The KEY_FUNCTION of the cache failed, and the call bypassed it"


class BypassError(Exception):
    """Raised where a call bypasses the cache: a hit has no test for it."""

    def __init__(self, reason: str) -> None:
        """Keep a `BypassReason`, and perhaps ": " and a detail; empty for a call without ids, which does nothing."""
        super().__init__(reason)
        self.reason = reason


def bypass_by_mode(spec: FunctionSpec, mode: ModeName) -> BypassError:
    """Return what to raise where the mode is not "on"; the auditor must not compare what some functions return then."""
    if not spec.is_auditable:
        mark_unauditable()
    return BypassError(BY_MODE[mode])


def reason_without_key(
    spec: FunctionSpec, error: Exception, args: Sequence[object], kwargs: dict[str, Any]
) -> BypassReason | None:
    """
    Return why a call bypasses the cache whose key has raised an error; None if the call raises it.

    A call whose arguments the function does not accept raises in any case.
    """
    if isinstance(error, KeyFunctionError):
        return "key function failed"
    if isinstance(error, ImproperlyConfigured):
        return None
    return None if spec.resolve().settings.KEY_ERRORS == "raise" or not spec.accepts(args, kwargs) else "no key"


def bypass_without_key(
    spec: FunctionSpec, error: Exception, args: Sequence[object], kwargs: dict[str, Any]
) -> BypassError | None:
    """Do as `reason_without_key()`, return what to raise, and emit the event that says more."""
    reason = reason_without_key(spec, error, args, kwargs)
    if reason is None:
        return None
    if isinstance(error, KeyFunctionError):
        emit(Event("error", spec.name, error.key, error.alias, reason=NO_WHOLE_KEY, error=error.__cause__))
    else:
        # The text of KeyPlan.explain() has no argument in it, and another one may have: a log must not show it.
        is_ours = error.__suppress_context__ and isinstance(error.__context__, EXPLAINED)
        why = str(error) if is_ours else f"{type(error).__name__}."
        spec.resolve().policy.emit("error", "", reason=f"{NO_KEY}: {why}", error=error)
    return BypassError(reason)
