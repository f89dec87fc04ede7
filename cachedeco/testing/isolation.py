"""
Isolation without clearing: whatever goes through Django's caches gets keys that nobody else has.

While isolation is installed, each cache that Django makes is of a class derived from its own, which puts the *scope*
before every key. A scope is a random text. A fresh one for each test is all that it takes to begin with an empty
cache: nothing is cleared, deleted or scanned for, and nothing of anybody else's can be met or harmed.

The scope belongs to the process, not to a thread: the server thread of `LiveServerTestCase` and the tasks of an async
test must see what the test sees.
"""

from collections.abc import Generator
from contextlib import contextmanager
from hashlib import blake2b
from secrets import token_hex
from typing import Any

from django.core.cache import caches
from django.core.cache.backends.base import BaseCache
from django.core.signals import setting_changed
from django.test.signals import clear_cache_handlers
from django.utils.module_loading import import_string

from cachedeco import conf
from cachedeco.store import LONGEST_KEY

# 64 bits, new for each test: two tests of a million on one server share them once in 30 million such servers.
SCOPE_BYTES = 8

_scope = ""
# Of the aliases on which the test has called clear(): each begins again, and nobody else's cache is emptied.
_scopes: dict[str, str] = {}
_classes: dict[str, type[BaseCache]] = {}
_installed = 0


def fresh_scope() -> None:
    """
    Begin with caches in which nothing is, for every thread of this process.

    What was stored before is still on the server, under keys that nobody will ask for again.
    """
    global _scope  # noqa: PLW0603 -- one for the process, as said above
    _scope = token_hex(SCOPE_BYTES)
    _scopes.clear()


def install() -> None:
    """Isolate all caches of this process from now on. Each call needs an `uninstall()` of its own."""
    global _installed  # noqa: PLW0603
    fresh_scope()
    if not _installed:
        # After Django's own receiver, which makes the handler read the new settings: django.test is imported above.
        setting_changed.connect(_cover, dispatch_uid="cachedeco.testing")
        _cover(setting="CACHES")
    _installed += 1


def uninstall() -> None:
    """Leave the caches as they were found."""
    global _installed  # noqa: PLW0603
    _installed -= 1
    if not _installed:
        setting_changed.disconnect(dispatch_uid="cachedeco.testing")
        clear_cache_handlers(setting="CACHES")
        _classes.clear()
        conf.forget()


@contextmanager
def isolated() -> Generator[None]:
    """Isolate all caches of this process for a block."""
    install()
    try:
        yield
    finally:
        uninstall()


def _cover(*, setting: str, **_: object) -> None:
    """Have every cache made anew, of an isolated class: at the beginning, and after override_settings(CACHES=...)."""
    if setting == "CACHES":
        clear_cache_handlers(setting="CACHES")
        caches.settings = {alias: _covered(alias, options) for alias, options in caches.settings.items()}
        conf.forget()


def _covered(alias: str, options: dict[str, Any]) -> dict[str, Any]:
    try:
        backend = import_string(options["BACKEND"])
    except (KeyError, ImportError):
        return options  # Django will say what is wrong when somebody uses the alias
    name = f"Isolated{len(_classes)}{backend.__name__}"
    _classes[name] = type(name, (_Isolated, backend), {"_alias": alias, "__module__": __name__})
    return {**options, "BACKEND": f"{__name__}.{name}"}


def __getattr__(name: str) -> type[BaseCache]:
    """Return an isolated class, for Django, which takes backends by dotted path."""
    try:
        return _classes[name]
    except KeyError:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg) from None


class _Isolated(BaseCache):
    """The part that comes before the project's own backend class."""

    _alias: str

    def make_key(self, key: str, version: int | None = None) -> str:
        """Put the scope before what the project's prefix, version and KEY_FUNCTION make of a key."""
        made = f"{_scopes.get(self._alias, _scope)}:{super().make_key(key, version)}"
        if len(made) <= LONGEST_KEY:
            return made
        # It fits without the scope, perhaps: then it must fit with it.
        return f"{made[: 2 * SCOPE_BYTES]}:{blake2b(made.encode('utf-8', 'surrogatepass')).hexdigest()}"

    def clear(self) -> None:
        """Forget what this test has stored, and leave alone what others have on the server."""
        _scopes[self._alias] = token_hex(SCOPE_BYTES)
