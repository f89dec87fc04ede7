"""
The state of the process: what a fork, a change of settings and a test do to what the package keeps between two calls.

A piece of state is a name at the top of a module. It stays a plain global there, since a hit reads some of them; this
module finds it by its name, and imports no module of ours. A piece that no line below names is kept as it is. Four
events reset one:

fork
    A forked child has neither the threads of its parent nor the thread that held a lock. Python calls us; where a
    server written in C forks without a word to Python, as uWSGI does, the child's next request tells.

settings
    Django says that `CACHEDECO` or `CACHES` has changed (`override_settings`).

caches
    Django says that `CACHES` has changed: besides, and after, what "settings" does.

test
    The test kit begins with empty caches.

One handler of forks and one receiver of `setting_changed` serve all of it.
"""

import os
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from operator import attrgetter
from typing import Final, Literal, NamedTuple

from django.core.signals import request_started, setting_changed

from cachedeco.runtime.locks import RLock

UID: Final = "cachedeco.runtime.state"

Event = Literal["fork", "settings", "caches", "test"]


class Reset(NamedTuple):
    """What some events do to the state of a module."""

    module: str  #: below `cachedeco`
    path: str  #: of what is called there, such as "forget" or "_pieces.clear"; or of what is replaced
    events: tuple[Event, ...]
    make: Callable[[], object] | None = None  #: makes the object that replaces it


# In a child a thread of the parent, which the child does not have, may hold them. Reentrant: a signal's handler, or a
# finalizer, may use the cache while its own thread holds the lock.
LOCKS: Final = (
    "runtime.conf",
    "runtime.hooks",
    "storage.breaker",
    "invalidation.parts",
    "tracking.nested_names",
    "loading.flights",
    "functions.naming",
    "backends.server",
    "testing.isolation",
)

#: The process that all this is of.
pid: int = os.getpid()
_lock = RLock()

RESETS: Final = (
    *(Reset(module, "_lock", ("fork",), RLock) for module in LOCKS),
    Reset("runtime.conf", "forget", ("settings", "test")),
    Reset("runtime.statistics", "begin_anew", ("fork",)),
    Reset("runtime.background", "begin_anew", ("fork",)),
    Reset("runtime.background", "_tasks.clear", ("fork",)),
    Reset("storage.connections", "abandon_connections", ("fork",)),
    Reset("storage.connections", "forget_connections", ("caches",)),
    Reset("storage.keyspace", "_keyspaces.clear", ("settings", "caches", "test")),
    Reset("storage.breaker", "end_probes", ("fork",)),
    Reset("storage.breaker", "reset", ("settings", "test")),
    Reset("storage.model_pickles", "_current.clear", ("settings", "test")),
    Reset("storage.shared_statistics", "begin_in_child", ("fork",)),
    Reset("storage.shared_statistics", "end", ("settings", "test")),
    Reset("invalidation.commits", "forget_other_threads", ("fork",)),
    Reset("invalidation.epochs", "renew", ("fork", "settings", "caches", "test")),
    Reset("invalidation.tables", "forget", ("settings",)),
    Reset("invalidation.writes", "_invalidations.clear", ("settings", "caches", "test")),
    Reset("tracking.nested_names", "forget", ("test",)),
    Reset("tracking.views", "_behind.clear", ("test",)),
    Reset("tracking.watcher", "_fault", ("settings", "test"), str),
    Reset("loading.flights", "_flights.clear", ("fork",)),
    Reset("auditing.auditor", "_suspects.clear", ("fork",)),
    Reset("auditing.later", "begin_anew", ("fork",)),
    Reset("backends.loops", "_process", ("fork",), object),
    Reset("backends.server", "close_idle_connections", ("fork",)),
    Reset("backends.server", "forget_servers", ("caches",)),
    Reset("outbox.marking", "_has_triggers.clear", ("test",)),
    Reset("testing.isolation", "isolate_new_settings", ("caches",)),
    # Last: until all is reset, a thread of an unannounced child waits, and what an interrupt leaves is reset anew.
    Reset("runtime.state", "pid", ("fork",), os.getpid),
    Reset("runtime.state", "_lock", ("fork",), RLock),
)


def reset(event: Event, resets: Iterable[Reset] = RESETS) -> None:
    """Do what an event does to the state; a module that is not imported, or only in part, has nothing to reset."""
    for each in resets:
        module = sys.modules.get(f"cachedeco.{each.module}")
        if event not in each.events or not hasattr(module, each.path.partition(".")[0]):
            continue
        if each.make is None:
            attrgetter(each.path)(module)()
        else:
            setattr(module, each.path, each.make())


def reset_in_child() -> None:
    """Reset what a forked child can't use."""
    reset("fork")


def reset_in_unannounced_child(**_: object) -> None:
    """Reset in a child that a server written in C has forked, as uWSGI does, without a call of Python's handlers."""
    if os.getpid() != pid:
        with _lock:  # the child may have several threads, each with a request
            if os.getpid() != pid:
                reset_in_child()


def follow_settings(*, setting: str, **_: object) -> None:
    """Reset what followed from the settings that have changed."""
    if setting in {"CACHEDECO", "CACHES", "INSTALLED_APPS"}:
        reset("settings")
    if setting == "CACHES":
        reset("caches")


def connect() -> None:
    """Connect the receiver of changed settings, behind all that are connected by now."""
    setting_changed.disconnect(dispatch_uid=UID)
    setting_changed.connect(follow_settings, dispatch_uid=UID)


connect()
request_started.connect(reset_in_unannounced_child, dispatch_uid=UID)
with suppress(AttributeError):  # on Windows, where nothing forks
    os.register_at_fork(after_in_child=reset_in_child)
