"""Admission of a call: the keys to look up, or the reason to bypass the cache."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from django.core.exceptions import ImproperlyConfigured

from cachedeco.functions.base import Args, Kwargs
from cachedeco.functions.bulk_arguments import AdmittedCall, BulkArguments
from cachedeco.functions.spec import EXPLAINED, FunctionSpec
from cachedeco.invalidation import commits
from cachedeco.loading.policy import CachePolicy
from cachedeco.loading.reasons import bypass_in_transaction
from cachedeco.runtime import hooks, modes
from cachedeco.runtime.events import NO_KEY, BypassReason, Event
from cachedeco.runtime.hooks import emit
from cachedeco.runtime.interrupts import pass_interrupt
from cachedeco.runtime.validation import ModeName
from cachedeco.storage.keyspace import KeyFunctionError
from cachedeco.tracking.collector import mark_unauditable

T = TypeVar("T")

NO_IDS: Final = ""
BY_MODE: Final[Mapping[ModeName, BypassReason]] = {"bypass": "mode bypass", "off": "mode off"}
NO_WHOLE_KEY: Final = "The KEY_FUNCTION of the cache failed, and the call bypassed it"


class BypassError(Exception):
    """Raised where a call bypasses the cache: a hit has no test for it."""

    def __init__(self, reason: str) -> None:
        """Keep a `BypassReason`, and perhaps ": " and a detail; empty for a call without ids, which does nothing."""
        super().__init__(reason)
        self.reason = reason


def admit(spec: FunctionSpec, args: Args, kwargs: Kwargs) -> tuple[CachePolicy, list[str]]:
    """
    Return the policy and the keys of a call.

    Raises:
        BypassError: The call bypasses the cache.
    """
    mode = modes.current_mode()
    if mode != "on":
        raise _bypass_by_mode(spec, mode)
    try:
        policy, keys = spec.resolve_call(args, kwargs)
    except Exception as error:
        pass_interrupt(error)
        bypass = bypass_without_key(spec, error, args, kwargs)
        if bypass is None:
            raise
        raise bypass from None
    # An invalidation in this transaction counts for it at once, before it is delivered at the commit.
    if commits.waiting and commits.has_pending() and commits.invalidated_in_transaction(keys):
        raise BypassError(bypass_in_transaction(keys))
    return policy, keys


def admit_many(spec: FunctionSpec, call: BulkArguments) -> AdmittedCall:
    """
    Return the policy and the keys of a call over many ids.

    Raises:
        BypassError: The call bypasses the cache, or has no ids.
    """
    mode = modes.current_mode()
    if mode != "on":
        raise _bypass_by_mode(spec, mode)
    if not call.ids:
        raise BypassError(NO_IDS)
    try:
        policy, all_keys = spec.resolve_calls(call.for_each(call.ids))
    except Exception as error:
        pass_interrupt(error)
        bypass = bypass_without_key(spec, error, *next(call.for_each(call.ids)))
        if bypass is None:
            raise
        raise bypass from None
    keys_by_id = dict(zip(call.ids, all_keys, strict=True))
    bypassed: set[object] = set()
    if commits.has_pending():  # as in `admit()`
        bypassed.update(one_id for one_id, keys in keys_by_id.items() if commits.invalidated_in_transaction(keys))
    return AdmittedCall(policy, keys_by_id, bypassed)


def admit_on_loop(spec: FunctionSpec, args: Args, kwargs: Kwargs) -> tuple[CachePolicy, list[str]] | None:
    """
    Return the policy and the keys of a call whose entry can be looked up on an event loop; else None.

    Then `admit()` decides in the thread of Django's connections: the call may bypass the cache, or its key ask the
    database or code of the user's.
    """
    return _resolve_on_loop(spec, spec.resolve_call, args, kwargs)


def admit_many_on_loop(spec: FunctionSpec, call: BulkArguments) -> AdmittedCall | None:
    """Do as `admit_on_loop()` for a call over many ids."""
    resolved = _resolve_on_loop(spec, spec.resolve_calls, call.for_each(call.ids)) if call.ids else None
    if resolved is None:
        return None
    policy, all_keys = resolved
    return AdmittedCall(policy, dict(zip(call.ids, all_keys, strict=True)), frozenset())


def _resolve_on_loop(spec: FunctionSpec, resolve: Callable[..., T], *call: object) -> T | None:
    """Return what *resolve* makes of a call on an event loop; None if it can't, or the cache can't be read there."""
    if hooks.needs_thread or modes.current_mode() != "on":
        return None
    resolved = spec.resolve_on_loop()
    if resolved is None or not resolved.policy.store.is_read_on_loop:
        return None
    try:
        return resolve(*call)
    except Exception as error:  # noqa: BLE001 -- such as Django's SynchronousOnlyOperation; the thread tries it again
        pass_interrupt(error)
        return None


# --- why a call bypasses the cache ---


def _bypass_by_mode(spec: FunctionSpec, mode: ModeName) -> BypassError:
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
