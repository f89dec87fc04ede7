"""Set the mode of a test, a test class or a run, for all threads of the process."""

from collections.abc import Callable
from contextlib import ExitStack
from functools import wraps
from typing import Any, TypeVar
from unittest import TestCase

from django.conf import settings
from django.test.utils import TestContextDecorator, override_settings

from cachedeco.runtime.blocks import refuse_generator
from cachedeco.runtime.modes import mode
from cachedeco.runtime.reprs import repr_of
from cachedeco.runtime.validation import ModeName
from cachedeco.testing.isolation import ensure_isolated

F = TypeVar("F", bound=Callable[..., Any])


class cache_mode(TestContextDecorator):  # noqa: N801 -- reads as override_settings does
    """
    Set the mode for a test, a test class or a block, in every thread of the process.

    ::

        @cache_mode("off")
        class ClubPageTests(TestCase): ...

    `cachedeco.mode()` is for code, and affects one thread or task; this is `override_settings` for one key of
    `CACHEDECO`. The mode of a test wins over that of its class, and that over the base class's. On a class it applies
    from `setUp` on, not in `setUpTestData`. None changes nothing.

    Where no runner isolates the caches, the modes "on" and "bypass" isolate them, for each test or block anew.

    Raises:
        ValueError: The name is no mode.
    """

    def __init__(self, name: ModeName | None) -> None:
        """Store the mode; it applies when the block or the test begins."""
        super().__init__()
        if name is not None:
            mode(name)  # refuses a wrong name now, not when the test runs
        self._name = name
        self._entered: list[ExitStack] = []

    def enable(self) -> None:
        """Set the mode."""
        with ExitStack() as stack:
            if self._name is not None:
                if self._name != "off":
                    stack.enter_context(ensure_isolated())
                changed = {**getattr(settings, "CACHEDECO", {}), "MODE": self._name}
                stack.enter_context(override_settings(CACHEDECO=changed))
            self._entered.append(stack.pop_all())

    def disable(self) -> None:
        """Restore the mode from before."""
        self._entered.pop().close()

    def decorate_callable(self, func: F) -> F:
        """
        Set the mode for each call of a function, async or not.

        Raises:
            TypeError: It is a generator function, as a fixture of pytest's may be, whose body runs after the block.
        """
        refuse_generator(func)
        return super().decorate_callable(func)

    def decorate_class(self, cls: type) -> type:
        """Set the mode for each test of a class, instead of the mode of its base class."""
        if not issubclass(cls, TestCase):
            msg = f"{repr_of(cls)} is no unittest.TestCase; mark a pytest class with @pytest.mark.cache_mode(...)."
            raise TypeError(msg)
        cls.cachedeco_mode = self  # type: ignore[attr-defined] # ours
        # Not setUp, which Django's decorators wrap: a subclass whose setUp() does not call super() would lose the mode.
        cls.run = _run_in_mode(cls, "run")  # type: ignore[method-assign]
        cls.debug = _run_in_mode(cls, "debug")  # type: ignore[method-assign]
        return cls


def _run_in_mode(cls: type[TestCase], name: str) -> Callable[..., Any]:
    """Return a method of a class that runs in the mode of the test's own class, or of its nearest base."""
    own = vars(cls).get(name)

    @wraps(getattr(cls, name))
    def method(test: Any, *args: Any, **kwargs: Any) -> Any:
        # Looked up in the test's class: a subclass may have another base in between, with asyncio's run().
        run = own.__get__(test) if own else getattr(super(cls, test), name)
        with type(test).cachedeco_mode:
            return run(*args, **kwargs)

    return method
