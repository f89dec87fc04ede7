"""
The auditor: recompute a sample of the hits, and report values that changed without an invalidation.

A hit of the sample is recomputed in the background with the cache bypassed, and compared with the served value. The two
may differ for a while, if a writer has committed and its invalidation has not arrived. So the audit looks twice,
`AUDIT_SECONDS` apart. A hit is inconsistent if its value differs at both looks and the tokens in the cache are still
those of its stamp: the data that the function reads has changed, and the call was not invalidated.

Why there are no false alarms
    A difference at the first look was written after the entry's computation began to read, so after its stamp was read.
    The invalidation of that write comes later still, and writes a token that is not in the stamp; it has arrived by the
    second look. The conditions are those of `docs/how-to/auditor.md`: each write is followed by an invalidation within
    `AUDIT_SECONDS`, and the function gives one value for one state of the data.

What does not count
    An entry that was replaced, or is past its timeout: it is served no more. A value that depends on nested calls which
    may change without an invalidation: functions with `audit=False` or `nested=False`.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from functools import partial
from itertools import islice
from time import monotonic, perf_counter, time
from typing import Any, Final, NamedTuple, TypeVar, cast

from cachedeco.auditing.later import Delay
from cachedeco.invalidation import transactions
from cachedeco.loading.effects import CALL_USER, CallUser, EffectFlow, Err, Flow, Ok, Outcome, Spawn
from cachedeco.loading.found import Found
from cachedeco.loading.load import Load
from cachedeco.loading.materializing import materialize
from cachedeco.loading.policy import CachePolicy
from cachedeco.loading.refreshing import find_key_mismatch
from cachedeco.runtime import conf, modes
from cachedeco.runtime.events import Kind
from cachedeco.runtime.interrupts import pass_interrupt
from cachedeco.runtime.reprs import repr_of
from cachedeco.storage import many_caches
from cachedeco.storage.comparison import difference
from cachedeco.storage.entries import Entry, decode_entry
from cachedeco.storage.refusals import ValueOrigin
from cachedeco.tracking import collector
from cachedeco.tracking.reads import TableReads

T = TypeVar("T")

# Hits that wait for their second look; each keeps the bytes of its entry.
MOST_SUSPECTS: Final = 1000
# Characters of a difference, and tokens of a stamp, in the reason of an event.
LONGEST_DIFFERENCE: Final = 300
MOST_TOKENS_SHOWN: Final = 20

REMEDY: Final = "Set audit=False."
INVALIDATED: Final = "it differs, and was invalidated since"
REPLACED: Final = "it differs, and was replaced or timed out since"
UNCERTAIN: Final = "it differs, but a nested call has audit=False or nested=False, and may change by itself"


class AuditedHit(NamedTuple):
    """A hit: the entry as stored in the cache, since the caller may change the value in memory."""

    keys: Sequence[str]  #: the entry's key, then the keys of the call's own tokens
    asked: Sequence[str]  #: the entry's key and the keys of all its tokens
    found: Mapping[str, Any]  #: the values of these keys in the cache
    expires: float
    at: float  #: when it was served, in seconds since the epoch


class Sample(NamedTuple):
    """The hits of one call to audit: one, or several of a call over many ids."""

    load: Load  #: the hits, and how to compute them
    seen: Mapping[Hashable, AuditedHit]  #: by id

    @property
    def policy(self) -> CachePolicy:
        """That of the function."""
        return self.load.policy

    def only(self, ids: Iterable[Hashable]) -> "Sample":
        """Return the sample with only these ids."""
        seen = {each: self.seen[each] for each in ids}
        return Sample(self.load.with_misses(miss for miss in self.load.misses if miss.id in seen), seen)

    def emit(self, kind: Kind, each: Hashable, seconds: float = 0.0, reason: str = "") -> None:
        """Emit an event about one of the hits."""
        self.policy.emit(kind, self.seen[each].keys[0], seconds=seconds, reason=reason)

    def emit_failure(self, error: Exception, each: Hashable) -> None:
        """Emit the event of an audit that failed."""
        self.policy.emit("error", self.seen[each].keys[0], reason="The audit failed", error=error)


def _hit_of(found: Found) -> AuditedHit:
    entry, raw = cast("Entry", found.entry), cast("Mapping[str, object]", found.raw)  # a hit has them
    read = {key: raw[key] for key in found.entry_keys}
    return AuditedHit(found.keys, found.entry_keys, read, entry.expires, time())


# --- steps of the caller ---


def audited_flow(hits: Load, flow: Flow[T]) -> Flow[T]:
    """Run the flow that serves the caller, and audit these hits in the background."""
    yield from _audit_in_background(Sample(hits, {miss.id: _hit_of(miss.found) for miss in hits.misses}))
    return (yield from flow)


def _audit_in_background(sample: Sample) -> EffectFlow[None]:
    """Audit hits in the background; none if the executor is full, since later hits will be audited."""
    sample = yield partial(_select_auditable, sample)
    if sample.seen:
        yield Spawn(_first_look(sample))


def _select_auditable(sample: Sample) -> Sample:
    """Return the hits that can be audited: visible to other connections, and fresh until after a second look."""
    if not _can_audit():
        return sample.only(())
    until = time() + conf.settings().AUDIT_SECONDS
    return sample.only(
        each for each, seen in sample.seen.items() if seen.expires > until and not _is_suspect(sample, each)
    )


def _can_audit() -> bool:
    """Tell whether the mode is "on", and no transaction with uncommitted writes may be open."""
    return modes.current_mode() == "on" and not transactions.any_open() and not transactions.any_in_test()


# --- steps in the background ---


def _first_look(sample: Sample) -> Flow[None]:
    """Recompute the hits; schedule a second look for those that differ."""
    differing = yield from _find_unexplained(sample)
    suspects = yield partial(_register_suspects, sample.only(differing))
    if suspects.seen and not (yield Spawn(_second_look(suspects), Delay(conf.settings().AUDIT_SECONDS))):
        _forget(suspects)
    return Ok(None)


def _second_look(sample: Sample) -> Flow[None]:
    """Recompute again, after all invalidations have arrived, and report hits that still differ."""
    # Checked before the computation, which is needless if an invalidation explains the difference.
    left = (yield partial(_without_explanation, sample, sample.seen)) if (yield _can_audit) else ()
    differing = (yield from _find_unexplained(sample.only(left))) if left else {}
    yield partial(_report, sample, differing)
    return Ok(None)


def _find_unexplained(sample: Sample) -> EffectFlow[Mapping[Hashable, str]]:
    """Recompute hits; return the unexplained differences, by id."""
    # The enclosing computation of the caller may still run; it must not inherit dependencies from an audit.
    with collector.collect_dependencies(sample.policy.store.alias, collects=False):
        if not (yield _can_audit) or (yield partial(_has_other_key, sample)):
            return {}
        began = perf_counter()
        reads = TableReads(sample.policy.store, None)
        outcome, is_auditable = yield from _recompute(sample, reads)
    if isinstance(outcome, Err):
        if isinstance(outcome.error, Exception):  # otherwise its event loop has ended
            yield partial(sample.emit_failure, outcome.error, next(iter(sample.seen)))
        return {}
    differing = yield partial(_find_differences, sample, outcome.value, perf_counter() - began)
    if differing and not is_auditable:
        for each in differing:
            sample.emit("audited", each, reason=UNCERTAIN)
        return {}
    left = (yield partial(_without_explanation, sample, differing)) if differing else {}
    missing = _format_tables(sample.policy, reads) if left else ""
    return {each: differing[each] + missing for each in left}


def _has_other_key(sample: Sample) -> bool:
    """Tell whether a call has another key in this thread: its value may be that of another tenant."""
    problem = find_key_mismatch(sample.load, REMEDY)
    if problem is not None:
        sample.emit_failure(problem, next(iter(sample.seen)))
    return problem is not None


def _format_tables(policy: CachePolicy, reads: TableReads) -> str:
    """Return the tables that an audited computation has read, and that the function does not depend on, as text."""
    names = [] if policy.tables is not None else reads.uncovered(policy.declared)
    return f"; it reads {', '.join(names)}, which depends_on= does not name" if names else ""


def _recompute(sample: Sample, reads: TableReads) -> EffectFlow[tuple[Outcome[dict[Any, Any]], bool]]:
    """
    Recompute with the cache bypassed, also for nested calls.

    Returns:
        The outcome, by id; whether only an invalidation can change it.
    """
    policy, ids = sample.policy, list(sample.seen)
    with (
        modes.bypass(),
        collector.collect_dependencies(policy.store.alias, collects=True, reads=reads) as computation,
    ):
        takes_ids = sample.load.takes_ids
        outcome: Outcome[Any] = yield CallUser((ids,)) if takes_ids else CALL_USER
        if isinstance(outcome, Ok):
            outcome = yield partial(materialize, ValueOrigin(policy.function), outcome.value, ids, takes_ids=takes_ids)
    # Nested calls that are no dependencies, or that used the cache in spite of the bypass, may change at any time.
    dependencies = computation.dependencies()
    is_known = (policy.nested or not dependencies.problem) and not dependencies.tokens
    return outcome, computation.is_auditable and is_known


# --- comparing ---


def _find_differences(sample: Sample, values: Mapping[Hashable, Any], seconds: float) -> dict[Hashable, str]:
    """Return the differences between served and recomputed values, by id; emit an event for each other hit."""
    differing: dict[Hashable, str] = {}
    serializer = sample.policy.codec.serializer
    for each, seen in sample.seen.items():
        entry = decode_entry(sample.policy.codec, seen.asked, seen.found)
        if entry is None:  # unreadable now, which is an event
            continue
        try:
            value = serializer.loads(serializer.dumps(values[each]).data)  # as a hit would load it
            where = difference(entry.value, value)
            if where == "":  # the whole values differ
                where = f"{repr_of(entry.value)} and {repr_of(value)}"
        except Exception as error:  # noqa: BLE001 -- a user's class may raise in __eq__ or __repr__
            pass_interrupt(error)
            sample.emit_failure(error, each)
            continue
        if where is None:
            sample.emit("audited", each, seconds)
        else:
            differing[each] = f"{where:.{LONGEST_DIFFERENCE}}"
    return differing


def _without_explanation(sample: Sample, ids: Iterable[Hashable]) -> list[Hashable]:
    """Return the ids whose difference is unexplained; emit an event for each other one."""
    seen = {each: sample.seen[each] for each in ids}
    found = many_caches.get_many_across_caches(
        sample.policy.store, list({key: None for one in seen.values() for key in one.asked})
    )
    if found is None:  # the failed read is an event
        return []
    unexplained: list[Hashable] = []
    for each, one in seen.items():
        reason = _explanation(one, found)
        if reason:
            sample.emit("audited", each, reason=reason)
        else:
            unexplained.append(each)
    return unexplained


def _explanation(seen: AuditedHit, found: Mapping[str, object]) -> str:
    """Return an explanation of a difference: the entry was invalidated or replaced; empty if there is none."""
    key, *tokens = seen.asked
    if any(found.get(token) != seen.found[token] for token in tokens):
        return INVALIDATED
    # An evicted entry is no explanation: it was served until then.
    return REPLACED if seen.expires <= time() or found.get(key, seen.found[key]) != seen.found[key] else ""


def _report(sample: Sample, differing: Mapping[Hashable, str]) -> None:
    """Emit an event for each difference of the second look, and remove the suspects."""
    _forget(sample)
    for each, where in differing.items():
        seconds, age = _age(sample.policy, sample.seen[each])
        reason = f"it differs from what is computed now: {where}; {age}; {_format_stamp(sample.seen[each])}"
        sample.emit("inconsistent", each, seconds, reason)


def _age(policy: CachePolicy, seen: AuditedHit) -> tuple[float, str]:
    """Return the age of an entry in seconds, or a bound of it, and as text."""
    at_least = time() - seen.at
    entry = decode_entry(policy.codec, seen.asked, seen.found)
    timeout = None
    try:
        timeout = policy.timeout(entry and entry.value)
    except Exception as error:  # noqa: BLE001 -- a callable of the user's
        pass_interrupt(error)
    if timeout is None:
        return at_least, f"its age is at least {at_least:.0f} s"
    age = max(at_least, time() + timeout - seen.expires)
    return age, f"its age is {'at most ' if policy.jitter else ''}{age:.0f} s"


def _format_stamp(seen: AuditedHit) -> str:
    tokens = [f"{key} = {seen.found[key].hex()}" for key in islice(seen.asked, 1, MOST_TOKENS_SHOWN + 1)]
    more = len(seen.asked) - 1 - len(tokens)
    return f"its stamp is {', '.join(tokens)}{f', and {more} more' if more else ''}"


# --- suspects ---


# Hits that wait for their second look, each with the time until which it is not sampled again: otherwise one busy entry
# would fill the queue, and the log.
_suspects: dict[tuple[str, str], float] = {}


def _name_of(sample: Sample, each: Hashable) -> tuple[str, str]:
    return sample.policy.store.alias, sample.seen[each].keys[0]


def _is_suspect(sample: Sample, each: Hashable) -> bool:
    return _suspects.get(_name_of(sample, each), 0.0) > monotonic()


def _register_suspects(sample: Sample) -> Sample:
    """Register suspects; return those that were not registered yet, up to MOST_SUSPECTS."""
    now = monotonic()
    for name, until in list(_suspects.items()):
        if until <= now:  # its second look was dropped with an event loop
            _suspects.pop(name, None)
    names = {each: _name_of(sample, each) for each in sample.seen}
    room = MOST_SUSPECTS - len(_suspects)
    entered = [each for each, name in names.items() if name not in _suspects][:room]
    # Twice: the second look starts after AUDIT_SECONDS, and takes time itself.
    _suspects.update(dict.fromkeys([names[each] for each in entered], now + 2 * conf.settings().AUDIT_SECONDS))
    return sample.only(entered)


def _forget(sample: Sample) -> None:
    for each in sample.seen:
        _suspects.pop(_name_of(sample, each), None)
