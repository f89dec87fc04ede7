"""
The state of the process, in one list: all that the package keeps between two calls, and what resets each piece.

A piece is a name at the top of a module. It stays a plain global there, since a hit reads some of them; this module
finds it by its name, and imports no module of ours. Four events reset a piece:

fork
    A forked child has neither the threads of its parent nor the thread that held a lock. Python calls us; where a
    server written in C forks without a word to Python, as uWSGI does, the child's next request tells.

settings
    Django says that `CACHEDECO` or `CACHES` has changed (`override_settings`).

caches
    Django says that `CACHES` has changed: besides, and after, what "settings" does.

test
    The test kit begins with empty caches.

A piece without a reset for an event is kept as it is. One handler of forks and one receiver of `setting_changed` serve
all pieces. A module that is not imported, or only in part, has nothing to reset.
"""

import os
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from operator import attrgetter
from threading import RLock
from typing import Final, Literal, NamedTuple

from django.core.signals import request_started, setting_changed

UID: Final = "cachedeco.runtime.state"

Occasion = Literal["fork", "settings", "caches", "test"]


#: A text is a function of the piece's module, as "forget" or "_pieces.clear", called once for each event, for all
#: pieces that name it; anything else makes the object that takes the place of the piece.
Reset = str | Callable[[], object]


class Piece(NamedTuple):
    """One name at the top of a module, and what each event does to it; None keeps it."""

    module: str  #: below `cachedeco`
    name: str
    what: str
    fork: Reset | None = None
    settings: Reset | None = None
    caches: Reset | None = None
    test: Reset | None = None


# Reentrant: a signal's handler, or a finalizer, may use the cache while its own thread holds the lock.
NEW_LOCK: Final = RLock

#: The process that all this is of.
pid: int = os.getpid()
_lock = RLock()

PIECES: Final = (
    # --- runtime ---
    Piece("runtime.conf", "in_force", "the settings in force, parsed", settings="forget", test="forget"),
    Piece("runtime.conf", "_changes", "another object after each change of settings", settings="forget", test="forget"),
    Piece("runtime.conf", "_lock", "guards these two", fork=NEW_LOCK),
    Piece("runtime.modes", "_modes", "the blocks of mode() and bypass() that this context is in"),
    Piece("runtime.modes", "_isolate", "what isolates a block that switches the cache on: the test kit"),
    Piece("runtime.frames", "_awaiting", "the line that awaits what this context does in another thread"),
    Piece("runtime.log", "_is_logging", "whether a handler of the log is at work in this context"),
    Piece("runtime.hooks", "_added", "the hooks of users, by what has added them"),
    Piece("runtime.hooks", "_hooks", "all hooks, each once, as emit() calls them"),
    Piece("runtime.hooks", "needs_thread", "whether one of them may ask a database, or wait"),
    Piece("runtime.hooks", "_logs_hits", "whether the log wants hits; the next event that is no hit sets it"),
    Piece("runtime.hooks", "_lock", "guards the hooks", fork=NEW_LOCK),
    Piece("runtime.statistics", "_counts", "counts of events, by function", fork="begin_anew"),
    Piece("runtime.statistics", "_hits", "hits that are not counted yet, by function", fork="begin_anew"),
    Piece("runtime.statistics", "_invalidations", "counts of invalidations, by subject", fork="begin_anew"),
    Piece("runtime.statistics", "_lock", "guards the counts", fork="begin_anew"),
    Piece("runtime.background", "_pool", "threads for work in the background", fork="begin_anew"),
    Piece("runtime.background", "_futures", "what those threads do, and what waits for them", fork="begin_anew"),
    Piece("runtime.background", "_submission", "whether this thread is submitting work"),
    Piece("runtime.background", "_task_thread", "the thread of tasks in the background", fork="begin_anew"),
    Piece("runtime.background", "_tasks", "tasks in the background", fork="_tasks.clear"),
    Piece("runtime.background", "at_end", "functions to call in a thread of ours at the end of its work"),
    # --- storage ---
    Piece(
        "storage.connections",
        "_connections",
        "cache objects of our own, by thread and alias",
        fork="abandon_connections",
        caches="forget_connections",
    ),
    Piece(
        "storage.connections",
        "_on_loops",
        "the same of event loops, by alias",
        fork="abandon_connections",
        caches="forget_connections",
    ),
    Piece("storage.connections", "_abandoned", "the connections of the parent, in a forked child"),
    Piece("storage.connections", "_isolation", "the test kit's isolation of caches"),
    Piece("storage.connections", "_observe", "what looks at the commands of connections: traces, the panel"),
    Piece("storage.direct_access", "pickled_tokens", "what takes the pickles of tokens apart, by their number"),
    Piece(
        "storage.keyspace",
        "_keyspaces",
        "how whole keys are made, by alias",
        settings="_keyspaces.clear",
        caches="_keyspaces.clear",
        test="_keyspaces.clear",
    ),
    Piece(
        "storage.breaker",
        "breakers",
        "circuit breakers, and invalidations that wait, of the caches that failed",
        fork="end_probes",
        settings="reset",
        test="reset",
    ),
    Piece(
        "storage.breaker",
        "clusters",
        "caches of which a node of a Redis cluster has refused a command",
        settings="reset",
        test="reset",
    ),
    Piece("storage.breaker", "_lock", "guards the breakers", fork=NEW_LOCK),
    Piece(
        "storage.model_pickles",
        "_current",
        "descriptions of models' fields that are those of today",
        settings="_current.clear",
        test="_current.clear",
    ),
    Piece("storage.model_pickles", "_describe", "descriptions of models' fields, cached by the models"),
    Piece(
        "storage.shared_statistics",
        "_sharing",
        "the thread that writes the counts of this process into a cache",
        fork="begin_in_child",
        settings="end",
        test="end",
    ),
    Piece("storage.shared_statistics", "_lock", "guards it", fork="begin_in_child"),
    Piece("storage.refusals", "_known_refusal", "why values of a class are refused, cached by the class"),
    # --- invalidation ---
    Piece(
        "invalidation.commits",
        "waiting",
        "what waits for commits, by thread; a rollback takes it out",
        fork="forget_other_threads",
    ),
    Piece("invalidation.transactions", "_open_by_text", "connections on which a caller has sent BEGIN, or its end"),
    Piece(
        "invalidation.epochs",
        "_epochs",
        "what tells a request's memory which tokens this process has invalidated",
        fork="renew",
        settings="renew",
        caches="renew",
        test="renew",
    ),
    Piece(
        "invalidation.epochs",
        "_last",
        "another object after each invalidation of this process",
        fork="renew",
        settings="renew",
        caches="renew",
        test="renew",
    ),
    Piece("invalidation.delivery", "_recorder", "the recorder of invalidations: the outbox"),
    Piece(
        "invalidation.identities", "describe_model", "labels of models, and the kind of their primary keys, by class"
    ),
    Piece("invalidation.namespaces", "_look", "what looks at namespaces that are invalidated: advice with DEBUG"),
    Piece("invalidation.parts", "_requests", "fields by which functions depend on rows, as they name them"),
    Piece("invalidation.parts", "_fields", "these fields, by table"),
    Piece("invalidation.parts", "_announced", "rows that are being saved or deleted, weakly, by connection"),
    Piece("invalidation.parts", "_lock", "guards the first two", fork=NEW_LOCK),
    Piece("invalidation.row_statements", "_remembered", "statements about rows, cached by text"),
    Piece(
        "invalidation.tables",
        "_tables",
        "what is known of the models' tables, and what each text of a statement does to them",
        settings="forget",
    ),
    Piece("invalidation.tables", "_changes", "another object after each change of models", settings="forget"),
    Piece(
        "invalidation.writes",
        "_invalidations",
        "the tokens that a written set of tables ends",
        settings="_invalidations.clear",
        caches="_invalidations.clear",
        test="_invalidations.clear",
    ),
    # --- tracking ---
    Piece("tracking.collector", "innermost", "the computation that this context is in"),
    # Names are whole keys: those of other isolated tests would soon be too many for their function.
    Piece("tracking.nested_names", "names_by_function", "names of tokens of nested calls, by function", test="forget"),
    Piece("tracking.nested_names", "names_by_key", "the same by the entry's key, where they are others", test="forget"),
    Piece("tracking.nested_names", "_lock", "guards these names", fork=NEW_LOCK),
    Piece(
        "tracking.views",
        "_behind",
        "the tables behind the names of views, as databases name them",
        test="_behind.clear",
    ),
    Piece("tracking.watcher", "_mark", "what marks the statements that are watched: the outbox"),
    Piece("tracking.watcher", "_fault", "the fault of the settings that was reported", settings=str, test=str),
    # --- loading ---
    Piece("loading.flights", "_flights", "computations under way, by key and stamp", fork="_flights.clear"),
    Piece("loading.flights", "_lock", "guards the flights", fork=NEW_LOCK),
    Piece("loading.remembering", "current", "the block of remembered() that this context is in"),
    Piece("loading.sampling", "_auditor", "the auditor of a sample of the hits: the door auditing, set by the app"),
    # --- keys ---
    Piece("keys.encoders", "_encoders", "encoders of exact types; register_key_type() takes out"),
    Piece("keys.encoders", "_registered", "encoders that users registered"),
    Piece("keys.encoders", "_encoder_for", "encoders of other types, cached; register_key_type() clears it"),
    Piece("keys.saved_rows", "_usual_names", "names of a row's fields and cached properties, cached by class"),
    Piece("keys.encoders", "_takes_more", "dataclasses that take more than their fields, cached by class"),
    Piece(
        "keys.saved_rows",
        "cached_properties",
        "names of cached properties of rows and such dataclasses, cached by class",
    ),
    Piece("keys.field_values", "_field_of", "fields of rows whose values may be text as given, cached by class"),
    Piece("keys.prefetched", "_usual_choice", "how rows that are prefetched are chosen, cached by class and relation"),
    Piece("keys.receivers", "proxy_mark_of", "marks of proxies in the keys of methods, cached by class"),
    Piece("keys.receivers", "_class_mark", "marks of classes in the keys of methods that ignore self, cached"),
    Piece("keys.expressions", "_values_under", "what generated source refers to, cached by the prefix of its names"),
    Piece("keys.expressions", "_parse", "templates, cached by text"),
    Piece("keys.compiler", "_compile_source", "compiled key functions, cached by source"),
    # --- functions ---
    Piece("functions.spec", "_alive", "the cached functions that are alive"),
    Piece("functions.naming", "_places", "where the function of each name is defined"),
    Piece("functions.naming", "_wrappings", "decorated functions, weakly, by their innermost function and their name"),
    Piece("functions.naming", "_users", "how many living functions have a name"),
    Piece("functions.naming", "_unused", "names whose functions are gone"),
    Piece("functions.naming", "_taken", "the names that each living function has taken"),
    Piece("functions.naming", "_collected", "weak references to functions that were just collected"),
    Piece("functions.naming", "_lock", "guards the names", fork=NEW_LOCK),
    Piece("functions.invalidation_advice", "_advice", "the advice given on namespaces that reach nothing"),
    # --- doors ---
    Piece("auditing.auditor", "_suspects", "entries that wait for a second look", fork="_suspects.clear"),
    Piece("auditing.later", "_later", "second looks of sync functions, and the thread that waits", fork="begin_anew"),
    Piece("auditing.later", "_tasks", "second looks of async functions", fork="begin_anew"),
    Piece("backends.loops", "_process", "tells a forked child's connections from its parent's", fork=object),
    Piece(
        "backends.server",
        "_servers",
        "servers of memcached and Redis: idle connections, outages",
        fork="close_idle_connections",
        caches="forget_servers",
    ),
    Piece("backends.server", "_lock", "guards outages", fork=NEW_LOCK),
    Piece("backends.memcached_ring", "_server_chooser", "functions from keys to servers, cached by servers"),
    Piece("contrib.observing", "last_read", "the last read of this context"),
    Piece("contrib.observing", "last_write", "the last write of this context"),
    Piece("contrib.debug_toolbar.panel", "_current", "the request that this context is in, and its recording"),
    Piece("contrib.debug_toolbar.panel", "_ends", "the last invalidations of this process, for the panel"),
    Piece("contrib.prometheus.metrics", "_measures_of", "hooks that count, by registry"),
    Piece("contrib.opentelemetry.hooks", "_hooks_of", "hooks that make spans and metrics, by providers"),
    Piece("outbox.recording", "_migrating", "databases in which migrate may make the table of the outbox"),
    Piece("outbox.marking", "_has_triggers", "which databases have triggers, by alias", test="_has_triggers.clear"),
    Piece("testing.isolation", "_is_in_force", "whether caches are isolated"),
    Piece("testing.isolation", "_scopes", "the prefix of all keys now; the test kit renews it"),
    Piece("testing.isolation", "_classes", "isolated classes of caches, by backend", caches="isolate_new_settings"),
    Piece("testing.isolation", "_blocks", "open blocks that need isolation where no runner isolates"),
    Piece("testing.isolation", "_of_blocks", "the isolation of these blocks"),
    Piece("testing.isolation", "_lock", "guards these two", fork=NEW_LOCK),
    Piece("testing.switching", "_mode", "the mode in the settings, before they change"),
    Piece("testing.races", "_here", "the call that is stopped in this context"),
    # Last: until all is reset, a thread of an unannounced child waits, and what an interrupt leaves is reset anew.
    Piece("runtime.state", "pid", "the process that all this is of", fork=os.getpid),
    Piece("runtime.state", "_lock", "lets one thread reset an unannounced child", fork=NEW_LOCK),
)


def reset(occasion: Occasion, pieces: Iterable[Piece] = PIECES) -> None:
    """Do to each piece what an event does to it."""
    called: set[tuple[str, str]] = set()
    for piece in pieces:
        how: Reset | None = getattr(piece, occasion)
        module = sys.modules.get(f"cachedeco.{piece.module}")
        if how is None or module is None:
            continue
        path = how if isinstance(how, str) else piece.name
        if hasattr(module, path.partition(".")[0]) and (piece.module, path) not in called:
            called.add((piece.module, path))
            if isinstance(how, str):
                attrgetter(path)(module)()
            else:
                setattr(module, piece.name, how())


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
