"""Explain a call: its key, its entry, the tokens that it depends on, and what a call would do now, and why."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf
from time import time
from typing import Any, Literal

from cachedeco.functions.calls import BaseCall
from cachedeco.functions.spec import FunctionSpec
from cachedeco.invalidation import commits
from cachedeco.loading.lookup import Found
from cachedeco.loading.policy import CachePolicy
from cachedeco.loading.reasons import miss_reason, token_name
from cachedeco.loading.tables import look_closely
from cachedeco.runtime import modes
from cachedeco.runtime.reprs import hide_secrets
from cachedeco.storage.entries import own_tokens_of, read_lifetime, read_origin, tokens_inside

Outcome = Literal[
    "hit",
    "stale",  # the old value would be served, and one caller would refresh it
    "miss",
    "bypassed",
]
TokenState = Literal[
    "same",  # as in the stamp of the entry
    "changed",  # it was invalidated since
    "lost",  # the entry depends on it, and the cache has it no more: evicted, or flushed
    "there",  # and there is no entry to compare it with
    "absent",  # and the next computation creates it
    "unread",  # of a nested call, in an entry that is dead for another reason
]


@dataclass(frozen=True, slots=True)
class ExplainedToken:
    """One token that the call depends on."""

    name: str  #: what it stands for: "this call", "the function", "namespace club:7", "table clubs_club"
    state: TokenState


@dataclass(frozen=True, slots=True)
class ExplainedEntry:
    """The entry, whether or not it can be served."""

    size: int  #: bytes, stamp and key included
    age: float  #: seconds since it was stored
    left: float | None  #: seconds until its timeout, below 0 after it; None for ever
    stale: float  #: seconds behind its timeout in which it may be served while it is refreshed
    process: str  #: host and process id of the process that stored it
    seconds: float  #: what its computation took
    statements: int  #: how many statements on databases it has run


@dataclass(frozen=True, slots=True)
class Explanation:
    """What is known of one call, and what it would do now."""

    function: str
    outcome: Outcome
    reason: str  #: why: of a miss a `MissReason`, and perhaps ": " and the token that is to blame
    key: str  #: whole, as the server gets it, but for what sounds secret
    cache: str  #: alias
    serializer: str
    entry: ExplainedEntry | None
    tokens: tuple[ExplainedToken, ...]


def explain(call: BaseCall[Any, Any]) -> list[Explanation]:
    """
    Explain a call, of many ids each; computes nothing, and counts no hit and no miss.

    Raises:
        TypeError: The arguments can't be in a key, or the function does not take them.
    """
    return [_explain(call._spec, *arguments) for arguments in call._calls()]  # noqa: SLF001 -- ours


def _explain(spec: FunctionSpec, args: Sequence[object], kwargs: dict[str, object]) -> Explanation:
    policy, keys = spec.resolve_call(args, kwargs)
    if modes.current_mode() == "off":  # the cache is never touched
        found = Found(keys)
    else:
        [found] = look_closely(policy, [keys])
    outcome, reason = _outcome_of(policy, found)
    serializer = spec.options["serializer"]
    raw: Any = found.raw or {}
    data = raw.get(found.key)
    return Explanation(
        function=spec.name,
        outcome=outcome,
        reason=reason,
        key=hide_secrets(found.key),
        cache=policy.store.alias,
        serializer=getattr(serializer, "name", serializer),
        entry=_entry_of(policy, found, data),
        tokens=tuple(_tokens_of(policy, found, data)),
    )


def _outcome_of(policy: CachePolicy, found: Found) -> tuple[Outcome, str]:
    mode = modes.current_mode()
    if mode != "on":
        return "bypassed", f"the mode is {mode!r}"
    if commits.has_pending() and commits.invalidated_in_transaction(list(found.keys)):
        return "bypassed", "this transaction has invalidated it"
    now, entry = time(), found.entry
    if entry is not None and entry.expires > now:
        return "hit", "its entry is fresh, and each of its tokens is the same"
    if entry is not None and policy.stale_until(entry) > now:
        return "stale", "its entry is past its timeout, and may be served while one caller refreshes it"
    if found.raw is None and policy.store.is_breaker_open():
        return "miss", "cache not read: the circuit breaker of this process is open"
    return "miss", miss_reason(policy, found)


def _entry_of(policy: CachePolicy, found: Found, data: Any) -> ExplainedEntry | None:
    origin, lifetime = read_origin(policy.codec, found.key, data), read_lifetime(policy.codec, found.key, data)
    if origin is None or lifetime is None:
        return None
    now, (expires, stale, seconds) = time(), lifetime
    return ExplainedEntry(
        size=len(data),
        age=max(0.0, now - origin.stored_at),
        left=None if expires == inf else expires - now,
        stale=min(stale, policy.stale_while_revalidate),
        process=origin.process,
        seconds=seconds,
        statements=origin.statements,
    )


def _tokens_of(policy: CachePolicy, found: Found, data: Any) -> Iterator[ExplainedToken]:
    """Yield the tokens that the call depends on, and those that its entry names: of nested calls."""
    raw: Any = found.raw or {}
    stamp: Sequence[bytes] = ()
    names: list[str] = []
    own = found.keys[1:]
    if own_tokens_of(policy.codec, found.key, data) == len(own):
        stamp, names = tokens_inside(policy.codec, found.key, data)
    for n, key in enumerate([*own, *names]):
        now = raw.get(key)
        state: TokenState
        if not stamp:
            state = "absent" if now is None else "there"
        elif now == stamp[n]:
            state = "same"
        elif now is not None:
            state = "changed"
        else:
            state = "lost" if n < len(own) or found.entry_keys[len(found.keys) :] else "unread"
        yield ExplainedToken(token_name(found, key), state)
