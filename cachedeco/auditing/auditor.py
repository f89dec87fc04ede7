"""
The auditor: is what was served what the function returns?

Of the hits, those of a sample are computed anew in the background, past the cache, and compared with what was served.
Two values may differ for a while: a writer has committed, and his invalidation is on its way. So the audit looks twice,
`AUDIT_SECONDS` apart. A hit is inconsistent if its value differs at both looks, and the tokens are still those of its
stamp: somebody has changed what the function reads, and nobody has invalidated the call.

Why there is no false alarm
    What the first look finds was written after the entry's computation had begun to read, so after the stamp was read.
    The invalidation of that write takes effect after it, and so writes a token that is not in the stamp; by the second
    look it has. This needs what `docs/consistency.md` names: an invalidation for each write, within `AUDIT_SECONDS` of
    it, and a function that gives one value for one state of the data.

What does not count
    An entry that was replaced, or is past its timeout: somebody has seen to it, if late. A value that depends on
    calls inside which may change without an invalidation: functions with `audit=False` or `nested=False`.
"""

import reprlib
from collections.abc import Hashable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import islice
from time import monotonic, perf_counter, time
from typing import Any, Final, NamedTuple, TypeVar, cast

from cachedeco.auditing.later import Delay
from cachedeco.invalidation import transactions
from cachedeco.loading.batch import materialize_each
from cachedeco.loading.computing import Miss, Reinvocation, serve
from cachedeco.loading.effects import CallUser, EffectFlow, Err, Flow, Ok, Outcome, Spawn
from cachedeco.loading.materializing import materialize
from cachedeco.loading.policy import CachePolicy
from cachedeco.loading.refreshing import find_key_mismatch
from cachedeco.loading.sampling import ResolveCalls
from cachedeco.runtime import conf, modes
from cachedeco.runtime.events import Kind
from cachedeco.storage import many_caches
from cachedeco.storage.comparison import difference
from cachedeco.storage.entries import Entry, decode_entry
from cachedeco.tracking import collector

T = TypeVar("T")

# Entries that wait for their second look: of each, what the cache holds is kept.
MOST_SUSPECTS: Final = 1000
# Of a difference, and of a stamp, what an event tells.
LONGEST_DIFFERENCE: Final = 300
MOST_TOKENS_TOLD: Final = 20

REMEDY: Final = "Say audit=False."
INVALIDATED: Final = "it differs, and was invalidated since"
REPLACED: Final = "it differs, and was replaced or timed out since"
UNCERTAIN: Final = "it differs, as a call inside it may that says audit=False or nested=False"


class Seen(NamedTuple):
    """What was served: the entry as the cache held it, since the caller may change the value that he got."""

    keys: list[str]  #: the entry's key, then those of the tokens that the call itself depends on
    asked: Sequence[str]  #: the keys of all that the entry depends on
    found: Mapping[str, Any]  #: what the cache held under these
    expires: float
    at: float  #: when it was served, in seconds since the epoch


class Sample(NamedTuple):
    """Hits of one call that are to be audited: its own, or those of some of its ids."""

    policy: CachePolicy
    seen: Mapping[Hashable, Seen]  #: by id
    resolve_calls: ResolveCalls  #: as they are here and now
    over_ids: bool  #: whether the function takes ids

    def only(self, ids: Iterable[Hashable]) -> "Sample":
        """Return the sample with these ids alone."""
        return self._replace(seen={each: self.seen[each] for each in ids})

    def emit(self, kind: Kind, each: Hashable, seconds: float = 0.0, reason: str = "") -> None:
        """Emit an event about one of the hits."""
        self.policy.emit(kind, self.seen[each].keys[0], seconds=seconds, reason=reason)

    def emit_failure(self, error: Exception, each: Hashable) -> None:
        """Emit the event of an audit that can't be made."""
        self.policy.emit("error", self.seen[each].keys[0], reason="The audit failed", error=error)


def _seen(call: Miss) -> Seen:
    entry, found = cast("Entry", call.entry), cast("Mapping[str, object]", call.raw)  # a hit has them
    return Seen(call.keys, call.entry_keys, {key: found[key] for key in call.entry_keys}, entry.expires, time())


# --- steps of the caller ---


def audited_hit_flow(call: Miss) -> Flow[Any]:
    """Serve what is there, as a hit does, and have it audited."""
    again = cast("Reinvocation", call.reinvocation)
    outcome = serve(call)
    sample = Sample(call.policy, {None: _seen(call)}, lambda _: [again.resolve_call()], over_ids=False)
    yield from _handed_over(sample)
    return outcome


def audited_batch_flow(calls: Mapping[Hashable, Miss], resolve_calls: ResolveCalls, steps: Flow[T]) -> Flow[T]:
    """Take the steps of a bulk call, and audit hits that it has served already."""
    policy = next(iter(calls.values())).policy
    seen = {each: _seen(call) for each, call in calls.items()}
    yield from _handed_over(Sample(policy, seen, resolve_calls, over_ids=True))
    return (yield from steps)


def _handed_over(sample: Sample) -> EffectFlow[None]:
    """Have hits audited in the background; where there is no place, not at all: others will be."""
    sample = yield partial(_admitted, sample)
    if sample.seen:
        yield Spawn(_first_look(sample))


def _admitted(sample: Sample) -> Sample:
    """Return what can be audited: another connection sees it, and it is there still when a second look is due."""
    if not _may_look():
        return sample.only(())
    until = time() + conf.settings().AUDIT_SECONDS
    return sample.only(
        each for each, seen in sample.seen.items() if seen.expires > until and not _is_suspect(sample, each)
    )


def _may_look() -> bool:
    """Tell whether the cache is in use, and no transaction has written what nobody else sees."""
    return modes.current_mode() == "on" and not transactions.any_open() and not transactions.any_in_test()


# --- steps in the background ---


def _first_look(sample: Sample) -> Flow[None]:
    """Compute anew what was served; what differs is looked at a second time."""
    differing = yield from _looked_at(sample)
    suspects = yield partial(_suspected, sample.only(differing))
    if suspects.seen and not (yield Spawn(_second_look(suspects), Delay(conf.settings().AUDIT_SECONDS))):
        _forget(suspects)
    return Ok(None)


def _second_look(sample: Sample) -> Flow[None]:
    """Report what differs again, though every invalidation that was on its way has arrived."""
    # Those that explain it are known before a computation that would be in vain.
    left = (yield partial(_unexplained, sample, sample.seen)) if (yield _may_look) else ()
    differing = (yield from _looked_at(sample.only(left))) if left else {}
    yield partial(_reported, sample, differing)
    return Ok(None)


def _looked_at(sample: Sample) -> EffectFlow[Mapping[Hashable, str]]:
    """Compute anew; give by id where the values differ that nothing explains."""
    # A computation around the caller, which may still go on, does not depend on what is asked for here.
    with collector.collect_dependencies(sample.policy.store.alias, collects=False, leads=False):
        if not (yield _may_look) or (yield partial(_is_another, sample)):
            return {}
        began = perf_counter()
        outcome, is_auditable = yield from _computed_anew(sample)
    if isinstance(outcome, Err):
        if isinstance(outcome.error, Exception):  # or else its loop has ended
            yield partial(sample.emit_failure, outcome.error, next(iter(sample.seen)))
        return {}
    differing = yield partial(_differing, sample, outcome.value, perf_counter() - began)
    if differing and not is_auditable:
        for each in differing:
            sample.emit("audited", each, reason=UNCERTAIN)
        return {}
    left = (yield partial(_unexplained, sample, differing)) if differing else {}
    return {each: differing[each] for each in left}


def _is_another(sample: Sample) -> bool:
    """Tell whether the call has another key here: its value would be another tenant's, say."""
    for each, seen in sample.seen.items():
        problem = find_key_mismatch(seen.keys, lambda each=each: sample.resolve_calls([each])[0], REMEDY)  # type: ignore[misc] # a default
        if problem is not None:
            sample.emit_failure(problem, each)
            return True
    return False


def _computed_anew(sample: Sample) -> EffectFlow[tuple[Outcome[dict[Any, Any]], bool]]:
    """
    Compute past the cache, calls inside included.

    Returns:
        What it came to, by id; whether only an invalidation can have changed it.
    """
    policy, ids = sample.policy, list(sample.seen)
    with modes.bypass(), collector.collect_dependencies(policy.store.alias, collects=True, leads=False) as computation:
        outcome: Outcome[Any] = yield CallUser((ids,) if sample.over_ids else ())
        if isinstance(outcome, Ok):
            outcome = yield partial(_materialize, sample, ids, outcome)
    # Of calls inside that it does not depend on, and that went to the cache for all that we say, nothing is known.
    is_known = (policy.nested or computation.is_cacheable) and not computation.nested_tokens
    return outcome, computation.is_auditable and is_known


def _materialize(sample: Sample, ids: Sequence[Any], outcome: Ok[Any]) -> Outcome[dict[Any, Any]]:
    if sample.over_ids:
        return materialize_each(sample.policy.function, outcome.value, ids)
    one: Outcome[Any] = materialize(sample.policy.function, outcome)
    return Ok({ids[0]: one.value}) if isinstance(one, Ok) else one


# --- to judge ---


def _differing(sample: Sample, values: Mapping[Hashable, Any], seconds: float) -> dict[Hashable, str]:
    """Return where what was served differs from what was computed now, by id; tell of the rest."""
    differing: dict[Hashable, str] = {}
    serializer = sample.policy.codec.serializer
    for each, seen in sample.seen.items():
        entry = decode_entry(sample.policy.codec, seen.asked, seen.found)
        if entry is None:  # it can't be unpickled for a second time, which is an event
            continue
        try:
            value = serializer.loads(serializer.dumps(values[each]))  # as a hit would give it
            where = difference(entry.value, value)
            if where == "":  # as a whole
                where = f"{reprlib.repr(entry.value)} and {reprlib.repr(value)}"
        except Exception as error:  # noqa: BLE001 -- whatever a class does when it is compared, or told
            sample.emit_failure(error, each)
            continue
        if where is None:
            sample.emit("audited", each, seconds)
        else:
            differing[each] = where
    return differing


def _unexplained(sample: Sample, ids: Iterable[Hashable]) -> list[Hashable]:
    """Return those of which nothing explains that they differ; tell of the rest."""
    seen = {each: sample.seen[each] for each in ids}
    found = many_caches.get_many_across_caches(
        sample.policy.store, list({key: None for one in seen.values() for key in one.asked})
    )
    if found is None:  # which is an event
        return []
    left: list[Hashable] = []
    for each, one in seen.items():
        reason = _explanation(one, found)
        if reason:
            sample.emit("audited", each, reason=reason)
        else:
            left.append(each)
    return left


def _explanation(seen: Seen, found: Mapping[str, object]) -> str:
    """Return why what was served may differ from what is computed now; empty where nothing explains it."""
    key, *tokens = seen.asked
    if any(found.get(token) != seen.found[token] for token in tokens):
        return INVALIDATED
    # Evicted explains nothing: it was served until then.
    return REPLACED if seen.expires <= time() or found.get(key, seen.found[key]) != seen.found[key] else ""


def _reported(sample: Sample, differing: Mapping[Hashable, str]) -> None:
    """Tell of what differs at the second look, and of nothing any more."""
    _forget(sample)
    for each, where in differing.items():
        seconds, age = _age(sample.policy, sample.seen[each])
        where = where if len(where) <= LONGEST_DIFFERENCE else f"{where[:LONGEST_DIFFERENCE]}..."  # noqa: PLW2901
        reason = f"it differs from what is computed now: {where}; {age}; {_told(sample.seen[each])}"
        sample.emit("inconsistent", each, seconds, reason)


def _age(policy: CachePolicy, seen: Seen) -> tuple[float, str]:
    """Return the age of an entry in seconds, as far as it can be known, and in words."""
    at_least = time() - seen.at
    entry = decode_entry(policy.codec, seen.asked, seen.found)
    timeout = None
    with suppress(Exception):  # a callable of the user's
        timeout = policy.timeout(entry and entry.value)
    if timeout is None:
        return at_least, f"its age is {at_least:.0f} s at least"
    age = max(at_least, time() + timeout - seen.expires)
    return age, f"its age is {age:.0f} s{' at most' if policy.jitter else ''}"


def _told(seen: Seen) -> str:
    """Return a stamp in words."""
    tokens = [f"{key} = {seen.found[key].hex()}" for key in islice(seen.asked, 1, MOST_TOKENS_TOLD + 1)]
    more = len(seen.asked) - 1 - len(tokens)
    return f"its stamp is {', '.join(tokens)}{f', and {more} more' if more else ''}"


# --- suspects ---


# What waits for its second look, and until when it is not sampled again: one that is asked for often would fill the
# queue, and the log.
_suspects: dict[tuple[str, str], float] = {}


def _name_of(sample: Sample, each: Hashable) -> tuple[str, str]:
    return sample.policy.store.alias, sample.seen[each].keys[0]


def _is_suspect(sample: Sample, each: Hashable) -> bool:
    return _suspects.get(_name_of(sample, each), 0.0) > monotonic()


def _suspected(sample: Sample) -> Sample:
    """Enter suspects; return those that nobody else has entered, and that there is room for."""
    now = monotonic()
    for name, until in list(_suspects.items()):
        if until <= now:  # its second look never came: a loop has ended
            _suspects.pop(name, None)
    names = {each: _name_of(sample, each) for each in sample.seen}
    room = MOST_SUSPECTS - len(_suspects)
    entered = [each for each, name in names.items() if name not in _suspects][:room]
    # Twice: the second look is begun after AUDIT_SECONDS, and takes its time.
    _suspects.update(dict.fromkeys([names[each] for each in entered], now + 2 * conf.settings().AUDIT_SECONDS))
    return sample.only(entered)


def _forget(sample: Sample) -> None:
    for each in sample.seen:
        _suspects.pop(_name_of(sample, each), None)
