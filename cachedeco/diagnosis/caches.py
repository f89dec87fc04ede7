"""Findings on caches: do they answer, keep what they acknowledge, forget it in time; what is owed to them."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from os import urandom
from time import monotonic
from typing import Final

from django.core.cache import caches

from cachedeco.diagnosis.findings import Finding
from cachedeco.diagnosis.judging import CLUSTERED, judge_server
from cachedeco.diagnosis.servers import ask_servers
from cachedeco.runtime.interrupts import pass_interrupt
from cachedeco.runtime.reprs import mask_credentials, shorten_error
from cachedeco.runtime.units import counted, duration
from cachedeco.storage.breaker import breakers, is_of_cluster, is_outage
from cachedeco.storage.connections import connection
from cachedeco.storage.store import Store, servers_of

CACHE: Final = "cache "  # before the alias, in subjects
ANSWERS: Final = "Does it answer?"
# Seconds that the two values which are written live: the first must be gone in time, and the second must not.
SHORT: Final = 1
LONG: Final = 60
# How long to wait for the first one: memcached's clock ticks once a second.
LONGEST_WAIT: Final = 4.0
PAUSE: Final = 0.1
# Of several servers, each gets one of so many keys, but once in a billion times for three of them.
KEYS_PER_SERVER: Final = 16
# Seconds. A server in the same building answers in one millisecond.
SLOW: Final = 0.01
# Round trips, of which the quickest counts: the first one connects, and each may meet a busy moment of this machine.
MOST_TRIPS: Final = 5
START_IT: Final = "Start its server, or correct LOCATION and OPTIONS in CACHES; until then each call is computed."
HEED_IT: Final = (
    "It is there, and refuses: see to what its error names, such as its memory, its disk, a script that runs, or what "
    "its user may do; until then each call is computed."
)
ASK_THERE: Final = (
    "Ask it yourself how full it is, and what it evicts: a proxy can't say it of the servers behind it, and the user "
    "of LOCATION may need the right to ask (INFO)."
)


@dataclass
class Trial:
    """What was written to one cache, to be looked for a second later."""

    store: Store
    subject: str
    short: Mapping[str, bytes]
    long: Mapping[str, bytes]


def examine_caches(aliases: Iterable[str], sleep: Callable[[float], object]) -> Iterator[Finding]:
    """
    Yield findings on caches: first those of each, and then whether they honour timeouts, which takes some two seconds.

    Writes small values under keys of their own, past the circuit breakers, and changes nothing else.
    """
    trials = []
    for alias in aliases:
        trial = None
        for each in _examine(alias):
            if isinstance(each, Finding):
                yield each
            else:
                trial = each
        trials += [trial] if trial else []
    yield from _examine_timeouts(trials, sleep)


def _examine(alias: str) -> Iterator[Finding | Trial]:
    subject = f"{CACHE}{alias}"
    if alias not in caches.settings:
        advice = f"Name in CACHEDECO['ALIASES'] one of CACHES, which has {list(caches.settings)!r}."
        yield Finding(subject, "Is it there?", "wrong", "no, it is not in CACHES", advice)
        return
    entry = caches.settings[alias]
    try:
        cache = connection(alias).cache
    except Exception as error:  # noqa: BLE001 -- a backend may raise anything
        pass_interrupt(error)
        advice = "Correct its BACKEND, LOCATION and OPTIONS in CACHES, and install the package of its client."
        yield Finding(subject, "Can it be opened?", "wrong", f"no: {shorten_error(error)}", advice)
        return
    location = mask_credentials(", ".join(map(str, servers_of(entry))))
    backend = entry.get("BACKEND", "")
    yield Finding(subject, "What is it?", "well", f"{backend}{f' at {location}' if location else ''}")
    yield from examine_process(alias)
    store, servers = Store(alias), len(servers_of(entry))
    trial = Trial(store, subject, _values(store, servers), _values(store, servers))
    findings = list(_round_trip(trial))
    yield from findings
    wrong = {each.question for each in findings if each.state == "wrong"}
    if not wrong:
        yield trial
    reports = ask_servers(cache)
    for report in reports:
        where = f"{subject}, server {report.name}" if report.name else subject
        if report.error is None:
            yield from judge_server(subject, report)
        elif not wrong and len(reports) == 1:  # of several, a client may have left this one out
            yield Finding(where, "Does it say how it is?", "notice", f"no: {shorten_error(report.error)}", ASK_THERE)
        elif len(reports) > 1 or ANSWERS not in wrong:
            yield Finding(where, "Does its server answer?", "wrong", f"no: {shorten_error(report.error)}", START_IT)


def _values(store: Store, servers: int) -> dict[str, bytes]:
    """Return random values for random keys: with several servers, for so many that each gets some."""
    count = KEYS_PER_SERVER * servers if servers > 1 else 1
    return {key: urandom(16) for key in store.probe_keys(count)}


def examine_process(alias: str) -> Iterator[Finding]:
    """Yield findings on the circuit breaker and the retry queue of this process; asks no server."""
    subject, breaker = f"{CACHE}{alias}", breakers.get(alias)
    question = "Does this process use it?"
    if breaker is None or breaker.retry_at is None:
        yield Finding(subject, question, "well", "yes, its circuit breaker is closed")
    else:
        left = duration(max(0.0, breaker.retry_at - monotonic()))
        cause = (
            f"after {counted(breaker.failures, 'failure')}"
            if breaker.failures
            else "as an invalidation was not acknowledged"
        )
        answer = f"no, its circuit breaker is open, {cause}, and probes in {left}"
        advice = "Start its server, or see in the log what it refuses; until then each call is computed."
        yield Finding(subject, question, "wrong", answer, advice)
    owed = len(breaker.queue) if breaker is not None else 0
    if owed:
        advice = "Nothing, if it answers soon: the next probe sends them. Restart no process before that."
        yield Finding(subject, "Are invalidations owed to it?", "wrong", f"yes, {owed}, by this process", advice)


def _round_trip(trial: Trial) -> Iterator[Finding]:
    """Write and read; tell whether it answers, and keeps what it acknowledges."""
    subject = trial.subject
    items = [(key, value, SHORT) for key, value in trial.short.items()]
    items += [(key, value, LONG) for key, value in trial.long.items()]
    took_write, took_read, left = inf, inf, MOST_TRIPS
    try:
        while True:
            began = monotonic()
            # Raising, as a cache of one server would.
            written = connection(trial.store.alias).writer.set_each(items).or_raise()
            took_write = min(took_write, monotonic() - began)
            began = monotonic()
            found = connection(trial.store.alias).read([key for key, *_ in items])
            took_read = min(took_read, monotonic() - began)
            slow, left = max(took_write, took_read) > SLOW, left - 1
            if not slow or not left:
                break
    except Exception as error:  # noqa: BLE001 -- a client may raise anything
        pass_interrupt(error)
        advice = CLUSTERED if is_of_cluster(error) else START_IT if is_outage(error) else HEED_IT
        yield Finding(subject, ANSWERS, "wrong", f"no: {shorten_error(error)}", advice)
        return
    yield Finding(
        subject,
        ANSWERS,
        "notice" if slow else "well",
        f"yes: a write took {duration(took_write)}, a read {duration(took_read)}",
        "Move it closer, or look at its load: each hit waits for one read." if slow else "",
    )
    yield _judge_kept(subject, written, [value for _, value, _ in items], found)


def _judge_kept(
    subject: str, written: Sequence[bool], values: Sequence[bytes], found: Sequence[bytes | None]
) -> Finding:
    question = "Does it keep what it acknowledges?"
    if not all(written):
        answer = f"it has acknowledged {sum(written)} of {len(written)} writes, and gave no error"
        advice = (
            "Look at its servers and their log, or at what the user of a database cache may write: an invalidation "
            "that is not acknowledged is sent again and again."
        )
        return Finding(subject, question, "wrong", answer, advice)
    kept = sum(value == each for value, each in zip(values, found, strict=True))
    if kept < len(values):
        answer = f"no: of {len(values)} values that it has acknowledged it returns {kept}"
        advice = "Read where you write: no replica, no DummyCache, no server without memory, no proxy that buffers."
        return Finding(subject, question, "wrong", answer, advice)
    return Finding(subject, question, "well", "yes")


def _examine_timeouts(trials: Sequence[Trial], sleep: Callable[[float], object]) -> Iterator[Finding]:
    """Wait until what lives for a second is gone from all caches."""
    question = "Does it honour timeouts?"
    waiting, waited = list(trials), 0.0
    while waiting and waited < LONGEST_WAIT:
        sleep(PAUSE)
        waited += PAUSE
        for trial in list(waiting):
            found = trial.store.get_many([*trial.short, *trial.long])
            if found is not None and not found.keys() & trial.short.keys():
                waiting.remove(trial)
                missing = len(trial.long.keys() - found.keys())
                advice = "Give it more memory, or look who flushes it: entries and tokens end before their time."
                yield (
                    Finding(trial.subject, question, "wrong", f"no, {missing} values are gone before theirs", advice)
                    if missing
                    else Finding(trial.subject, question, "well", "yes")
                )
    for trial in waiting:
        advice = (
            "Look at its backend: memory fills up with entries that have ended, and an old lease makes others wait."
        )
        answer = f"no: what should live for {SHORT} s is there after {duration(waited)}"
        yield Finding(trial.subject, question, "wrong", answer, advice)
