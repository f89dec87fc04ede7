"""The mode of a test, a test class or a run: for all threads of the process, as a test may have several."""

from collections.abc import Callable
from functools import wraps
from typing import Any
from unittest import TestCase

from django.conf import settings
from django.test.utils import TestContextDecorator, override_settings

from cachedeco.runtime.modes import mode
from cachedeco.runtime.validation import ModeName


class cache_mode(TestContextDecorator):  # noqa: N801 -- reads as override_settings does
    """
    Put a mode in force for a test, a test class or a block, in every thread of the process.

    ::

        @cache_mode("off")
        class ClubPageTests(TestCase): ...

    `cachedeco.mode()` is for code, and concerns one thread or task; this is `override_settings` for one key of
    `CACHEDECO`. The nearest counts: of a test, its class and the class's base, the test's own. On a class it is in
    force from `setUp` on, not in `setUpTestData`. None changes nothing.

    Raises:
        ValueError: The name is none of the three.
    """

    def __init__(self, name: ModeName | None) -> None:
        """Remember the mode; nothing is in force until the block, or the test, begins."""
        super().__init__()
        if name is not None:
            mode(name)  # refuses a wrong name here, and not when the test is run
        self._name = name
        self._overrides: list[override_settings] = []

    def enable(self) -> None:
        """Put the mode in force."""
        changed: dict[str, Any] = {}
        if self._name is not None:
            changed["CACHEDECO"] = {**getattr(settings, "CACHEDECO", {}), "MODE": self._name}
        override = override_settings(**changed)
        override.enable()
        self._overrides.append(override)

    def disable(self) -> None:
        """Leave what was found."""
        self._overrides.pop().disable()

    def decorate_class(self, cls: type) -> type:
        """Put the mode in force for each test of a class, rather than that of the class's base."""
        if not issubclass(cls, TestCase):
            msg = f"{cls!r} is no unittest.TestCase; mark a class of pytest's with @pytest.mark.cache_mode(...)."
            raise TypeError(msg)
        cls.cachedeco_mode = self  # type: ignore[attr-defined] # ours
        # Not setUp, as Django's decorators do: a subclass that has its own and leaves out super() would lose the mode.
        cls.run = _in_mode(cls, "run")  # type: ignore[method-assign]
        cls.debug = _in_mode(cls, "debug")  # type: ignore[method-assign]
        return cls


def _in_mode(cls: type[TestCase], name: str) -> Callable[..., Any]:
    """Return a class's method such that it runs in the mode of the test's class, the nearest there is."""
    own = vars(cls).get(name)

    @wraps(getattr(cls, name))
    def method(test: Any, *args: Any, **kwargs: Any) -> Any:
        # Not what the class has inherited: a subclass may have another base, in between, whose run() is asyncio's.
        run = own.__get__(test) if own else getattr(super(cls, test), name)
        with type(test).cachedeco_mode:
            return run(*args, **kwargs)

    return method
