"""What one storm consists of: all that its processes are told, and Django's settings from it."""

import ctypes
import json
import signal
import sys
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

from django.conf import settings

# The last two are our own backends; the last is on two servers, of which what befalls one does not befall the other.
Backend = Literal["memcached", "redis", "our-redis", "two-memcached"]

# Seconds that an entry lives: longer than any storm, so that what is old stays old until it is invalidated.
TIMEOUT_SECONDS = 3600
HIDING_ROWS = 20  # rows behind the others, of which writes are hidden, where any are
READERS_PER_PROCESS = 8  # places on the board for the threads of a process


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One storm, as its processes are told of it."""

    scenario: str
    backend: Backend
    cache_location: str
    database: dict[str, Any]  #: Django's settings of it
    patience: float  #: seconds that a client waits for the cache
    board: str  #: path of the memory that the processes share
    contenders: tuple[str, ...]
    rows: int
    writers: int
    threaded_readers: int  #: processes
    threads: int  #: in each of those
    async_readers: int  #: processes
    tasks: int  #: in each of those
    computation: float  #: seconds between the read of the database and its return
    pause: float  #: seconds between two writes of a writer
    control_share: int  #: one read in so many is one of each control
    atomic_reads: bool  #: one reading thread in two reads inside atomic()
    switches_mode: (
        bool  #: the first writer goes past the cache at times, and the first thread or task of a reader turns it off
    )
    outbox: bool
    audit: float  #: the share of cachedeco's hits that is audited
    audit_seconds: float
    hide: int  #: one write in so many of the first writer is hidden: it is of a row of its own, and invalidates nothing
    seed: int

    @property
    def all_rows(self) -> int:
        """The number of rows, with those of which writes are hidden."""
        return self.rows + (HIDING_ROWS if self.hide else 0)

    @property
    def readers(self) -> int:
        """The number of reading processes."""
        return self.threaded_readers + self.async_readers

    def to_json(self) -> str:
        """Return the plan as text, for a command line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the plan that `to_json` has written."""
        plan: dict[str, Any] = json.loads(text)
        return cls(**{**plan, "contenders": tuple(plan["contenders"])})


def cache_settings(plan: Plan) -> dict[str, Any]:
    """Return the entry of CACHES: Django's own backend, or ours, with a client that gives up soon and asks again."""
    name = "django.core.cache.backends.memcached.PyMemcacheCache"
    options: dict[str, float | None] = {"connect_timeout": plan.patience, "timeout": plan.patience}
    if plan.backend == "two-memcached":
        name = "cachedeco.backends.memcached.MemcachedCache"
    elif plan.backend == "memcached":
        # HashClient would hold a server for dead for a minute after it came back.
        options |= {"retry_attempts": 0, "dead_timeout": 0}
    elif plan.backend == "our-redis":
        name = "cachedeco.backends.redis.RedisCache"
        options = {"socket_connect_timeout": plan.patience, "socket_timeout": plan.patience}
    else:
        name = "django.core.cache.backends.redis.RedisCache"
        # redis-py would send a command that was not answered once more: the very token that has to be fresh.
        options = {"socket_connect_timeout": plan.patience, "socket_timeout": plan.patience, "retry": None}
    return {"BACKEND": name, "LOCATION": plan.cache_location, "OPTIONS": options}


def configure(plan: Plan) -> None:
    """Set Django up in this process."""
    import django

    die_with_parent()
    outbox = ["cachedeco.outbox"] if plan.outbox else []
    settings.configure(
        CACHES={"default": cache_settings(plan)},
        CACHEDECO={"AUDIT": plan.audit, "AUDIT_SECONDS": plan.audit_seconds, "DEPENDS_ON": []},
        DATABASES={"default": plan.database},
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        INSTALLED_APPS=["cachedeco", *outbox],
        # Lost invalidations are counted; a storm does not log each.
        LOGGING={"version": 1, "loggers": {"cachedeco": {"level": "CRITICAL"}, "dogpile": {"level": "CRITICAL"}}},
        SECRET_KEY="only for the storm",  # noqa: S106 -- it protects nothing
        USE_TZ=True,
    )
    django.setup()


def die_with_parent() -> None:
    """Ask the kernel for SIGKILL when the process that has started this one dies: PR_SET_PDEATHSIG is 1."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
