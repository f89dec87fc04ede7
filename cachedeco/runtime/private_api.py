"""
Private names of Django, asgiref, pymemcache, redis-py and Python that the package uses, and a check for them.

Any release may remove a private name. If the package calls a removed name, the call fails. If the package overrides a
method that was removed, or that its owner no longer calls, no error is raised, and invalidations are lost. So the app
checks the names at start, and the system check E010 checks those of modules that are imported later.

The list has names that begin with an underscore, and attributes that their owner does not document. `_meta`, `_state`,
`_default_manager`, `_base_manager` and the attributes of named tuples are documented, and not in it.
"""

import inspect
import platform
import sys
from collections.abc import Callable, Iterable, Iterator
from pkgutil import resolve_name
from types import CodeType, SimpleNamespace
from typing import Any, Final, NamedTuple

from django.core.exceptions import ImproperlyConfigured
from django.db.backends.base.base import BaseDatabaseWrapper


class PrivateName(NamedTuple):
    """A private name of another package, and its use in this one."""

    holder: str  #: "module" or "module:object": the module, class, object or function that has the attribute
    name: str
    used_in: tuple[str, ...]  #: modules of cachedeco that use it; it is not checked until one of them is imported
    called_by: str = ""  #: for an overridden method: the function of the owner that must call it


_TRANSACTIONS: Final = ("invalidation.transactions",)
_COMMITS: Final = ("invalidation.commits",)
_WRAPPER: Final = "django.db.backends.base.base:BaseDatabaseWrapper"
_MEMCACHED: Final = "django.core.cache.backends.memcached:BaseMemcachedCache"
_CLIENT: Final = "pymemcache.client.base:Client"
_REDIS: Final = "django.core.cache.backends.redis"
_REDIS_CLIENT: Final = f"{_REDIS}:RedisCacheClient"

# The key is the name of the owner's distribution, or "Python" for the standard library.
NAMES: Final[dict[str, tuple[PrivateName, ...]]] = {
    "Django": (
        # --- transactions ---
        PrivateName(_WRAPPER, "run_on_commit", _COMMITS),
        PrivateName(_WRAPPER, "execute_wrappers", ("tracking.watcher",)),
        PrivateName(
            "django.utils.connection:BaseConnectionHandler",
            "create_connection",
            ("tracking.watcher",),
            "django.utils.connection:BaseConnectionHandler.__getitem__",
        ),
        PrivateName("django.dispatch:Signal", "receivers", ("tracking.watcher",)),
        PrivateName(_WRAPPER, "savepoint_ids", (*_COMMITS, *_TRANSACTIONS)),
        PrivateName(_WRAPPER, "savepoint_state", _COMMITS, f"{_WRAPPER}.savepoint"),
        PrivateName(_WRAPPER, "atomic_blocks", _TRANSACTIONS),
        PrivateName(_WRAPPER, "commit_on_exit", _TRANSACTIONS),
        PrivateName(_WRAPPER, "in_atomic_block", (*_COMMITS, *_TRANSACTIONS)),
        PrivateName(_WRAPPER, "autocommit", (*_COMMITS, *_TRANSACTIONS)),
        PrivateName(_WRAPPER, "run_commit_hooks_on_set_autocommit_on", _COMMITS, f"{_WRAPPER}.commit"),
        PrivateName(_WRAPPER, "errors_occurred", _COMMITS, f"{_WRAPPER}.rollback"),
        PrivateName(_WRAPPER, "closed_in_transaction", _TRANSACTIONS),
        PrivateName(_WRAPPER, "allow_thread_sharing", _COMMITS),
        PrivateName("django.db:connections", "_connections", _TRANSACTIONS),
        PrivateName(_WRAPPER, "needs_rollback", ("outbox.recording",)),
        PrivateName("django.db.transaction:Atomic", "_from_testcase", (*_TRANSACTIONS, "testing.histories")),
        # --- models ---
        PrivateName(
            "django.db.models.options:Options",
            "all_parents",
            ("invalidation.parts", "invalidation.tables", "tracking.reads"),
        ),
        PrivateName(
            "django.db.models:QuerySet", "_raw_delete", ("outbox.models",), "django.db.models.deletion:Collector.delete"
        ),
        PrivateName(
            "django.db.models.base:ModelState",
            "fields_cache",
            ("keys.saved_rows", "storage.comparison", "tracking.reads"),
        ),
        PrivateName(
            "django.db.models.query:prefetch_related_objects",
            "_prefetched_objects_cache",
            ("keys.prefetched", "storage.comparison", "tracking.reads"),
        ),
        PrivateName("django.db.models.query:QuerySet.__init__", "_result_cache", ("tracking.reads",)),
        # --- lazy objects ---
        PrivateName("django.utils.functional:LazyObject", "_wrapped", ("keys.encoders", "tracking.reads")),
        PrivateName("django.utils.functional:LazyObject", "_setup", ("keys.encoders",)),
        # --- caches ---
        PrivateName("django.core.cache.backends.db:DatabaseCache", "cache_model_class", _TRANSACTIONS),
        PrivateName("django.core.cache:caches", "_connections", ("testing.isolation",)),
        PrivateName("django.core.cache:caches", "thread_critical", ("testing.isolation",)),
        PrivateName(
            "django.core.cache.backends.filebased:FileBasedCache",
            "_cull",
            ("testing.isolation",),
            "django.core.cache.backends.filebased:FileBasedCache.set",
        ),
        PrivateName(
            "django.core.cache.backends.db:DatabaseCache",
            "_cull",
            ("testing.isolation",),
            "django.core.cache.backends.db:DatabaseCache._base_set",
        ),
        PrivateName(_MEMCACHED, "_class", ("backends.memcached",)),
        PrivateName(_MEMCACHED, "_options", ("backends.memcached",)),
        PrivateName(_MEMCACHED, "_cache", ("backends.memcached",)),
        PrivateName(f"{_REDIS}:RedisCache", "_cache", ("backends.redis",), f"{_REDIS}:RedisCache.get"),
        PrivateName(f"{_REDIS}:RedisCache", "_servers", ("backends.redis",)),
        PrivateName(_REDIS_CLIENT, "_client", ("backends.redis_client",), f"{_REDIS_CLIENT}.get_client"),
        PrivateName(_REDIS_CLIENT, "_get_connection_pool", ("backends.redis_client",), f"{_REDIS_CLIENT}.get_client"),
        *(
            PrivateName(_REDIS_CLIENT, name, ("backends.redis_client",))
            for name in ("_get_connection_pool_index", "_pool_class", "_pool_options", "_serializer")
        ),
        PrivateName(
            "django.test.runner:ParallelTestSuite",
            "runner_class",
            ("testing.runner",),
            "django.test.runner:ParallelTestSuite.run",
        ),
    ),
    "asgiref": (
        PrivateName("asgiref.sync:AsyncToSync", "executors", ("loading.effects", "runtime.background")),
        PrivateName("asgiref.sync:AsyncToSync", "loop_thread_executors", ("runtime.background",)),
        PrivateName("asgiref.sync:SyncToAsync", "context_to_thread_executor", ("runtime.background",)),
        PrivateName("asgiref.sync:SyncToAsync", "single_thread_executor", ("runtime.background",)),
        PrivateName("asgiref.sync:SyncToAsync", "thread_sensitive_context", ("runtime.background",)),
        PrivateName("django.db:connections._connections", "_storage", _TRANSACTIONS),
    ),
    "pymemcache": (
        PrivateName(_CLIENT, "_connect", ("backends.memcached_pool",), f"{_CLIENT}._fetch_cmd"),
        PrivateName(
            _CLIENT, "_raise_errors", ("backends.memcached_pool", "backends.memcached_answers"), f"{_CLIENT}._fetch_cmd"
        ),
    ),
    "redis": (PrivateName("redis.connection:AbstractConnection", "_sock", ("backends.redis_servers",)),),
    "Python": (
        PrivateName("asyncio", "_get_running_loop", ("invalidation.transactions", "testing.assertions")),
        PrivateName("unittest:TestResult", "_setupStdout", ("testing.runner",), "unittest:TestSuite._handleClassSetUp"),
    ),
}


def missing() -> list[str]:
    """Return an error message for each missing private name that an imported module of cachedeco can't do without."""
    found = [
        f"{owner} {_version_of(owner)} {fault}; cachedeco uses it in {', '.join(each.used_in)}."
        for owner, names in NAMES.items()
        for each in names
        if _is_used(each)
        for fault in _faults_of(each)
    ]
    if not _has_known_hooks():
        found.append(f"Django {_version_of('Django')} keeps commit hooks in another form than cachedeco.")
    return found


def require() -> None:
    """
    Check the private names, at start.

    Raises:
        ImproperlyConfigured: A name is missing.
    """
    sentences = missing()
    if sentences:
        msg = f"{' '.join(sentences)} Install a version that cachedeco knows, or a newer cachedeco."
        raise ImproperlyConfigured(msg)


def _is_used(private: PrivateName) -> bool:
    return any(f"cachedeco.{module}" in sys.modules for module in private.used_in)


def _faults_of(private: PrivateName) -> Iterator[str]:
    """Yield the fault of a private name; nothing if it is as expected."""
    try:
        holder = resolve_name(private.holder)
        caller = resolve_name(private.called_by) if private.called_by else None
    except (ImportError, AttributeError) as error:
        yield f"has no {private.holder.replace(':', '.')}.{private.name} ({error})"
        return
    if not hasattr(holder, private.name) and not _mentions(_codes_of(holder), private.name):
        yield f"has no {private.holder.replace(':', '.')}.{private.name}"
    elif caller is not None and not _mentions(_codes_of(caller), private.name):
        yield f"does not call {private.name} in {private.called_by.replace(':', '.')}"


def _codes_of(holder: Any) -> Iterator[CodeType]:
    """Yield the code that may set an attribute of instances: each `__init__` of a class, or the code of a function."""
    functions = [vars(base).get("__init__") for base in holder.__mro__] if isinstance(holder, type) else [holder]
    for function in functions:
        code = getattr(inspect.unwrap(function) if callable(function) else None, "__code__", None)
        if code is not None:
            yield from _with_inner(code)


def _with_inner(code: CodeType) -> Iterator[CodeType]:
    """Yield a code object and those nested in it: of inner functions and, before Python 3.12, of comprehensions."""
    yield code
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield from _with_inner(each)


def _mentions(codes: Iterable[CodeType], name: str) -> bool:
    """Tell whether code uses a name, as an attribute or as text, as `getattr()` takes it."""
    return any(name in code.co_names or name in code.co_consts for code in codes)


def _has_known_hooks() -> bool:
    """Tell whether Django keeps a commit hook as cachedeco does: a tuple of savepoint ids, function and `robust`."""
    wrapper: Any = SimpleNamespace(in_atomic_block=True, savepoint_ids=["savepoint"], run_on_commit=[])
    BaseDatabaseWrapper.on_commit(wrapper, missing, robust=True)
    return bool(wrapper.run_on_commit == [({"savepoint"}, missing, True)]) and _asks_hooks_at_rollback()


def _asks_hooks_at_rollback() -> bool:
    """Tell whether a rollback to a savepoint asks each hook, by `in`, and drops those that answer yes."""

    class Wrapper:
        def __getattr__(self, name: str) -> Callable[..., bool]:
            return lambda *_: True

    class Savepoints(set[str]):
        def __contains__(self, savepoint: object) -> bool:
            return savepoint == "asked"

    wrapper: Any = Wrapper()
    dropped, kept = (Savepoints(), missing, True), (set[str](), missing, True)
    wrapper.run_on_commit = [dropped, kept]
    inspect.unwrap(BaseDatabaseWrapper.savepoint_rollback)(wrapper, "asked")
    return bool(wrapper.run_on_commit == [kept])


def _version_of(owner: str) -> str:
    """Return the installed version of a distribution, or that of Python."""
    from importlib.metadata import version  # slow to import, and asked where something is wrong

    return platform.python_version() if owner == "Python" else version(owner)
