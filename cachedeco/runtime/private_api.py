"""
Private names of Django, asgiref, pymemcache and Python that the package uses, and a check that they are there.

A private name may go with any release. Where a name that we call is gone, the call fails. Where a method that we
override is gone, or is not called any more, nothing fails, and invalidations are lost in silence. So the app checks the
names at start, and a system check (E010) after that.

Listed are names with an underscore, and attributes that the documentation of their owner leaves out. `_meta`, `_state`,
`_default_manager`, `_base_manager` and what a named tuple has are documented.
"""

import inspect
import platform
import sys
from collections.abc import Iterable, Iterator
from importlib import import_module, metadata
from types import CodeType, SimpleNamespace
from typing import Any, Final, NamedTuple

from django.core.exceptions import ImproperlyConfigured
from django.db.backends.base.base import BaseDatabaseWrapper


class PrivateName(NamedTuple):
    """One private name."""

    holder: str  #: the module and, behind a colon, the class, object or function that has it
    name: str
    used_in: tuple[str, ...]  #: modules of ours: where none is imported, the name is not looked for
    what_for: str
    called_by: str = ""  #: of a method that we override: the function that has to call it
    has_fallback: bool = False  #: the module does without the name, more slowly: that it is gone is no fault


_TRANSACTIONS: Final = ("invalidation.transactions",)
_WRAPPER: Final = "django.db.backends.base.base:BaseDatabaseWrapper"
_MEMCACHED: Final = "django.core.cache.backends.memcached:BaseMemcachedCache"
_CLIENT: Final = "pymemcache.client.base:Client"
_LOCMEM: Final = "django.core.cache.backends.locmem:LocMemCache"
_REDIS: Final = "django.core.cache.backends.redis"
_DIRECT: Final = ("storage.direct_access",)

# By owner, as its distribution is called; Python's standard library is "Python".
NAMES: Final[dict[str, tuple[PrivateName, ...]]] = {
    "Django": (
        # --- transactions ---
        PrivateName(_WRAPPER, "run_on_commit", _TRANSACTIONS, "puts what waits for a commit before the user's hooks"),
        PrivateName(_WRAPPER, "savepoint_ids", _TRANSACTIONS, "knows which savepoint drops what waits"),
        PrivateName(_WRAPPER, "atomic_blocks", _TRANSACTIONS, "knows the blocks that are open"),
        PrivateName(_WRAPPER, "commit_on_exit", _TRANSACTIONS, "knows a transaction that is managed by hand"),
        PrivateName(
            _WRAPPER, "in_atomic_block", (*_TRANSACTIONS, "invalidation.signals"), "knows whether a transaction is open"
        ),
        PrivateName(_WRAPPER, "needs_rollback", ("outbox.recording",), "records nothing in a transaction that failed"),
        PrivateName(
            "django.db.transaction:Atomic",
            "_from_testcase",
            (*_TRANSACTIONS, "testing.histories"),
            "tells the blocks of a TestCase from transactions",
        ),
        # --- models ---
        PrivateName("django.db.models.options:Options", "all_parents", ("invalidation.relations",), "finds parents"),
        PrivateName(
            "django.db.models:QuerySet",
            "_raw_delete",
            ("managers", "outbox.models"),
            "sees deletions of which no signal tells, and deletes so itself",
            "django.db.models.deletion:Collector.delete",
        ),
        PrivateName(
            "django.db.models:Manager",
            "_queryset_class",
            ("managers",),
            "gives InvalidatingManager its QuerySet",
            "django.db.models:Manager.get_queryset",
        ),
        PrivateName(
            "django.db.models.base:ModelState",
            "fields_cache",
            ("storage.comparison",),
            "compares rows that were fetched",
        ),
        PrivateName(
            "django.db.models.query:prefetch_related_objects",
            "_prefetched_objects_cache",
            ("storage.comparison",),
            "compares rows that were prefetched",
        ),
        # --- lazy objects ---
        PrivateName("django.utils.functional:LazyObject", "_wrapped", ("keys.encoders",), "encodes what it stands for"),
        PrivateName("django.utils.functional:LazyObject", "_setup", ("keys.encoders",), "encodes what it stands for"),
        # --- caches ---
        PrivateName(
            "django.core.cache.backends.db:DatabaseCache",
            "cache_model_class",
            _TRANSACTIONS,
            "finds the database of a cache in one",
        ),
        PrivateName("django.core.cache:caches", "_connections", ("testing.isolation",), "isolates the caches of tests"),
        PrivateName(
            "django.core.cache:caches", "thread_critical", ("testing.isolation",), "isolates the caches of tests"
        ),
        PrivateName(
            "django.core.cache.backends.filebased:FileBasedCache",
            "_cull",
            ("testing.isolation",),
            "keeps a test from deleting the entries of others",
            "django.core.cache.backends.filebased:FileBasedCache.set",
        ),
        PrivateName(
            "django.core.cache.backends.db:DatabaseCache",
            "_cull",
            ("testing.isolation",),
            "keeps a test from deleting the entries of others",
            "django.core.cache.backends.db:DatabaseCache._base_set",
        ),
        PrivateName(_MEMCACHED, "_class", ("backends.memcached",), "is a backend with a client of its own"),
        PrivateName(_MEMCACHED, "_options", ("backends.memcached",), "is a backend with a client of its own"),
        PrivateName(_MEMCACHED, "_cache", ("backends.memcached",), "is a backend with a client of its own"),
        PrivateName(_MEMCACHED, "_missing_key", ("backends.memcached",), "tells None from what is not there"),
        *(
            PrivateName(_LOCMEM, name, _DIRECT, "reads and writes without a check of each key", has_fallback=True)
            for name in (
                "_cache",
                "_delete",
                "_expire_info",
                "_has_expired",
                "_lock",
                "_set",
                "pickle_protocol",
            )
        ),
        *(
            PrivateName(
                f"{_REDIS}:{holder}",
                name,
                _DIRECT,
                "connects to Redis without a client for each command",
                has_fallback=True,
            )
            for holder, name in (
                ("RedisCache", "_cache"),
                ("RedisCacheClient", "_get_connection_pool"),
                ("RedisCacheClient", "_pool_class"),
                ("RedisCacheClient", "_serializer"),
                ("RedisSerializer", "protocol"),
            )
        ),
        # --- test runner ---
        PrivateName(
            "django.test.runner:ParallelTestSuite",
            "runner_class",
            ("testing.runner",),
            "isolates the caches of parallel tests",
            "django.test.runner:ParallelTestSuite.run",
        ),
    ),
    "asgiref": (
        PrivateName(
            "asgiref.sync:SyncToAsync",
            "context_to_thread_executor",
            ("runtime.background",),
            "gives tasks in the background a thread",
        ),
        PrivateName(
            "asgiref.sync:SyncToAsync",
            "thread_sensitive_context",
            ("runtime.background",),
            "gives tasks in the background a thread",
        ),
    ),
    "pymemcache": (
        PrivateName(
            _CLIENT, "_connect", ("backends.pool",), "sets SO_LINGER, or late writes arrive", f"{_CLIENT}._misc_cmd"
        ),
        PrivateName(_CLIENT, "_misc_cmd", ("backends.pool",), "refuses answers of other commands", f"{_CLIENT}.touch"),
        PrivateName(
            _CLIENT, "_raise_errors", ("backends.pool",), "knows a server that is full", f"{_CLIENT}._misc_cmd"
        ),
        *(
            PrivateName("pymemcache.client.hash:HashClient", name, _DIRECT, what_for, has_fallback=True)
            for name, what_for in (
                ("_dead_clients", "leaves a server that is out of reach to pymemcache"),
                ("_safely_run_func", "uses the client of the only server without a hash of each key"),
            )
        ),
        PrivateName(_CLIENT, "_store_cmd", _DIRECT, "adds many values by one command", has_fallback=True),
        PrivateName(_CLIENT, "_connect", _DIRECT, "reads from the only server", has_fallback=True),
        PrivateName(_CLIENT, "_raise_errors", _DIRECT, "reads from the only server", has_fallback=True),
    ),
    "Python": (
        PrivateName("asyncio", "_get_running_loop", ("testing.assertions",), "refuses sync code inside a task"),
        PrivateName(
            "unittest:TestResult",
            "_setupStdout",
            ("testing.runner",),
            "isolates the caches of each setUpClass()",
            "unittest:TestSuite._handleClassSetUp",
        ),
    ),
}


def missing(*, with_fallbacks: bool = False) -> list[str]:
    """
    Return a sentence for each private name that a module of ours, imported by now, uses and that is not there.

    Args:
        with_fallbacks: Look for the names without which the module works, too.
    """
    found = [
        f"{owner} {_version_of(owner)} {fault}; with it cachedeco {each.what_for}."
        for owner, names in NAMES.items()
        for each in names
        if (with_fallbacks or not each.has_fallback) and _is_used(each)
        for fault in _faults_of(each)
    ]
    if not _has_known_hooks():
        found.append(
            f"Django {_version_of('Django')} keeps commit hooks in another form than cachedeco puts its own in."
        )
    return found


def require() -> None:
    """
    Look for the private names, at start.

    Raises:
        ImproperlyConfigured: Some are not there.
    """
    sentences = missing()
    if sentences:
        msg = f"{' '.join(sentences)} Install a version that cachedeco knows, or a newer cachedeco."
        raise ImproperlyConfigured(msg)


def _is_used(private: PrivateName) -> bool:
    return any(f"cachedeco.{module}" in sys.modules for module in private.used_in)


def _faults_of(private: PrivateName) -> Iterator[str]:
    """Give what is wrong with a name, if anything."""
    try:
        holder = _resolve(private.holder)
        caller = _resolve(private.called_by) if private.called_by else None
    except (ImportError, AttributeError) as error:
        yield f"has no {private.holder.replace(':', '.')}.{private.name} ({error})"
        return
    if not hasattr(holder, private.name) and not _mentions(_codes_of(holder), private.name):
        yield f"has no {private.holder.replace(':', '.')}.{private.name}"
    elif caller is not None and not _mentions(_codes_of(caller), private.name):
        yield f"does not call {private.name} in {private.called_by.replace(':', '.')}"


def _resolve(path: str) -> Any:
    module, _, names = path.partition(":")
    found: Any = import_module(module)
    for name in filter(None, names.split(".")):
        found = getattr(found, name)
    return found


def _codes_of(holder: Any) -> Iterator[CodeType]:
    """Give the code in which a name stands that only instances have: a class's `__init__`, or that of a function."""
    functions = [vars(base).get("__init__") for base in holder.__mro__] if isinstance(holder, type) else [holder]
    for function in functions:
        code = getattr(inspect.unwrap(function) if callable(function) else None, "__code__", None)
        if code is not None:
            yield from _with_inner(code)


def _with_inner(code: CodeType) -> Iterator[CodeType]:
    """Give some code, and that of what is defined inside: before Python 3.12 that of comprehensions."""
    yield code
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield from _with_inner(each)


def _mentions(codes: Iterable[CodeType], name: str) -> bool:
    """Tell whether code names an attribute, by itself or as text."""
    return any(name in code.co_names or name in code.co_consts for code in codes)


def _has_known_hooks() -> bool:
    """Tell whether a commit hook is what we take it for: the savepoints that it lies under, the function, `robust`."""
    wrapper: Any = SimpleNamespace(in_atomic_block=True, savepoint_ids=["savepoint"], run_on_commit=[])
    BaseDatabaseWrapper.on_commit(wrapper, missing, robust=True)
    return bool(wrapper.run_on_commit == [({"savepoint"}, missing, True)])


def _version_of(owner: str) -> str:
    return platform.python_version() if owner == "Python" else metadata.version(owner)
