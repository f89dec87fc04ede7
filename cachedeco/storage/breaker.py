"""
Circuit breaker: send nothing to a cache that failed several times in a row, and probe it after a pause with backoff.

One breaker for each alias, shared by all threads of the process. While it is open no command is sent. After the pause
one caller probes (half-open), and all others bypass the cache until the probe ends; each probe that fails makes the
next pause longer. So a server that hangs costs one caller one timeout in each pause.

The breaker holds the retry queue: invalidations that the cache has not acknowledged. A cache may serve what they
invalidate, so the breaker stays open, in this process, until a probe has delivered them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from errno import EDQUOT, ENOSPC
from gzip import BadGzipFile
from random import uniform
from time import monotonic
from typing import Final

from django.db import InterfaceError, OperationalError

from cachedeco.runtime import conf
from cachedeco.runtime.events import Event
from cachedeco.runtime.hooks import emit
from cachedeco.runtime.locks import RLock

PAUSE_GROWTH: Final = 2
# Seconds. Long enough that one probe of each process is no load for a failing server; short enough to wait for.
LONGEST_PAUSE: Final = 30.0
# Spreads the probes of processes that saw one server fail at the same moment.
PAUSE_JITTER: Final = 0.25

# Packages whose exceptions are known here by name, because none of them is a dependency.
CLIENTS: Final = frozenset({"pymemcache", "pylibmc", "memcache", "redis", "valkey", "django_redis", "django_valkey"})
# The server has answered, and refused one command: too large an object, say, or no memory left.
REFUSED_COMMANDS: Final = frozenset({"MemcacheClientError", "MemcacheServerError", "ResponseError", "DataError"})
# Of a disk, or of what a user may have of it: a file-based cache still reads, and deletes.
FULL: Final = frozenset({ENOSPC, EDQUOT})
SIZE_REFUSALS: Final = ("too large", "TooBig", "invalid bulk length")
# A MemcacheServerError by its base class, but the server has closed the connection.
CLOSED_CONNECTIONS: Final = frozenset({"MemcacheUnexpectedCloseError"})
# A node of a Redis cluster has answered, for which one command may take the keys of one slot only; MovedError is an
# AskError.
OF_CLUSTERS: Final = frozenset({"AskError", "ClusterCrossSlotError", "RedisClusterException"})
# No server is there, which fails at once: redis-py has a ConnectionError of its own.
UNREACHABLE: Final = frozenset({"ConnectionError", *CLOSED_CONNECTIONS})


@dataclass(eq=False, slots=True)
class PendingInvalidation:
    """One invalidation that the cache has not acknowledged."""

    function: str  #: empty for a namespace
    lifetime: float | None  #: seconds that a token of this key lives, None for ever
    queued_at: float = field(init=False)  #: by the clock of this process
    refusals: int = 0  #: times that the cache answered, and refused it
    is_recorded: bool = False  #: whether a recorder, such as the outbox, delivers it if this process does not

    def __post_init__(self) -> None:
        """Begin its lifetime."""
        self.queued_at = monotonic()

    def is_expired(self) -> bool:
        """
        Tell whether every entry that this invalidates has expired by itself.

        A token lives four times as long as the entries that depend on it: enough for an entry that was stored before,
        and for one whose computation began before and took up to three timeouts.
        """
        return self.lifetime is not None and monotonic() > self.queued_at + self.lifetime


class Breaker:
    """The circuit breaker of one alias, and its retry queue."""

    __slots__ = ("alias", "fails_fast", "failures", "flush", "pause", "probing", "queue", "retry_at")

    def __init__(self, alias: str) -> None:
        """Start closed."""
        self.alias = alias
        self.failures = 0
        self.retry_at: float | None = None  # end of the pause; None while closed
        self.fails_fast = False  # whether a command takes no time if it fails: the last one was refused a connection
        self.pause = 0.0
        self.probing = False
        self.queue: dict[str, PendingInvalidation] = {}
        self.flush: Callable[[Breaker], bool] | None = None

    def allows_request(self, probe: Callable[[], bool]) -> bool:
        """Tell whether a command may be sent; after the pause, one caller probes first whether the cache answers."""
        if self.retry_at is None:
            return True
        probes, cache_answers = False, None
        try:
            with _lock:
                if not self.probing and (self.retry_at is None or monotonic() >= self.retry_at):
                    # Inside the `try`: an interrupt before the lock is released would leave `probing` set for ever.
                    probes = self.probing = True
            cache_answers = probes and probe() and (self.flush is None or self.flush(self))
        finally:
            if probes:
                try:
                    self._finish_probe(cache_answers=cache_answers)
                finally:  # an assignment, before which no interrupt can come: one may have come before the first line
                    self.probing = False
        return probes and self.retry_at is None

    def would_probe(self) -> bool:
        """Tell whether the next command would probe, and be sent if the cache answers: the retry queue is empty."""
        is_over = self.retry_at is not None and monotonic() >= self.retry_at
        return is_over and not self.probing and not self.queue

    def _finish_probe(self, *, cache_answers: bool | None) -> None:
        """
        Close the breaker if the cache answers and the retry queue is empty; else start the next pause.

        Args:
            cache_answers: None if the probe was interrupted, which tells nothing: another caller may probe at once.
        """
        with _lock:
            # Of a copy, and each by itself: a signal's handler may queue one meanwhile.
            self.acknowledge({key: each for key, each in [*self.queue.items()] if each.is_expired()})
            closes = cache_answers is True and not self.queue
            if closes:
                self.retry_at = None
                _discard(self)
            elif cache_answers is False:
                self.start_pause()
            else:  # other invalidations were queued meanwhile, or the probe was interrupted
                self.retry_at = monotonic()
        if closes:
            emit(Event("breaker_closed", cache=self.alias))

    def record_success(self) -> None:
        """Reset the count of failures: the cache gave a result that proves that its server works."""
        with _lock:
            if self.retry_at is None:
                _discard(self)

    def end_pause(self) -> None:
        """Let the next command probe, if the breaker is open; if the probe fails, pauses are short again."""
        with _lock:
            if self.retry_at is not None:
                self.retry_at, self.pause = monotonic(), 0.0

    def acknowledge(self, invalidations: Mapping[str, PendingInvalidation]) -> None:
        """Remove delivered invalidations; a newer invalidation of the same key stays queued."""
        with _lock:
            for key, invalidation in invalidations.items():
                if self.queue.get(key) is invalidation:
                    del self.queue[key]

    def start_pause(self) -> None:
        """Start a pause, longer than the last one: exponential backoff. The caller holds the lock."""
        first = conf.settings().BREAKER_SECONDS
        self.pause = min(self.pause * PAUSE_GROWTH, max(first, LONGEST_PAUSE)) if self.pause else first
        self.retry_at = monotonic() + self.pause * uniform(1 - PAUSE_JITTER, 1)


_lock = RLock()
# Breakers of the aliases that have failed since their last success. Nearly always empty: a hit reads nothing else.
breakers: dict[str, Breaker] = {}
# Aliases of which a node of a Redis cluster has refused a command, which is reported once.
clusters: set[str] = set()


def record_failure(alias: str, error: Exception) -> None:
    """Count a failure of a cache; the breaker opens after BREAKER_FAILURES in a row."""
    limit = conf.settings().BREAKER_FAILURES
    if not limit:
        return
    with _lock:
        breaker = breakers.setdefault(alias, Breaker(alias))
        breaker.failures = limit if is_of_cluster(error) else breaker.failures + 1
        breaker.fails_fast = is_refused_at_once(error)
        opens = breaker.retry_at is None and breaker.failures >= limit
        if opens:
            breaker.start_pause()
    if opens:
        reason = "it is a node of a Redis cluster" if is_of_cluster(error) else f"{limit} failures in a row"
        emit(Event("breaker_opened", cache=alias, reason=reason))


def enqueue_pending(
    alias: str,
    invalidations: Mapping[str, PendingInvalidation],
    flush: Callable[[Breaker], bool],
    *,
    pauses: bool = True,
) -> list[str]:
    """
    Queue invalidations that a cache has not acknowledged; open its breaker at once, also if BREAKER_FAILURES is 0.

    Args:
        alias: That of the cache.

        invalidations: By key.

        flush: Delivers the queue of a breaker, and tells whether the cache has taken all of it.

        pauses: Whether the breaker pauses before it probes. The next command probes at once where the cache is well,
            and the command was interrupted.

    Returns:
        The keys that were not in the queue.
    """
    with _lock:
        breaker = breakers.setdefault(alias, Breaker(alias))
        new = [key for key in invalidations if key not in breaker.queue]
        for key, invalidation in invalidations.items():
            if key in breaker.queue:  # or a key that is invalidated often, and always refused, would stay for ever
                invalidation.refusals = breaker.queue[key].refusals
        breaker.queue.update(invalidations)
        breaker.flush = flush
        opens = breaker.retry_at is None
        if opens and pauses:
            breaker.start_pause()
        elif opens:  # no command has failed: the next one probes, and invalidations are sent at once
            breaker.retry_at, breaker.fails_fast = monotonic(), True
    if opens:
        emit(Event("breaker_opened", cache=alias, reason="an invalidation was not acknowledged"))
    return new


def is_outage(error: Exception, *, reading: bool = False) -> bool:
    """
    Tell whether an exception means that the server is unreachable, or hangs.

    An entry that can't be unpickled, which Django does inside `get_many`, is no outage, nor is a write that the server
    refuses, or a full disk. A refused read is one: a proxy refuses it if the server behind it is unreachable.
    """
    if isinstance(error, OSError | OperationalError | InterfaceError):
        is_full = isinstance(error, OSError) and error.errno in FULL
        return not is_full and not isinstance(error, BadGzipFile)  # an OSError of a serializer that compresses
    names = client_names_of(error)
    return bool(names) and (reading or not names & REFUSED_COMMANDS or bool(names & (CLOSED_CONNECTIONS | OF_CLUSTERS)))


def is_of_cluster(error: Exception | None) -> bool:
    """Tell whether a node of a Redis cluster has refused a command: the same command never succeeds there."""
    return error is not None and bool(client_names_of(error) & OF_CLUSTERS)


def is_too_large(error: Exception) -> bool:
    """Tell whether a server has refused a value for its size: in the words of memcached, pylibmc or Redis."""
    text = f"{type(error).__name__} {error}"
    return bool(client_names_of(error)) and any(words in text for words in SIZE_REFUSALS)


def is_refused_at_once(error: Exception) -> bool:
    """Tell whether an exception means a refused connection, which takes no time, and not a timeout."""
    return isinstance(error, ConnectionError) or bool(client_names_of(error) & UNREACHABLE)


def client_names_of(error: Exception) -> set[str]:
    """Return the names of a client library's exception and of its bases; nothing for any other exception."""
    return {cls.__name__ for cls in type(error).__mro__ if cls.__module__.partition(".")[0] in CLIENTS}


def reset() -> None:
    """Forget all failures and queued invalidations: for tests, and when the caches are other ones."""
    with _lock:
        breakers.clear()
        clusters.clear()


def _discard(breaker: Breaker) -> None:
    """Remove a breaker, unless another one has its place. The caller holds the lock."""
    if breakers.get(breaker.alias) is breaker:
        del breakers[breaker.alias]


def end_probes() -> None:
    """End the probes of threads that a forked child does not have."""
    for breaker in breakers.values():
        breaker.probing = False
