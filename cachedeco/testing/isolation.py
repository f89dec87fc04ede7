"""
Isolation without clearing: whatever goes through Django's caches gets keys that nobody else has.

While isolation is in force, each cache that Django has made or makes is of a class derived from its own, which puts
the *scope* before every key. A scope is a random text. A fresh one for each test is all that it takes to begin with an
empty cache: nothing is cleared, deleted or scanned for, and nothing of anybody else's can be met or harmed.

The scope belongs to the process, not to a thread: the server thread of `LiveServerTestCase` and the tasks of an async
test must see what the test sees.

Out of reach: what asks a server past Django's cache objects (a client of its own, `cache._cache`), what ran before the
isolation began (`AppConfig.ready()`), and a cache object that another thread has kept for itself since before.
"""

from collections import defaultdict
from collections.abc import Callable, Generator
from contextlib import contextmanager
from hashlib import blake2b
from secrets import token_hex
from typing import Any

import django.test.signals  # noqa: F401 -- connects its receiver before ours: that one makes the handler read CACHES
from asgiref.local import Local
from django.core.cache import caches
from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.db import BaseDatabaseCache
from django.core.cache.backends.filebased import FileBasedCache
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from cachedeco.runtime import conf
from cachedeco.storage import breaker
from cachedeco.storage.cache_keys import LONGEST_KEY

_handler: Any = caches  # whose type tells nothing of where it keeps them

# 64 bits, new for each test: two tests of a million on one server share them once in 30 million such servers.
SCOPE_BYTES = 8
DIGEST_BYTES = 16

# By place: one for all, save those on which clear() was called. Empty outside isolation. Swapped whole, so no lock.
_scopes: defaultdict[str, str] = defaultdict(str)
_classes: dict[type, type[BaseCache]] = {}


def fresh_scope() -> None:
    """
    Begin with caches in which nothing is, for every thread of this process.

    What was stored before is still on the server, under keys that nobody will ask for again. Outside isolation this
    does nothing.
    """
    if _classes:
        _begin_scope()


@contextmanager
def own_scope() -> Generator[None]:
    """Run a block with empty caches, in every thread; what was cached before it is there again after it."""
    global _scopes  # noqa: PLW0603 -- as below
    before = _scopes
    _begin_scope()
    try:
        yield
    finally:
        _scopes = before
        breaker.reset()


@contextmanager
def isolated() -> Generator[None]:
    """
    Isolate all caches of this process for a block, and leave them as they were found.

    Nothing is sent to any cache server. A block inside another one has empty caches of its own.
    """
    with own_scope():
        if _classes:
            yield
            return
        settings, connections = caches.settings, _handler._connections  # noqa: SLF001 -- Django has no other way
        # Modules keep some of these for good: `shelf = caches["shelf"]`.
        made: dict[str, Any] = {alias: caches[alias] for alias in caches if hasattr(connections, alias)}
        classes = {alias: type(cache) for alias, cache in made.items()}
        try:
            _cover(setting="CACHES")
            for alias, cache in made.items():
                cache.__class__ = _isolated_class(classes[alias])
                cache._place = _place_of(cache, settings[alias].get("LOCATION", ""), settings[alias])  # noqa: SLF001 -- ours
                caches[alias] = cache
            setting_changed.connect(_cover, dispatch_uid=__name__)
            yield
        finally:
            setting_changed.disconnect(dispatch_uid=__name__)
            caches.close_all()
            for alias, cache in made.items():
                cache.__class__ = classes[alias]
                del cache._place  # noqa: SLF001 -- ours
            caches.settings, _handler._connections = settings, connections  # noqa: SLF001 -- as above
            _classes.clear()
            conf.forget()


def _cover(*, setting: str, **_: object) -> None:
    """Have every cache made anew, of an isolated class: at the beginning, and after override_settings(CACHES=...)."""
    if setting == "CACHES":
        caches.settings = {alias: _covered(alias, options) for alias, options in caches.settings.items()}
        # After the settings: another thread, quick enough to make a cache of the old ones, loses it again.
        _handler._connections = Local(caches.thread_critical)  # noqa: SLF001 -- as Django's own receiver does
        conf.forget()


def _covered(alias: str, options: dict[str, Any]) -> dict[str, Any]:
    """Return an entry of CACHES with the isolated class as its backend."""
    try:
        backend = import_string(options["BACKEND"])
    except (KeyError, ImportError):
        return options  # Django will say what is wrong when somebody uses the alias
    if not isinstance(backend, type) or not issubclass(backend, BaseCache):
        msg = f"CACHES[{alias!r}] can't be isolated: its BACKEND, {backend!r}, is no subclass of Django's BaseCache."
        raise ImproperlyConfigured(msg)
    return {**options, "BACKEND": f"{__name__}.{_isolated_class(backend).__name__}"}


def _isolated_class(backend: type[BaseCache]) -> type[BaseCache]:
    """Return the class derived from a backend, the same one each time."""
    if backend not in _classes:
        first = _Uncut if issubclass(backend, FileBasedCache | BaseDatabaseCache) else _Isolated
        name = f"Isolated{len(_classes)}{backend.__name__}"
        made: Any = type(name, (first, backend), {"__module__": __name__})
        _classes[backend] = made
    return _classes[backend]


def _place_of(cache: BaseCache, location: object, params: dict[str, Any]) -> str:
    """Return what two aliases have in common if the clear() of one empties the other: neither prefix nor timeout."""
    number = params.get("OPTIONS", {}).get("db")  # where Redis may have that of the database
    return repr((type(cache), location, number))


def __getattr__(name: str) -> type[BaseCache]:
    """Return an isolated class, for Django, which takes backends by dotted path."""
    for made in _classes.values():
        if made.__name__ == name:
            return made
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)


class _Isolated(BaseCache):
    """The part that comes before the project's own backend class."""

    _place: str

    def __init__(self, location: Any, params: dict[str, Any]) -> None:
        """Remember the place, for `clear()`."""
        self._place = _place_of(self, location, params)
        super().__init__(location, params)  # type: ignore[call-arg] # of the project's class: BaseCache takes no location

    def make_key(self, key: str, version: int | None = None) -> str:
        """Put the scope before the key that a backend makes in its own way, if it does."""
        return _in_scope(self._place, super().make_key(key, version))

    @property
    def key_func(self) -> Callable[[str, str, int], str]:
        """Put the scope before what KEY_FUNCTION makes of a key: django-redis's client calls it past make_key()."""
        made: Callable[..., str] = vars(self)["key_func"]
        return lambda *args, **kwargs: _in_scope(self._place, made(*args, **kwargs))

    @key_func.setter
    def key_func(self, function: Callable[[str, str, int], str]) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        # Where it lies without us, too: the class of a cache that exists already is changed, and changed back.
        vars(self)["key_func"] = function

    def clear(self) -> None:
        """Forget what this test has stored, and leave alone what others have on the server."""
        if _scopes[self._place]:
            _scopes[self._place] = _new_scope()
        else:
            super().clear()  # the isolation is over, and somebody has kept this cache

    async def aclear(self) -> None:
        """Do as `clear()`: no backend's own way past it."""
        self.clear()


class _Uncut(_Isolated):
    """
    The same for caches that count everybody's entries and, past MAX_ENTRIES, delete any of them.

    Those of earlier tests would cost a test its own, as would those of the test the ones of other people.
    """

    def _cull(self, *args: Any) -> None:
        if not _scopes[self._place]:
            super()._cull(*args)  # type: ignore[misc] # the isolation is over, and somebody has kept this cache


def _begin_scope() -> None:
    global _scopes  # noqa: PLW0603 -- one for the process, as said above
    scope = _new_scope()
    _scopes = defaultdict(lambda: scope)
    breaker.reset()  # what failed was another test's


def _new_scope() -> str:
    # Glued to the project's prefix without a ":", as django-redis splits a key at its colons to get the caller's back.
    return token_hex(SCOPE_BYTES) + "/"


def _in_scope(place: str, key: str) -> str:
    """Return a key with the scope before it, once."""
    scope = _scopes[place]
    if key.startswith(scope):
        return key
    scoped = scope + key
    if len(scoped.encode("utf-8", "surrogatepass")) <= LONGEST_KEY:
        return scoped
    # A digest in place of the beginning, and as many characters as without us: a key that is too long without a scope
    # must be so with one, and no other.
    digest = blake2b(key.encode("utf-8", "surrogatepass"), digest_size=DIGEST_BYTES).hexdigest()
    return scope + digest + key[len(scope) + len(digest) :]
