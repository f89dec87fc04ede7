"""Miss reasons: why an entry was not served, in words, and what its tokens stand for."""

from collections.abc import Iterable, Mapping
from typing import Final, Literal

from cachedeco.invalidation import commits
from cachedeco.loading.found import CallKeys, Found
from cachedeco.loading.policy import CachePolicy
from cachedeco.runtime.subjects import SubjectKind, subject_of
from cachedeco.storage.entries import age_of, examine_entry, is_token, read_nested_names

LONGEST_NAME: Final = 200  # characters
UNREADABLE: Final = "unreadable"
NOT_READ: Final = "cache not read"
OPEN_BREAKER: Final = f"{NOT_READ}: the circuit breaker is open"
OUT_OF_REACH: Final = f"{NOT_READ}: a server is out of reach"
# What is found where nothing lies.
_NOT_THERE: Final = frozenset({"absent", "lost token"})

#: What the reasons of misses and bypassed calls mean, without their details: clauses about a call and its entry.
MEANINGS: Final[Mapping[str, str]] = {
    NOT_READ: "the cache could not be read",
    "absent": (
        "nothing lies under its key: it was never stored with these arguments and this version, its time is over, or "
        "it was evicted"
    ),
    "unreadable": "what lies under its key is no entry of this call, is not signed, or can't be decoded",
    "lost token": "the cache has lost a token that the entry depends on, by an eviction or a restart",
    "invalidated": "it was invalidated",
    "other dependencies": "it depends on other namespaces or tables now than its entry does",
    "other models": "models in its entry have other fields in this process: another release has stored it",
    "expired": "its entry is past its timeout, and past the time in which it may be served stale",
    "refresh": "one caller computes it while others are served the old value",
    "mode bypass": "the mode is 'bypass'",
    "mode off": "the mode is 'off'",
    "no key": "its key can't be made, and the setting KEY_ERRORS lets it go on",
    "key function failed": "the KEY_FUNCTION of the cache has raised",
    "invalidated in this transaction": (
        "a transaction, or a block of deferred_invalidation(), that is open in this thread has invalidated it, for "
        "this thread alone until its end"
    ),
}

TokenKind = SubjectKind | Literal["nested call", "nested function"]


def miss_reason(policy: CachePolicy, found: Found) -> tuple[str, float]:
    """
    Return why a call is a miss, and how long ago it was invalidated, if it was, in seconds.

    The reason is a `MissReason`, and ": " and a detail where one token is to blame.

    A token is named by what it stands for: "this call", "the function", "namespace club:7", "table clubs_club", "rows
    of clubs_class with club_id 7", "the nested call shop.price(club=7)", "the nested function shop.price()".
    """
    token: str | None = ""
    reason: str
    if found.raw is None:
        return OPEN_BREAKER if policy.store.is_breaker_open() else NOT_READ, 0.0
    if found.entry is not None:
        reason = "expired"
    elif found.key != found.keys[0]:  # of the entry for the models here
        reason = "other models"
    else:
        reason, token = examine_entry(policy.codec, found.keys, found.raw)
        if reason == UNREADABLE and commits.has_pending():
            names = read_nested_names(policy.codec, found.keys, found.raw) or ()
            token = first_invalidated([*found.keys[1:], *[name.rpartition(" ")[2] for name in names]])
            if token is not None:  # at the commit; the cache has the old token
                return f"invalidated: {token_name(found.keys, token)[1]}", 0.0
    if reason in _NOT_THERE and policy.store.is_out_of_reach(token or found.key):
        return OUT_OF_REACH, 0.0
    if not token:
        return reason, 0.0
    now: object = found.raw.get(token)
    seconds = age_of(now) if reason == "invalidated" and isinstance(now, bytes) and is_token(now) else 0.0
    return f"{reason}: {token_name(found.keys, token)[1]}", seconds


def first_invalidated(keys: Iterable[str]) -> str | None:
    """Return the first of some keys that a transaction which is open in this thread has invalidated."""
    return next((key for key in keys if commits.invalidated_in_transaction([key])), None)


def bypass_in_transaction(keys: CallKeys) -> str:
    """Return why a call bypasses the cache of which an open transaction has invalidated a token."""
    return f"invalidated in this transaction: {token_name(keys, first_invalidated(keys) or '')[1]}"


def token_name(keys: CallKeys, token: str) -> tuple[TokenKind, str]:
    """Return the kind of a token, and what it stands for; the key of a nested call's may have an alias before it."""
    if token in keys[1:3]:
        return ("call", "this call") if token == keys[1] else ("function", "the function")
    kind, _, text = subject_of(token)
    if kind == "call":
        return "nested call", f"the nested {text.removeprefix('the ')}"[:LONGEST_NAME]
    if kind == "function":
        return "nested function", f"the nested {text.removeprefix('the ')}"[:LONGEST_NAME]
    return kind, text[:LONGEST_NAME]
