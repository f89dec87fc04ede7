"""
The circuit breaker: a cache that has failed a few times in a row is left alone for a while, and then asked once.

One state for each alias, for all threads of the process. While it is open no command is sent. When the pause is over
one caller probes, and all others go on without the cache until that caller knows; a probe that fails makes the next
pause longer. So a server that hangs costs one caller one timeout in each pause.

What the cache has not acknowledged of our invalidations is *owed* to it. A cache that is owed something may hold what
was invalidated, so it stays open, to this process, until the probe has delivered it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import uniform
from threading import RLock
from time import monotonic
from typing import Final

from django.db import InterfaceError, OperationalError

from cachedeco.runtime import conf
from cachedeco.runtime.events import Event
from cachedeco.runtime.hooks import emit

GROWTH: Final = 2
# Seconds. Long enough that a probe of each process does not matter to a server in trouble; short enough to wait for.
LONGEST_PAUSE: Final = 30.0
# Processes that saw one server die together must not all ask it together.
JITTER: Final = 0.25

# By the package that defines an exception, as none of them may be imported here.
CLIENTS: Final = frozenset({"pymemcache", "pylibmc", "memcache", "redis", "valkey", "django_redis", "django_valkey"})
# The server has answered, and what it said no to is one command: too large an object, say, or no memory left.
REFUSALS: Final = frozenset({"MemcacheClientError", "MemcacheServerError", "ResponseError", "DataError"})
# It is a MemcacheServerError by its base, and none by what happened.
NO_REFUSALS: Final = frozenset({"MemcacheUnexpectedCloseError"})
# Nobody is there, which takes no time to find out: redis-py has a ConnectionError of its own.
GONE: Final = frozenset({"ConnectionError", *NO_REFUSALS})


@dataclass(eq=False, slots=True)
class PendingInvalidation:
    """One invalidation that the cache has not acknowledged."""

    function: str  #: empty for a namespace
    lifetime: float | None  #: seconds that a token of this key lives, None for ever
    since: float = field(default_factory=lambda: monotonic())  # noqa: PLW0108 -- found at the call, as tests fake it
    refusals: int = 0  #: times that the cache answered, and did not take it

    def is_over(self) -> bool:
        """
        Tell whether nothing is left that this could invalidate.

        A token lives four times as long as the entries that depend on it: what was stored before, and what a
        computation that began before took up to three timeouts to store, has timed out by itself.
        """
        return self.lifetime is not None and monotonic() > self.since + self.lifetime


class Breaker:
    """What is known of the trouble with the cache of one alias."""

    __slots__ = ("alias", "fails_fast", "failures", "flush", "pause", "probing", "queue", "retry_at")

    def __init__(self, alias: str) -> None:
        """Begin closed."""
        self.alias = alias
        self.failures = 0
        self.retry_at: float | None = None  # when the pause ends; None while closed
        self.fails_fast = False  # whether the last failure was a refused connection, which takes no time
        self.pause = 0.0
        self.probing = False
        self.queue: dict[str, PendingInvalidation] = {}
        self.flush: Callable[[Breaker], bool] | None = None

    def allows_request(self, asks: Callable[[], bool]) -> bool:
        """
        Tell whether a command may be sent; where the pause is over, probe first, one caller at a time.

        Args:
            asks: Tells whether the cache answers; it sends a command.
        """
        if self.retry_at is None:
            return True
        is_mine = answers = False
        try:
            with _lock:
                if not self.probing and (self.retry_at is None or monotonic() >= self.retry_at):
                    # In the `try`: an interrupt may come before the lock is left, and nobody would ever probe again.
                    is_mine = self.probing = True
            answers = is_mine and asks() and (self.flush is None or self.flush(self))
        finally:
            if is_mine:
                self._probed(answers=answers)
        return is_mine and self.retry_at is None

    def _probed(self, *, answers: bool) -> None:
        with _lock:
            self.probing = False
            self.queue = {key: pending for key, pending in self.queue.items() if not pending.is_over()}
            closes = answers and not self.queue
            if closes:
                self.retry_at = None
                _discard(self)
            elif answers:  # and more has been invalidated meanwhile
                self.retry_at = monotonic()
            else:
                self._wait()
        if closes:
            emit(Event("breaker_closed", cache=self.alias))

    def succeeded(self) -> None:
        """Forget the failures: the cache has answered what only a cache that is well can answer."""
        with _lock:
            if self.retry_at is None:
                _discard(self)

    def end_pause(self) -> None:
        """Have the next command probe, if this is open; if the probe fails, pauses are short again."""
        with _lock:
            if self.retry_at is not None:
                self.retry_at, self.pause = monotonic(), 0.0

    def acknowledge(self, pendings: Mapping[str, PendingInvalidation]) -> None:
        """Owe these no longer. What was invalidated again meanwhile is another debt, and stays."""
        with _lock:
            for key, pending in pendings.items():
                if self.queue.get(key) is pending:
                    del self.queue[key]

    def _wait(self) -> None:
        """Begin a pause, longer than the last one. The caller holds the lock."""
        first = conf.settings().BREAKER_SECONDS
        self.pause = min(self.pause * GROWTH, max(first, LONGEST_PAUSE)) if self.pause else first
        self.retry_at = monotonic() + self.pause * uniform(1 - JITTER, 1)


# A signal's handler, and what garbage collection calls, may use a cache while their own thread holds it.
_lock = RLock()
# Aliases that have failed since they last succeeded. Empty nearly always, and a hit looks at nothing else.
breakers: dict[str, Breaker] = {}


def failed(alias: str, error: Exception | None = None) -> None:
    """Count a failure of a cache: the breaker opens at so many in a row as the settings say."""
    most = conf.settings().BREAKER_FAILURES
    if not most:
        return
    with _lock:
        breaker = breakers.setdefault(alias, Breaker(alias))
        breaker.failures += 1
        breaker.fails_fast = error is not None and is_refused_at_once(error)
        opens = breaker.retry_at is None and breaker.failures >= most
        if opens:
            breaker._wait()  # noqa: SLF001 -- ours
    if opens:
        emit(Event("breaker_opened", cache=alias, reason=f"{most} failures in a row"))


def enqueue_pending(alias: str, pendings: Mapping[str, PendingInvalidation], flush: Callable[[Breaker], bool]) -> None:
    """
    Note what the cache has to be told before it is trusted again; the breaker opens at once, whatever the settings say.

    Args:
        alias: That of the cache.

        pendings: By key.

        flush: Delivers what is owed, and tells whether the cache has taken it.
    """
    with _lock:
        breaker = breakers.setdefault(alias, Breaker(alias))
        for key, pending in pendings.items():
            if key in breaker.queue:  # or what is invalidated often, and always refused, would never be given up
                pending.refusals = breaker.queue[key].refusals
        breaker.queue.update(pendings)
        breaker.flush = flush
        opens = breaker.retry_at is None
        if opens:
            breaker._wait()  # noqa: SLF001 -- ours
    if opens:
        emit(Event("breaker_opened", cache=alias, reason="an invalidation was not acknowledged"))


def is_outage(error: Exception, *, reading: bool = False) -> bool:
    """
    Tell whether an exception says that the server is gone, or hangs.

    It does not where an entry can't be unpickled, which Django does inside `get_many`, nor where the server answered
    and refused what it was asked to write. A refusal to read counts: a proxy says so of the server behind it.
    """
    if isinstance(error, OSError | OperationalError | InterfaceError):
        return True
    names = _names_of(error)
    return bool(names) and (reading or not names & REFUSALS or bool(names & NO_REFUSALS))


def is_refused_at_once(error: Exception) -> bool:
    """Tell whether an exception says that nobody is there, and not that somebody was waited for."""
    return isinstance(error, ConnectionError) or bool(_names_of(error) & GONE)


def _names_of(error: Exception) -> set[str]:
    """Return what a client calls its exception, and the bases of that; nothing where it is no client's."""
    return {cls.__name__ for cls in type(error).__mro__ if cls.__module__.partition(".")[0] in CLIENTS}


def forget() -> None:
    """Trust every cache again, and owe nothing: for tests, in which each begins with other caches."""
    with _lock:
        breakers.clear()


def _discard(breaker: Breaker) -> None:
    if breakers.get(breaker.alias) is breaker:
        del breakers[breaker.alias]


def end_probes() -> None:
    """End the probes of threads that a forked child does not have."""
    for breaker in breakers.values():
        breaker.probing = False
