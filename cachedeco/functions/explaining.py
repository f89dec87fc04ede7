"""Explain calls: key, entry, tokens, and what a call would do now, and why. Nothing is computed, changed or counted."""

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import asdict, dataclass, replace
from math import inf
from time import time
from typing import Any, Final, Literal

from cachedeco.functions.admission import BY_MODE, reason_without_key
from cachedeco.functions.spec import Arguments, FunctionSpec
from cachedeco.invalidation import commits
from cachedeco.keys.signatures import parameters_of
from cachedeco.loading.flights import is_computed
from cachedeco.loading.found import CallKeys, Found
from cachedeco.loading.leases import is_held
from cachedeco.loading.load import misses_of
from cachedeco.loading.lookup import look_closely
from cachedeco.loading.policy import CachePolicy
from cachedeco.loading.reasons import MEANINGS, NOT_READ, TokenKind, bypass_in_transaction, miss_reason, token_name
from cachedeco.loading.remembering import memory_in_use
from cachedeco.loading.single_flight import must_compute_alone
from cachedeco.loading.unstored import UnstoredReasons
from cachedeco.runtime import modes
from cachedeco.runtime.interrupts import pass_interrupt
from cachedeco.runtime.reprs import format_arguments, hide_secrets, shorten, shorten_error, shorten_reason
from cachedeco.runtime.subjects import subject_of
from cachedeco.runtime.units import counted, duration, size
from cachedeco.storage.entries import age_of, is_token, own_tokens_of, read_details, tokens_inside
from cachedeco.storage.looking import LookingStore
from cachedeco.storage.store import Store
from cachedeco.tracking.reads import tables_of_rows

CallOutcome = Literal[
    "hit",
    "stale",  # the old value would be served, and one caller would refresh it
    "miss",
    "bypassed",
]
TokenState = Literal[
    "unchanged",  # as in the stamp of the entry
    "changed",  # it was invalidated since
    "lost",  # the entry depends on it, and the cache has it no more: evicted, or flushed
    "there",  # and there is no entry to compare it with
    "new",  # it is not there, and the next computation makes it
    "unread",  # the cache was not read; or it is of a nested call, in an entry that is dead for another reason
]
TokenSource = Literal[
    "itself",  # every call has it, and every function
    "options",  # *namespace* or *depends_on* names it
    "AUTO",  # this call or another one of the function has read the table
    "arguments",  # so it has, and a row among the arguments is of the table, or one that hangs on such a row
    "nested",  # a cached call inside the computation depends on it
]
WaitsFor = Literal["", "another caller of this process", "another process"]

_WOULD: Final[Mapping[CallOutcome, str]] = {
    "hit": "would be a hit",
    "stale": "would be served a stale value, or refresh it",
    "miss": "would be a miss",
    "bypassed": "would bypass the cache",
}
_FRESH: Final = "its entry is fresh, and none of its tokens has changed"
_REMEMBERED: Final = "this request, or block of remembered(), has read it before"
# Before the first token of each source.
_LABELS: Final[Mapping[TokenSource, str]] = {
    "itself": "depends on",
    "options": "",
    "AUTO": "AUTO",
    "arguments": "arguments",
    "nested": "inside",
}
_STALE: Final = "its entry is past its timeout, and is served while one caller refreshes it"


@dataclass(frozen=True, slots=True)
class ExplainedToken:
    """One token that a call depends on."""

    kind: TokenKind
    name: str  #: what it stands for: "this call", "the function", "namespace club:7", "table clubs_club"
    state: TokenState
    age: float | None  #: seconds since it was made: since the invalidation, if it has changed; None if it is not there
    source: TokenSource  #: what has brought it
    nested: str  #: the cached function inside the computation that depends on it; empty of other sources

    @property
    def clause(self) -> str:
        """Return how a call comes to depend on it, as a relative clause; empty where the name of it says so."""
        if self.source == "arguments":
            return "of a row among its arguments"
        is_named = not self.nested or self.kind in {"nested call", "nested function"}
        return "" if is_named else f"on which {self.nested}() inside it depends"

    @property
    def when(self) -> str:
        """Return how long ago it was made or has changed, for people; empty if it is not there."""
        if self.age is None:
            return ""
        return f"{'' if self.state == 'changed' else 'made '}{duration(self.age)} ago"


@dataclass(frozen=True, slots=True)
class ExplainedEntry:
    """The entry of a call, whether or not it can be served."""

    size: int  #: bytes, of the value and all beside it
    age: float  #: seconds since it was stored
    left: float | None  #: seconds until its timeout, below 0 after it; None for ever
    stale: float  #: seconds past its timeout in which it may be served while it is refreshed
    process: str  #: host and process id of the process that stored it
    seconds: float  #: what its computation took
    statements: int  #: how many statements on databases it has run
    is_error: bool  #: whether the call raised one of its *cache_exceptions*, which is stored


@dataclass(frozen=True, slots=True)
class Explanation:
    """
    What a call would do now, and why.

    Its text is for people; `as_dict()` is what JSON takes.
    """

    function: str  #: dotted name
    call: str  #: as source text, without secrets
    outcome: CallOutcome
    reason: str  #: as the event `miss` or `bypassed` has it, without secrets; empty of a hit or a stale value
    waits_for: WaitsFor  #: who computes it at this moment: a miss would wait for the result
    key: str  #: whole, as the server gets it, but for what sounds secret; empty if it can't be made
    cache: str  #: alias
    serializer: str
    entry: ExplainedEntry | None
    tokens: tuple[ExplainedToken, ...]
    is_remembered: bool = False  #: whether the request, or block of `remembered()`, would serve it without the cache
    error: str = ""  #: what the cache or the key raised
    unstored: str = ""  #: of a miss, why this process has returned its last value and not stored it; empty if it has

    @property
    def why(self) -> str:
        """The reason as a sentence, without a full stop."""
        if self.outcome == "hit":
            return _REMEMBERED if self.is_remembered else _FRESH
        if self.outcome == "stale":
            return _STALE
        reason, _, detail = self.reason.partition(": ")
        blamed = next((each for each in self.tokens if detail == each.name and each.state in {"changed", "lost"}), None)
        ago = f" {duration(blamed.age)} ago" if reason == "invalidated" and blamed and blamed.age is not None else ""
        clause = f", {blamed.clause}" if blamed and blamed.clause else ""
        parts = [f"{MEANINGS[reason]}{ago}", f"{detail}{clause}", self.error.removesuffix(".")]
        return ": ".join([each for each in parts if each])

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, and `why`, as a dict of what JSON takes."""
        return {**asdict(self), "tokens": [asdict(each) for each in self.tokens], "why": self.why}

    def __str__(self) -> str:
        """Return some lines for people."""
        lines = [f"{self.call} {_WOULD[self.outcome]}: {self.why}."]
        if self.reason.startswith(NOT_READ):
            lines.append("manage.py cachedeco doctor says what is wrong with the cache.")
        if self.waits_for:
            lines.append(f"It would wait for {self.waits_for}, which computes it now.")
        lines += [f"  {name:<11} {shorten(text) if name == 'key' else text}" for name, text in self.facts()]
        source = ""
        for token in self.tokens:
            label, source = "" if token.source == source else _LABELS[token.source], token.source
            when = f" ({token.when})" if token.when else ""
            lines.append(f"  {label:<11} {token.state:<10}{token.name}{when}")
        return "\n".join(lines)

    def facts(self) -> Iterator[tuple[str, str]]:
        """Yield what is known of the key and the entry, for people: a name, and a text."""
        entry = self.entry
        yield "key", self.key or "none"
        yield "cache", self.cache
        if self.unstored:
            yield "unstored", f"the last value in this process: {self.unstored}"
        if entry is None:
            yield "entry", "none"
            return
        what = "an exception, " if entry.is_error else ""
        stored = f"stored {duration(entry.age)} ago by {entry.process}"
        yield "entry", f"{what}{size(entry.size)} by {self.serializer}, {stored}"
        yield "cost", f"{duration(entry.seconds)}, {counted(entry.statements, 'SQL statement')}"
        if entry.left is None:
            yield "timeout", "none: until it is invalidated"
            return
        stale = f", and {duration(entry.stale)} more while it is refreshed" if entry.stale else ""
        when = f"in {duration(entry.left)}" if entry.left > 0 else f"{duration(-entry.left)} ago"
        yield "timeout", f"{when}{stale}"


def explain_calls(
    spec: FunctionSpec, calls: Mapping[Hashable, Arguments], texts: Mapping[Hashable, str]
) -> dict[Any, Explanation]:
    """Explain some calls of one function, by id; all are looked up by one read. *texts* are how they are written."""
    resolved = spec.resolve()
    store = LookingStore(resolved.policy.store.alias, spec.name)
    seen = _seen_through(spec, store)
    if modes.current_mode() != "off":
        commits.deliver_ended()  # as a call does before it reads: in a test, of blocks that have ended
    try:
        several = [seen.resolve_call(*arguments) for arguments in calls.values()]
    except Exception as error:
        pass_interrupt(error)
        arguments, mode = next(iter(calls.values())), modes.current_mode()
        if mode != "on" and spec.accepts(*arguments):  # without a key, too
            return {each: _without_entry(spec, texts[each], BY_MODE[mode]) for each in calls}
        reason = reason_without_key(spec, error, *arguments)
        if reason is None:
            raise
        return {each: _without_entry(spec, texts[each], reason, shorten_error(error)) for each in calls}
    if not several:
        return {}
    policy, keys_of = several[0][0], [keys for _, keys in several]
    # In the mode "off" the cache is never touched.
    looked_up = [Found(keys) for keys in keys_of] if modes.current_mode() == "off" else look_closely(policy, keys_of)
    looker = _Looker(spec, policy, store, resolved.policy.unstored)
    found = dict(zip(calls, looked_up, strict=True))
    explained = {
        n: looker.explain(texts[n], keys, found[n], seen.arguments_of(*calls[n]))
        for n, keys in zip(calls, keys_of, strict=True)
    }
    misses = {n: found[n] for n, each in explained.items() if each.outcome == "miss"}
    return explained | {n: replace(explained[n], waits_for=who) for n, who in _waits_for(policy, misses).items()}


def _seen_through(spec: FunctionSpec, store: Store) -> FunctionSpec:
    """Return a copy of a spec for one who only looks: it reads by another store of the same cache."""
    resolved = spec.resolve()
    policy = resolved.policy
    tables = policy.tables and policy.tables.seen_through(store)
    policy = replace(policy, store=store, codec=replace(policy.codec, store=store), tables=tables)
    seen = copy(spec)
    seen._resolved = replace(resolved, policy=policy)  # noqa: SLF001 -- of a copy
    return seen


def call_text(spec: FunctionSpec, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """Return a call as source text, short and without secrets."""
    return f"{spec.name}({format_arguments(parameters_of(spec.source.function), args, kwargs)})"


def _order_of(token: ExplainedToken) -> int:
    return [*_LABELS].index(token.source)


def _serializer_of(spec: FunctionSpec) -> str:
    serializer = spec.options["serializer"]
    return str(getattr(serializer, "name", serializer))


def _without_entry(spec: FunctionSpec, text: str, reason: str, error: str = "") -> Explanation:
    """Return the explanation of a call without a key."""
    alias = spec.resolve().policy.store.alias
    return Explanation(spec.name, text, "bypassed", reason, "", "", alias, _serializer_of(spec), None, (), error=error)


def _waits_for(policy: CachePolicy, misses: Mapping[Hashable, Found]) -> dict[Hashable, WaitsFor]:
    """Return who computes the values of misses at this moment, by id."""
    if not misses or not policy.wait or must_compute_alone():
        return {}
    waits: dict[Hashable, WaitsFor] = {
        each: "another caller of this process" for each, found in misses.items() if is_computed(policy, found)
    }
    left = {each: found for each, found in misses.items() if each not in waits}
    if left and is_held(policy, misses_of(left)):
        waits |= dict.fromkeys(left, "another process")
    return waits


@dataclass(frozen=True, slots=True)
class _Looker:
    """What the explanations of several calls have in common."""

    spec: FunctionSpec
    policy: CachePolicy
    store: LookingStore
    unstored: UnstoredReasons

    def outcome_of(self, keys: CallKeys, found: Found, *, is_remembered: bool) -> tuple[CallOutcome, str]:
        """Return what a call would do now, and why: in the order in which a call decides."""
        mode, policy = modes.current_mode(), self.policy
        if mode != "on":
            return "bypassed", BY_MODE[mode]
        if commits.has_pending() and commits.invalidated_in_transaction(keys):
            return "bypassed", bypass_in_transaction(keys)
        now, entry = time(), found.entry
        if is_remembered or (entry is not None and entry.expires > now):
            return "hit", ""
        if entry is not None and policy.stale_until(entry) > now:
            return "stale", ""
        return "miss", miss_reason(policy, found)[0]

    def is_remembered(self, keys: CallKeys) -> bool:
        """Tell whether the memory of this request has the entry."""
        memory = memory_in_use()
        return memory is not None and memory.recall(self.policy, keys) is not None

    def explain(self, text: str, keys: CallKeys, found: Found, arguments: Iterable[object]) -> Explanation:
        """Put the explanation of one call together."""
        is_remembered = self.is_remembered(keys)
        outcome, reason = self.outcome_of(keys, found, is_remembered=is_remembered)
        raw: Any = found.raw or {}
        data = raw.get(found.key)
        failures = self.store.failures if outcome == "miss" else []
        return Explanation(
            function=self.spec.name,
            call=text,
            outcome=outcome,
            reason=shorten_reason(reason),
            waits_for="",
            key=hide_secrets(found.key),
            cache=self.policy.store.alias,
            serializer=_serializer_of(self.spec),
            entry=self._entry_of(found, data),
            tokens=tuple(sorted(self._tokens_of(found, data, arguments), key=_order_of)),
            is_remembered=outcome == "hit" and is_remembered,
            error=shorten_error(failures[0]) if failures else "",
            unstored=self.unstored.get(found.key) if outcome == "miss" else "",
        )

    def _entry_of(self, found: Found, data: Any) -> ExplainedEntry | None:
        details = read_details(self.policy.codec, found.key, data)
        if details is None:
            return None
        now = time()
        return ExplainedEntry(
            size=len(data),
            age=max(0.0, now - details.stored_at),
            left=None if details.expires == inf else details.expires - now,
            stale=min(details.stale, self.policy.stale_while_revalidate),
            process=details.process,
            seconds=details.seconds,
            statements=details.statements,
            is_error=details.is_error,
        )

    def _tokens_of(self, found: Found, data: Any, arguments: Iterable[object]) -> Iterator[ExplainedToken]:
        """Yield the tokens that the call depends on, and those that its entry names: of nested calls."""
        codec, own = self.policy.codec, found.keys[1:]
        raw: Mapping[str, Any] = found.raw or {}
        stamp: Sequence[bytes] = ()
        names: list[str] = []
        if own_tokens_of(codec, found.key, data) == len(own):
            stamp, names = tokens_inside(codec, found.key, data)
        sources = self._sources_of(own, arguments)
        nested = ""
        for n, key in enumerate([*own, *names]):
            now: Any = raw.get(key)
            state: TokenState
            if found.raw is None:
                state = "unread"
            elif not stamp:
                state = "new" if now is None else "there"
            elif now == stamp[n]:
                state = "unchanged"
            elif now is not None:
                state = "changed"
            else:
                state = "lost" if n < len(own) or found.entry_keys[len(found.keys) :] else "unread"
            kind, name = token_name(found.keys, key)
            if kind in {"nested call", "unknown"}:  # the first of its tokens
                nested = subject_of(key).name if kind == "nested call" else ""
            age = age_of(now) if is_token(now) else None
            yield ExplainedToken(kind, hide_secrets(name), state, age, sources.get(key, "nested"), nested)

    def _sources_of(self, own: Sequence[str], arguments: Iterable[object]) -> dict[str, TokenSource]:
        """Return what has brought each of the tokens that a call depends on itself, by key."""
        sources: dict[str, TokenSource] = dict.fromkeys(own, "options")
        sources |= dict.fromkeys(own[:2], "itself")
        tables = self.policy.tables
        if tables is not None and tables.keys:
            sources |= dict.fromkeys(tables.keys, "AUTO")
            try:
                of_rows = {tables.key_of(name) for name in tables_of_rows(arguments)}
            except Exception as error:  # noqa: BLE001 -- an argument's own class may raise anything
                pass_interrupt(error)
                of_rows = set()
            sources |= dict.fromkeys(of_rows.intersection(tables.keys), "arguments")
        return sources
