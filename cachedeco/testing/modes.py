"""The mode of a test, a test class or a run: for all threads of the process, as a test may have several."""

from typing import Any

from django.conf import settings
from django.test.utils import TestContextDecorator, override_settings

from cachedeco.conf import ModeName


class cache_mode(TestContextDecorator):  # noqa: N801 -- reads as override_settings does
    """
    Put a mode in force for a test, a test class or a block, in every thread of the process.

    ::

        @cache_mode("off")
        class ClubPageTests(TestCase): ...

    `cachedeco.mode()` is for code, and concerns one thread or task; this is `override_settings` for one key of
    `CACHEDECO`. None changes nothing.
    """

    def __init__(self, name: ModeName | None) -> None:
        """Remember the mode; nothing is in force until the block, or the test, begins."""
        super().__init__()
        self._name = name
        self._overrides: list[override_settings] = []

    def enable(self) -> None:
        """Put the mode in force."""
        changed: dict[str, Any] = {} if self._name is None else {"MODE": self._name}
        override = override_settings(CACHEDECO={**getattr(settings, "CACHEDECO", {}), **changed})
        override.enable()
        self._overrides.append(override)

    def disable(self) -> None:
        """Leave what was found."""
        self._overrides.pop().disable()
