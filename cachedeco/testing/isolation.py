"""
Isolation of caches without clearing: all keys that go through Django's caches get a random prefix.

During isolation each cache object of Django gets a class derived from its own, which puts the *scope* before every key.
A scope is a random text, and a new one for each test means an empty cache: nothing is cleared, deleted or scanned, and
entries of other processes are neither read nor changed.

The scope belongs to the process, not to a thread: the server thread of `LiveServerTestCase` and the tasks of an async
test must see the entries of the test.

Not isolated: code that talks to a server without Django's cache objects (a client of its own, `cache._cache`), code
that ran before the isolation began (`AppConfig.ready()`), and a cache object that another thread has kept from before.
"""

from collections import defaultdict
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from hashlib import blake2b
from secrets import token_hex
from typing import Any, Final

import django.test.signals  # noqa: F401 -- connects its receiver before ours: that one makes the handler read CACHES
from asgiref.local import Local
from django.core.cache import caches
from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.db import BaseDatabaseCache
from django.core.cache.backends.filebased import FileBasedCache
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from cachedeco.runtime import conf, state
from cachedeco.runtime.locks import RLock
from cachedeco.storage.cache_keys import LONGEST_KEY
from cachedeco.storage.connections import isolate
from cachedeco.storage.keyspace import forget_keyspaces

_handler: Any = caches  # Any, since its type has no private attributes

# 64 bits: the probability that two of a million tests on one server share a scope is 1 in 30 million.
SCOPE_BYTES = 8
DIGEST_BYTES = 16

# By storage: one scope for all, except after clear(). Empty outside isolation. Replaced as a whole, so without a lock.
_scopes: defaultdict[str, str] = defaultdict(str)
_classes: dict[type, type[BaseCache]] = {}
_is_in_force = False

# Blocks that need isolation where no runner isolates: the first one begins it, and the last one ends it.
_blocks = 0
_of_blocks = ExitStack()
_lock = RLock()


def fresh_scope() -> None:
    """
    Begin with empty caches, for every thread of this process.

    Earlier entries stay on the server, under keys that are never read again. Outside isolation this does nothing.
    """
    if _is_in_force:
        _begin_scope()


@contextmanager
def own_scope() -> Generator[None]:
    """Run a block with empty caches, in every thread; earlier entries are back after it."""
    global _scopes  # noqa: PLW0603 -- as below
    before = _scopes
    _begin_scope()
    try:
        yield
    finally:
        _scopes = before
        state.reset("test")


@contextmanager
def isolated() -> Generator[None]:
    """
    Isolate all caches of this process for a block, and restore them afterwards.

    Nothing is sent to a cache server. A nested block has empty caches of its own.
    """
    global _is_in_force  # noqa: PLW0603 -- one for the process, as the scope
    with own_scope():
        if _is_in_force:
            yield
            return
        settings, connections = caches.settings, _handler._connections  # noqa: SLF001 -- Django has no other way
        # Modules may hold references to cache objects: `sessions = caches["sessions"]`.
        made: dict[str, Any] = {alias: caches[alias] for alias in caches if hasattr(connections, alias)}
        classes = {alias: type(cache) for alias, cache in made.items()}
        try:
            _isolate_settings()
            for alias, cache in made.items():
                cache.__class__ = _isolated_class(classes[alias])
                cache._storage_id = _storage_id_of(cache, settings[alias].get("LOCATION", ""), settings[alias])  # noqa: SLF001 -- ours
                caches[alias] = cache
            state.connect()  # after Django's own receiver
            _is_in_force = True
            isolate(_ISOLATION)
            yield
        finally:
            _is_in_force = False
            isolate(None)
            caches.close_all()
            for alias, cache in made.items():
                cache.__class__ = classes[alias]
                del cache._storage_id  # noqa: SLF001 -- ours
            caches.settings, _handler._connections = settings, connections  # noqa: SLF001 -- as above
            if settings != caches.configure_settings(None):  # other CACHES are in force than when the block began
                caches.settings = caches.configure_settings(None)
                _handler._connections = Local(caches.thread_critical)  # noqa: SLF001 -- as above
            _classes.clear()
            conf.forget()


@contextmanager
def ensure_isolated() -> Generator[None]:
    """Run a block with isolated caches: with those of the test where a runner isolates, otherwise with empty ones."""
    isolates = _begin_block()
    try:
        yield
    finally:
        if isolates:
            _end_block()


@contextmanager
def isolated_test() -> Generator[None]:
    """Run one test with empty caches of its own: those that a runner gives it, or others where no runner isolates."""
    if _is_in_force and not _blocks:
        yield
        return
    with ensure_isolated(), own_scope():
        yield


def _begin_block() -> bool:
    """Isolate for one more block; return False if the caches are isolated by other means."""
    global _blocks  # noqa: PLW0603 -- one for the process, as the scope
    with _lock:
        if _is_in_force and not _blocks:
            return False
        if not _blocks:
            _of_blocks.enter_context(isolated())
        _blocks += 1
        return True


def _end_block() -> None:
    """End the isolation with the last of its blocks: those of several threads end in any order."""
    global _blocks  # noqa: PLW0603 -- as above
    with _lock:
        _blocks -= 1
        if not _blocks:
            _of_blocks.close()


class _ScopedKeys:
    """The isolation of the package's own connections: the scope is a part of its whole keys."""

    def plain_cache(self, cache: BaseCache) -> BaseCache:
        """Return the cache object of its own class, so that tests read as production does; see `Isolation`."""
        if isinstance(cache, _Isolated) and not isinstance(cache, _IsolatedWithoutCulling):
            cache.__class__ = next(backend for backend, isolated in _classes.items() if isolated is type(cache))
        return cache

    def scope_of(self, cache: BaseCache) -> str:
        """Return the scope of a cache object."""
        return _scopes[cache._storage_id] if isinstance(cache, _Isolated) else ""  # noqa: SLF001 -- ours


_ISOLATION: Final = _ScopedKeys()


def _isolate_settings() -> None:
    """Make Django create new cache objects, of isolated classes."""
    caches.settings = {alias: _isolated_options(alias, options) for alias, options in caches.settings.items()}
    # After the settings: a cache that another thread has made from the old settings meanwhile is dropped.
    _handler._connections = Local(caches.thread_critical)  # noqa: SLF001 -- as Django's own receiver does
    conf.forget()


def isolate_new_settings() -> None:
    """Isolate the caches that override_settings(CACHES=...) names, while the isolation is in force."""
    if _is_in_force:
        _isolate_settings()


def _isolated_options(alias: str, options: dict[str, Any]) -> dict[str, Any]:
    """Return an entry of CACHES with the isolated class as its backend."""
    try:
        backend = import_string(options["BACKEND"])
    except (KeyError, ImportError):
        return options  # Django raises an error when the alias is used
    if not isinstance(backend, type) or not issubclass(backend, BaseCache):
        msg = f"CACHES[{alias!r}] can't be isolated: its BACKEND, {backend!r}, is no subclass of Django's BaseCache."
        raise ImproperlyConfigured(msg)
    return {**options, "BACKEND": f"{__name__}.{_isolated_class(backend).__name__}"}


def _isolated_class(backend: type[BaseCache]) -> type[BaseCache]:
    """Return the class derived from a backend, the same one each time."""
    if backend not in _classes:
        first = _IsolatedWithoutCulling if issubclass(backend, FileBasedCache | BaseDatabaseCache) else _Isolated
        name = f"Isolated{len(_classes)}{backend.__name__}"
        made: Any = type(name, (first, backend), {"__module__": __name__})
        _classes[backend] = made
    return _classes[backend]


def _storage_id_of(cache: BaseCache, location: object, params: dict[str, Any]) -> str:
    """Return a name for the storage of a cache, equal for two aliases if clear() of one empties the other."""
    number = params.get("OPTIONS", {}).get("db")  # Redis may have the number of its database here
    return repr((type(cache), location, number))


def __getattr__(name: str) -> type[BaseCache]:
    """Return an isolated class: Django imports backends by dotted path."""
    for made in _classes.values():
        if made.__name__ == name:
            return made
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)


class _Isolated(BaseCache):
    """A mixin for the project's backend class: puts the scope before each key."""

    _storage_id: str

    def __init__(self, location: Any, params: dict[str, Any]) -> None:
        """Store the name of the storage, for `clear()`."""
        self._storage_id = _storage_id_of(self, location, params)
        super().__init__(location, params)  # type: ignore[call-arg] # of the project's class: BaseCache takes no location

    def make_key(self, key: str, version: int | None = None) -> str:
        """Put the scope before a key; a backend may override how keys are made."""
        return _in_scope(self._storage_id, super().make_key(key, version))

    @property
    def key_func(self) -> Callable[[str, str, int], str]:
        """Put the scope before the result of KEY_FUNCTION: django-redis's client calls that without make_key()."""
        made: Callable[..., str] = vars(self)["key_func"]
        return lambda *args, **kwargs: _in_scope(self._storage_id, made(*args, **kwargs))

    @key_func.setter
    def key_func(self, function: Callable[[str, str, int], str]) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        # Stored where BaseCache stores it, since the class of an existing cache object is changed, and changed back.
        vars(self)["key_func"] = function

    def clear(self) -> None:
        """Begin a new scope: the entries of this test are gone, and no other entry is deleted."""
        if _scopes[self._storage_id]:
            _scopes[self._storage_id] = _new_scope()
            forget_keyspaces()
            conf.forget()  # whole keys follow
        else:
            super().clear()  # the isolation has ended, and code has kept this cache object

    async def aclear(self) -> None:
        """Do as `clear()`: a backend's own `aclear()` would delete other entries."""
        self.clear()


class _IsolatedWithoutCulling(_Isolated):
    """
    A mixin for caches that count all entries and delete any of them above MAX_ENTRIES: no culling during isolation.

    Entries of earlier tests would evict those of a test, and those of a test would evict entries of other processes.
    """

    def _cull(self, *args: Any) -> None:
        if not _scopes[self._storage_id]:
            super()._cull(*args)  # type: ignore[misc] # the isolation has ended, as above


def _begin_scope() -> None:
    global _scopes  # noqa: PLW0603 -- one for the process, as said above
    scope = _new_scope()
    _scopes = defaultdict(lambda: scope)
    state.reset("test")


def _new_scope() -> str:
    # Without a ":" to the project's prefix: django-redis splits a key at its colons to restore the caller's key.
    return token_hex(SCOPE_BYTES) + "/"


def _in_scope(storage_id: str, key: str) -> str:
    """Return a key with the scope before it; a key that has it already is returned as it is."""
    scope = _scopes[storage_id]
    if key.startswith(scope):
        return key
    scoped = scope + key
    if len(scoped.encode("utf-8", "surrogatepass")) <= LONGEST_KEY:
        return scoped
    # A digest replaces the beginning, so that the length does not change: a key must be too long with a scope if, and
    # only if, it is too long without.
    digest = blake2b(key.encode("utf-8", "surrogatepass"), digest_size=DIGEST_BYTES).hexdigest()
    return scope + digest + key[len(scope) + len(digest) :]
