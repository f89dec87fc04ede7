"""A test that switches the cache on while nothing isolates the caches: isolate it, or refuse it."""

import os
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

from cachedeco.runtime import modes
from cachedeco.storage.connections import is_isolated

_mode: object = None  # of the settings, before they change


def start() -> None:
    """Isolate the blocks of `mode()` in tests from now on, and watch `override_settings`."""
    global _mode  # noqa: PLW0603 -- one for the process
    _mode = _mode_of_settings()
    modes.isolate_with(_isolate)
    setting_changed.connect(refuse_switch, dispatch_uid=__name__)


def _isolate() -> Callable[[], None] | None:
    """Isolate for a block of `mode()` in a test, and return what ends it; None outside of tests."""
    if not _is_test():
        return None
    from cachedeco.testing.isolation import ensure_isolated  # imports what only tests need

    stack = ExitStack()
    stack.enter_context(ensure_isolated())
    return stack.close


def _is_test() -> bool:
    """Tell whether tests run: Django's set-up of tests has made the outbox for mail, or pytest names its test."""
    return hasattr(sys.modules.get("django.core.mail"), "outbox") or "PYTEST_CURRENT_TEST" in os.environ


def refuse_switch(*, setting: str, enter: bool, **_: object) -> None:
    """
    Refuse an `override_settings` that switches cachedeco on, while nothing isolates the caches.

    A block of settings may stand for many tests, as on a class: isolated as a whole, they would see one another's
    values.

    Raises:
        ImproperlyConfigured: It does. Django restores the settings then.
    """
    global _mode
    if setting != "CACHEDECO":
        return
    before, _mode = _mode, _mode_of_settings()
    if enter and before == "off" and _mode == "on" and not is_isolated():
        msg = (
            "CACHEDECO, as overridden here, switches cachedeco on, and nothing isolates the caches: tests would be "
            "served what other tests, or other users of the server, have stored. Use cachedeco.testing.cache_mode('on')"
            " instead, which isolates each test; or isolate the run, by TEST_RUNNER = "
            "'cachedeco.testing.IsolatedCacheRunner', or by cachedeco_tests = isolated for pytest. To change only "
            "another setting, leave 'MODE': 'off' in the dict."
        )
        raise ImproperlyConfigured(msg)


def _mode_of_settings() -> object:
    """Return the mode in the settings as they are now, which cachedeco may not have parsed yet."""
    given = getattr(django_settings, "CACHEDECO", {})
    return given.get("MODE", "on") if isinstance(given, Mapping) else None
