"""Write entries: decide whether computed values are stored, encode them, and send them to the cache at commit."""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from math import inf
from random import random
from time import time
from typing import Final, NamedTuple

from django.core.exceptions import SynchronousOnlyOperation
from django.db import DatabaseError

from cachedeco.invalidation.last_commit import at_last_commit
from cachedeco.invalidation.tokens import LONGEST_LIFETIME
from cachedeco.loading import remembering
from cachedeco.loading.effects import Anywhere, EffectFlow, Send
from cachedeco.loading.load import Load, Miss, Prepared
from cachedeco.loading.policy import CachePolicy
from cachedeco.runtime.events import UNCHANGED
from cachedeco.runtime.interrupts import Reraised, pass_interrupt
from cachedeco.runtime.reprs import repr_of, shorten_error
from cachedeco.storage.entries import Entry, Stamp, encode_entry
from cachedeco.storage.refusals import has_csrf_token
from cachedeco.storage.serializers import ABSENT, Raised
from cachedeco.storage.store import Item
from cachedeco.storage.writers import Acknowledged
from cachedeco.tracking import nested_names

# Seconds that an entry stays in the cache after it was last served. A stale entry has its expiry, so that the lease for
# its refresh gets another name than the last one, and the seconds of its computation.
RETENTION: Final = 5.0
# By what the decorator says of the value, which is no fault.
NOT_WANTED: Final = "cache_if says no"
NO_TIMEOUT: Final = "its timeout is 0"
FAILED_ON: Final = (
    "The value is not stored, since {} fails on it, so that each such call computes; let it have a result for each "
    "value"
)
UNSTORABLE_ERROR: Final = (
    "The exception can't be stored, since it can't be pickled and come back as it was, so that each call computes; "
    "leave its class out of cache_exceptions, or give it a __reduce__() that calls it as its __init__() wants"
)
UNSERIALIZABLE: Final = (
    "The value can't be stored, since a part of it can't be serialized, so that each call computes; return plain data"
)
NO_MEMORY: Final = (
    "The value is not stored, since this process has no memory left for its entry, which is a copy; return less"
)
FAILED_QUERY: Final = (
    "The value is not stored, since the database refuses a query in it, such as that of a QuerySet, which is run where "
    "the value is stored"
)
UNRESTORABLE: Final = (
    "The value is not stored, since it can be serialized, and not be restored, so that each call computes; return "
    "plain data, or give its class a __reduce__() that calls it as its __init__() wants"
)
WITH_CSRF: Final = (
    "The value is not stored, since it contains the CSRF token of one visitor: the next one's form would be rejected. "
    "Leave {% csrf_token %} out of what is cached, and render it without the request"
)
TOO_LARGE: Final = (
    "The value is not stored: its entry has {:.1f} MB, and is too large for the cache. Memcached takes 1 MB, unless "
    "its option -I says otherwise, and Redis 512 MB. Return less, or compress: by serializer=, or in the OPTIONS of "
    "the cache"
)
NOT_ACKNOWLEDGED: Final = "the cache has not acknowledged its entry: it has failed, or refuses it"
UNSEEN_COMMIT: Final = "it may contain what a transaction that is managed by hand has written"

OnFailure = Callable[[Sequence[str]], None] | None  # called with the keys of entries that could not be stored


class WriteBatch(NamedTuple):
    """Encoded entries of one function, to be sent to the cache together."""

    policy: CachePolicy
    data: Mapping[str, bytes]  #: by key
    timeout: float  #: in the cache, which is longer than that of each entry
    on_failure: OnFailure
    unchanged: Collection[str]  #: the keys of those whose value is that of the entries that they replace
    marks: Sequence[Item]  #: to be written after the entries, in the same trip; deleted if that is refused

    @property
    def items(self) -> list[Item]:
        """What to send to the cache."""
        return [*[(key, value, self.timeout) for key, value in self.data.items()], *self.marks]


def prepare(policy: CachePolicy, value: object, reraised: Reraised = ()) -> Prepared:
    """
    Serialize a value, and ask the policy whether it is stored. Nothing is an event yet.

    Exceptions that are *reraised* do not count as a failure to store it.
    """
    is_error = type(value) is Raised
    problem, timeout, error = _decide(policy, value, reraised)
    try:
        data, models = policy.codec.serializer.dumps(value)
        if type(value) is Raised:
            _check_restorable(policy, value, data)
        elif policy.codec.tries_to_load and (failure_to_load := _try_to_load(policy, data, reraised)):
            return Prepared(None, timeout, problem or UNRESTORABLE, failure_to_load)
        if has_csrf_token(data):
            return Prepared(None, timeout, problem or WITH_CSRF, error)
        return Prepared(data, timeout, problem, error, models, is_error)
    except Exception as failure:  # noqa: BLE001 -- the caller gets its value, even if it can't be stored
        pass_interrupt(failure, reraised)
        if problem:
            return Prepared(None, timeout, problem, error)
        if isinstance(failure, MemoryError):
            return Prepared(None, None, NO_MEMORY, failure)
        reason = FAILED_QUERY if isinstance(failure, DatabaseError) else UNSERIALIZABLE
        return Prepared(None, None, UNSTORABLE_ERROR if is_error else reason, failure)


def _decide(policy: CachePolicy, value: object, reraised: Reraised) -> tuple[str, float | None, Exception | None]:
    """Return why a value is not stored, "" if it is; its timeout; and what a callable of the user's has raised."""
    if type(value) is Raised:
        return "", policy.timeout_of_error(value.error), None
    option = "cache_if"
    try:
        problem = "" if value is ABSENT or policy.cache_if(value) else NOT_WANTED
        option = "timeout"
        timeout = policy.timeout(value)
    except Exception as failure:  # noqa: BLE001 -- as in `prepare()`
        pass_interrupt(failure, reraised)
        return FAILED_ON.format(f"{option}="), None, failure
    return problem or (NO_TIMEOUT if timeout == 0 else ""), timeout, None


def _check_restorable(policy: CachePolicy, raised: Raised, data: bytes) -> None:
    """
    Check that an exception comes back as it was: many classes pickle, and fail only when they are loaded.

    Raises:
        TypeError: It comes back as another class.
    """
    restored = policy.codec.serializer.loads(data)
    if type(restored) is not Raised or type(restored.error) is not type(raised.error):
        given = shorten_error(restored.error) if type(restored) is Raised else repr_of(restored)
        msg = f"The serializer returns {given} for {shorten_error(raised.error)}."
        raise TypeError(msg)


def _try_to_load(policy: CachePolicy, data: bytes, reraised: Reraised) -> Exception | None:
    """Return what loading a serialized value raises, if anything."""
    try:
        policy.codec.serializer.loads(data)
    except Exception as failure:  # noqa: BLE001 -- a class of the project may raise anything
        pass_interrupt(failure, reraised)
        return failure
    return None


def new_entry(
    policy: CachePolicy, prepared: Prepared, ends: float = inf, seconds: float = 0.0, statements: int = 0
) -> tuple[Entry, float]:
    """
    Return the entry of a prepared value, which is served from now on, and its timeout in the cache.

    *ends* is when the first of the nested values ends, in seconds since the epoch. This entry contains that value, and
    so ends then, its own stale window counted. The computation took *seconds*, and so many statements on databases.
    """
    now, timeout = time(), prepared.timeout
    stale = 0.0 if prepared.is_error else policy.stale_while_revalidate
    if ends != inf:
        timeout = max(0.0, ends - now if timeout is None else min(timeout, ends - now))
    expires, in_cache = inf, LONGEST_LIFETIME
    if timeout is not None:
        # Jitter: entries that were written together, or cut by one nested value, do not expire together.
        timeout *= 1 - policy.jitter * random() if policy.jitter else 1
        expires, stale = now + timeout, max(0.0, min(stale, ends - now - timeout))
        in_cache = min(LONGEST_LIFETIME, timeout + max(policy.max_stale, RETENTION))
    entry = Entry(prepared.serialized, expires, seconds, stale, prepared.is_error, statements, prepared.models)
    return entry, in_cache


def encode(
    policy: CachePolicy, miss: Miss, entry: Entry, stamp: Stamp | None, nested_tokens: Mapping[str, bytes] = {}
) -> None:
    """Encode the new entry of a miss, if it is stored: without a stamp it is not, which is an event already."""
    if stamp is None:
        return
    if miss.prepared.problem or miss.prepared.serialized is None:
        miss.is_refused = True
        return
    try:
        miss.data = encode_entry(policy.codec, miss.key, stamp, nested_tokens, entry)
    except MemoryError as error:  # the caller gets its value, even if there is no room for a copy
        miss.prepared, miss.is_refused = miss.prepared._replace(problem=NO_MEMORY, error=error), True
        return
    nested_names.remember(policy.function, miss.key, nested_tokens)


def store_entries(load: Load, on_failure: OnFailure, marks: Sequence[Item] = ()) -> None:
    """
    Store the new entries of a load: at the last commit of the open transactions that may have written their values.

    Args:
        load: The load, whose entries are encoded. Why one is not stored is an event.

        on_failure: Called with the keys of values that cannot be stored or whose write is not acknowledged.

        marks: Items to be written after the entries, in the same trip, even if there is no entry: outcomes of leases.
    """
    policy, batch = load.policy, _batch_of(load, on_failure, marks)
    for miss in load.misses:
        if miss.is_refused:
            emit_problem(policy, miss)
    if batch.data:
        if not at_last_commit(write_entries, batch, batch.data):
            for key in batch.data:
                policy.emit_unstored(key, UNSEEN_COMMIT)
            batch = batch._replace(data={})
    elif marks:
        write_entries([batch])
    if on_failure and (failed_keys := [miss.key for miss in load.misses if miss.key not in batch.data]):
        on_failure(failed_keys)


def store_flow(load: Load, on_failure: OnFailure, marks: Sequence[Item]) -> EffectFlow[None]:
    """
    Store entries as `store_entries()` does: on an event loop over its own connections, if all of them are stored.

    Then no transaction was open when the computation had ended.
    """
    batch = yield Anywhere(_begin_to_store, load, on_failure, marks)
    if batch is not None:
        written = yield Send(load.policy.store, batch.items)
        yield Anywhere(_end_storing, batch, written)


def _begin_to_store(
    load: Load, on_failure: OnFailure, marks: Sequence[Item], reraised: Reraised = ()
) -> WriteBatch | None:
    """Store entries; on an event loop return what to send."""
    if not reraised:
        store_entries(load, on_failure, marks)
        return None
    if any(miss.data is None for miss in load.misses):
        raise SynchronousOnlyOperation
    return _batch_of(load, on_failure, marks)


def _end_storing(batch: WriteBatch, written: Acknowledged, reraised: Reraised = ()) -> None:
    """Tell what the cache has acknowledged of what an event loop has sent; in the thread, if that is not all."""
    if reraised and not all(written):
        raise SynchronousOnlyOperation
    if (failed_keys := _note_written(batch, written)) and batch.on_failure:
        batch.on_failure(failed_keys)


def _batch_of(load: Load, on_failure: OnFailure, marks: Sequence[Item]) -> WriteBatch:
    data: dict[str, bytes] = {}
    timeout, unchanged = 0.0, set[str]()
    for miss in load.misses:
        if miss.data is not None:
            data[miss.key] = miss.data
            timeout = max(timeout, miss.timeout)
            if miss.is_unchanged:
                unchanged.add(miss.key)
    return WriteBatch(load.policy, data, timeout, on_failure, unchanged, marks)


def emit_problem(policy: CachePolicy, miss: Miss) -> None:
    """Emit why what was prepared is not stored: a fault as an error, and so in the log, at the first time."""
    prepared = miss.prepared
    is_fault = prepared.problem not in {NOT_WANTED, NO_TIMEOUT}
    policy.emit_unstored(miss.key, prepared.problem, prepared.error, fault=prepared.problem if is_fault else "")


def _emit_too_large(policy: CachePolicy, size: int, key: str, error: Exception | None) -> None:
    """Emit that an entry is too large for the cache: as an error, and so in the log, at the first time."""
    reason = TOO_LARGE.format(size / 1_000_000)
    policy.emit_unstored(key, reason, error, fault=TOO_LARGE)


def write_entries(batches: Sequence[WriteBatch]) -> None:
    """Send entries to the cache, those of a batch together."""
    failures: list[Callable[[], object]] = []
    try:
        for batch in batches:
            failed_keys = _note_written(batch, batch.policy.store.set_each(batch.items))
            if failed_keys and batch.on_failure:
                failures.append(partial(batch.on_failure, failed_keys))
    finally:
        if failures:  # nearly never
            with ExitStack() as stack:  # runs each callback, even if one raises
                for failure in failures:
                    stack.callback(failure)


def _note_written(batch: WriteBatch, written: Acknowledged) -> list[str]:
    """Tell which entries and marks the cache has acknowledged; return the keys of the entries that it has not."""
    policy, data, _, _, unchanged, marks = batch
    memory = remembering.current.get()
    failed_keys: list[str] = []
    for (key, value), is_written in zip(data.items(), written, strict=False):
        if memory is not None:  # before the event, whose hooks may call
            memory.note_stored(key, value, is_stored=is_written)
        if is_written:
            policy.unstored.discard(key)
            policy.emit("stored", key, reason=UNCHANGED if key in unchanged else "", size=len(value))
        else:
            failed_keys.append(key)
    # Which of several are too large is unknown: the largest is.
    largest = max(failed_keys, key=lambda key: len(data[key])) if written.error is not None and failed_keys else None
    for key in failed_keys:
        if key == largest:
            _emit_too_large(policy, len(data[key]), key, written.error)
        elif not written.has_failed:  # else they may be stored: pymemcache raises, and does not say
            policy.emit_unstored(key, NOT_ACKNOWLEDGED)  # the error itself is an event already
    for (key, _, _), is_written in zip(marks, written[len(data) :], strict=True):
        if not is_written:  # by a full cache: without it, callers would wait for a leader that has ended
            policy.store.delete(key)
    return failed_keys
