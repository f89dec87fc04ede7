"""Admission of a call: the keys to look up, or the reason to bypass the cache; and `Work`, what is left to do."""

from collections.abc import Callable
from typing import Any, NamedTuple

from cachedeco.functions.base import Args, Kwargs
from cachedeco.functions.bypassing import BY_MODE, BypassError, bypass_without_key
from cachedeco.functions.spec import FunctionSpec
from cachedeco.invalidation import commits
from cachedeco.loading.effects import Flow
from cachedeco.loading.policy import CachePolicy
from cachedeco.loading.reasons import bypass_in_transaction
from cachedeco.runtime import hooks, modes
from cachedeco.runtime.interrupts import pass_interrupt
from cachedeco.tracking.collector import mark_unauditable


class Work(NamedTuple):
    """What leads to the result of a call that is not stored: the arguments of `run()` and `arun()`."""

    flow: Flow[Any]
    compute: Callable[..., Any]


def admit(spec: FunctionSpec, args: Args, kwargs: Kwargs) -> tuple[CachePolicy, list[str]]:
    """
    Return the policy and the keys of a call.

    Raises:
        BypassError: The call bypasses the cache.
    """
    mode = modes.current_mode()
    if mode != "on":
        if not spec.is_auditable:
            mark_unauditable()
        raise BypassError(BY_MODE[mode])
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


def may_ask_on_loop(spec: FunctionSpec) -> bool:
    """Tell whether calls of a function can be looked up on an event loop, if their keys can be made there."""
    if hooks.needs_thread or modes.current_mode() != "on":
        return False
    resolved = spec.resolve_on_loop()
    return resolved is not None and resolved.policy.store.is_read_on_loop


def admit_on_loop(spec: FunctionSpec, args: Args, kwargs: Kwargs) -> tuple[CachePolicy, list[str]] | None:
    """
    Return the policy and the keys of a call whose entry can be looked up on an event loop; else None.

    Then `admit()` decides in the thread of Django's connections: the call may bypass the cache, or its key ask the
    database or code of the user's.
    """
    if not may_ask_on_loop(spec):
        return None
    try:
        return spec.resolve_call(args, kwargs)
    except Exception as error:  # noqa: BLE001 -- such as Django's SynchronousOnlyOperation; the thread tries it again
        pass_interrupt(error)
        return None
