"""
Isolation without clearing: whatever goes through Django's caches gets keys that nobody else has.

While isolation is installed, each cache that Django makes is of a class derived from its own, which puts the *scope*
before every key. A scope is a random text. A fresh one for each test is all that it takes to begin with an empty
cache: nothing is cleared, deleted or scanned for, and nothing of anybody else's can be met or harmed.

The scope belongs to the process, not to a thread: the server thread of `LiveServerTestCase` and the tasks of an async
test must see what the test sees.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
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
_installed = 0


def fresh_scope() -> None:
    """
    Begin with caches in which nothing is, for every thread of this process.

    What was stored before is still on the server, under keys that nobody will ask for again.
    """
    global _scope  # noqa: PLW0603 -- one for the process, as said above
    _scope = token_hex(SCOPE_BYTES)


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
        conf.forget()


@contextmanager
def isolated() -> Iterator[None]:
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
        caches.settings = {alias: _covered(options) for alias, options in caches.settings.items()}
        conf.forget()


def _covered(options: dict[str, Any]) -> dict[str, Any]:
    return {**options, "BACKEND": f"{__name__}.{options['BACKEND'].replace('.', '_of_')}"}
