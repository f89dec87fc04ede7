"""
Shared statistics: each process writes its counts into the cache now and then, and `statistics()` adds those of all up.

By the setting SHARED_STATISTICS. The first cache of ALIASES has a fixed number of slots, each a key. A process takes
the first free one, with `add`, and from then on writes its counts there, as JSON with a TTL of some intervals. The slot
of a process that has ended expires. A process that was stopped for so long that another one has its slot takes another;
if the two write at the same moment, the counts of one are missing for one interval. Where all slots are taken, the
process keeps its counts to itself.

A cache that fails costs counts and nothing else: no event, no failure for the circuit breaker, and while the breaker is
open nothing is sent. A daemon thread waits between the writes; a hit knows nothing of it.
"""

import json
import os
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from os import urandom
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Final

from cachedeco.runtime import background, conf, modes
from cachedeco.runtime.locks import RLock
from cachedeco.runtime.statistics import NUMBERS, OTHERS, REASONS, Statistics, Stats, statistics_of_process
from cachedeco.runtime.uninterrupted import uninterrupted
from cachedeco.storage.connections import connection
from cachedeco.storage.entries import HOST
from cachedeco.storage.looking import LookingStore
from cachedeco.storage.store import Item, whole_items

SLOTS: Final = 128
# Functions whose counts are written, those with most calls first; the others are one.
MOST_FUNCTIONS: Final = 500
MOST_SENTENCES: Final = 2
LONGEST_SENTENCE: Final = 300  # characters
MOST_INVALIDATIONS: Final = 100
MOST: Final = 2**63  # of a number, so that sums and shares of what others have written are numbers, too
LIFETIMES: Final = 3  # intervals that counts stay in the cache
NOT_SET: Final = 'CACHEDECO["SHARED_STATISTICS"] is not set'
NOT_READ: Final = "the cache could not be read, and manage.py cachedeco doctor says why"

_lock = RLock()
_sharing: "_Sharing | None" = None


def statistics(*, shared: bool = False) -> Statistics:
    """
    Return the counters of all cached functions since their processes have started.

    ::

        before = statistics()
        ...
        print(statistics() - before)

    Args:
        shared: Whether to add up the counters of all processes, as old as the setting SHARED_STATISTICS says. Without
            the setting, or if the cache can't be read, they are those of this process, and `problem` says so.
    """
    own = statistics_of_process(_process())
    if not shared:
        return own
    settings = conf.settings()
    if not settings.SHARED_STATISTICS:
        return own + Statistics(problem=NOT_SET)
    found = None if modes.current_mode() == "off" else _Slots(settings).read()
    if found is None:
        return own + Statistics(problem=NOT_READ)
    name = _sharing.name if _sharing is not None else ""
    others = [counts for writer, counts in found.items() if writer != name]  # its own are older than those here
    return sum([own, *others], Statistics(is_shared=True))


def begin(settings: conf.Settings) -> None:
    """Share the counts of this process from now on, if the settings say so; what was begun before ends."""
    global _sharing  # noqa: PLW0603 -- replaced whole
    if _sharing is None and not settings.SHARED_STATISTICS:
        return
    with _lock:
        before = _sharing
        if before is None or before.settings is not settings:
            if before is not None:
                before.end()
            _sharing = _Sharing(settings) if settings.SHARED_STATISTICS else None
        sharing = _sharing
    # Without the lock: a finalizer that runs in the other thread may come here, too.
    if sharing is not None:
        sharing.start()


def begin_in_child() -> None:
    """Share the counts of a forked child, too."""
    global _sharing, _lock  # noqa: PLW0603 -- a thread that the child does not have may hold the lock
    _lock = RLock()
    before, _sharing = _sharing, None
    if before is not None:
        begin(before.settings)


def end() -> None:
    """Share no more, until a function is resolved under the settings that then hold."""
    global _sharing
    before, _sharing = _sharing, None
    if before is not None:
        before.end()


def _process() -> str:
    return f"{HOST}:{os.getpid()}"


class _Sharing:
    """The thread of this process that writes its counts."""

    def __init__(self, settings: conf.Settings) -> None:
        """Take the settings; nothing is written before `start()`."""
        self.settings = settings
        self._ended: SimpleQueue[None] = SimpleQueue()  # not an event, whose methods an interrupt leaves locked
        self.name = f"{_process()}:{urandom(4).hex()}"  # containers may share a host's name, and their numbers
        self._slots = _Slots(settings)
        self._slot: int | None = None
        self._starting, self._is_started = RLock(), False
        # In a context of its own, with cache objects of its own, closed after each write.
        self._thread = Thread(target=self._run, name="cachedeco-statistics", daemon=True)

    def start(self) -> None:
        """Begin to wait for the first interval, once."""
        if not self._is_started:
            with suppress(RuntimeError):  # the interpreter is ending
                uninterrupted(self._start)

    def _start(self) -> None:
        with self._starting:
            if not self._is_started:
                self._is_started = True
                self._thread.start()

    def end(self) -> None:
        """Write no more."""
        self._ended.put(None)

    def _run(self) -> None:
        while True:
            try:
                return self._ended.get(timeout=self.settings.SHARED_STATISTICS)
            except Empty:
                background.detach(self._write)()

    def _write(self) -> None:
        if modes.current_mode() != "off":
            self._slot = self._slots.write(self.name, statistics_of_process(_process()), self._slot)


class _Slots:
    """The slots in the cache."""

    def __init__(self, settings: conf.Settings) -> None:
        self._store = LookingStore(settings.ALIASES[0])
        self._prefix = settings.KEY_PREFIX
        self._lifetime = settings.SHARED_STATISTICS * LIFETIMES

    def read(self) -> dict[str, Statistics] | None:
        """Return what all processes have written, by their names; None if the cache can't be read."""
        found = self._store.get_many(self._keys())
        return None if found is None else dict([each for each in map(_parse, found.values()) if each is not None])

    def write(self, name: str, counts: Statistics, slot: int | None) -> int | None:
        """Write the counts of this process, and return its slot; *slot* is the one that it has had, if any."""
        keys, data = self._keys(), _text_of(name, counts)
        if slot is not None:
            found = self._store.get_many([keys[slot]])
            if found is None:
                return slot
            there = _parse(found.get(keys[slot], b""))
            if there is not None and there[0] == name:
                self._set(keys[slot], data)
                return slot
        found = self._store.get_many(keys)
        for n, key in enumerate(keys if found is not None else ()):
            if key not in (found or ()) and self._add(key, data):
                return n
        return None

    def _keys(self) -> list[str]:
        space = self._store.keyspace
        return [space.table_key(f"{self._prefix}:s:{n}") for n in range(SLOTS)]

    def _set(self, key: str, data: bytes) -> None:
        self._send(self._store.write_unguarded, (key, data, self._lifetime))

    def _add(self, key: str, data: bytes) -> bool:
        writer = connection(self._store.alias).writer
        return self._send(lambda items: writer.add_each(whole_items(items)), (key, data, self._lifetime))

    def _send(self, command: Callable[[list[Any]], list[bool]], item: Item) -> bool:
        """Write one item; if the cache fails, nothing is shared for one interval."""
        try:
            return command([item])[0]
        except Exception as error:  # noqa: BLE001 -- any failure of the cache
            self._store.pass_on(error)
            return False


def _text_of(name: str, counts: Statistics) -> bytes:
    """Return the counts of a process as JSON: those of so many functions that it is never too large for a cache."""
    ranked = sorted(counts.functions.items(), key=lambda item: -item[1].hits - item[1].misses - item[1].bypassed)
    functions = dict(ranked[:MOST_FUNCTIONS])
    for _, each in ranked[MOST_FUNCTIONS:]:
        functions[OTHERS] = functions.get(OTHERS, Stats()) + each
    invalidations = dict(Counter(counts.invalidations).most_common(MOST_INVALIDATIONS))
    several = {function: _shorten_reasons(each) for function, each in functions.items()}
    return json.dumps([name, counts.processes, several, invalidations]).encode()


def _shorten_reasons(stats: Stats) -> dict[str, Any]:
    """Return counters with the most frequent reasons of what is not stored alone: these are sentences."""
    most = Counter(stats.unstored_reasons).most_common(MOST_SENTENCES)
    return {**asdict(stats), "unstored_reasons": {reason[:LONGEST_SENTENCE]: count for reason, count in most}}


def _parse(data: bytes) -> tuple[str, Statistics] | None:
    """Return the name of a process and its counts; None if the bytes, which any client may have written, are none."""
    try:
        name, processes, functions, invalidations = json.loads(data)
        counts = Statistics(
            {str(function): _stats_of(numbers) for function, numbers in functions.items()},
            {str(subject): int(_count(number)) for subject, number in invalidations.items()},
            tuple(map(str, processes)),
        )
    except (ValueError, TypeError, AttributeError, ArithmeticError, RecursionError):
        return None
    return str(name), counts


def _stats_of(numbers: Mapping[str, Any]) -> Stats:
    """Return counters that were read; another release may have others."""
    reasons: dict[str, Any] = {
        name: {str(reason): int(_count(number)) for reason, number in numbers.get(name, {}).items()} for name in REASONS
    }
    counted = {name: type(getattr(Stats(), name))(_count(numbers.get(name, 0))) for name in NUMBERS}
    return Stats(**counted, **reasons)


def _count(number: Any) -> Any:
    """
    Return a number that was read.

    Raises:
        ValueError: It is none that a process counts: NaN is no JSON, and no share of what is below 0 can be told.
    """
    if not 0 <= number <= MOST:
        raise ValueError(number)
    return number
