"""Django's test runner with isolated caches: a fresh scope for each test, in series and in parallel."""

import unittest
import warnings
from argparse import ArgumentParser
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from django.test.runner import DiscoverRunner, ParallelTestSuite, RemoteTestRunner

from cachedeco.runtime.validation import MODES, ModeName
from cachedeco.testing.isolation import fresh_scope, isolated
from cachedeco.testing.modes import cache_mode


class FreshScopes:
    """
    The part of a test result that gives each test, and whatever runs between two tests, empty caches.

    No subclass of unittest's: some runners have results that only behave like one.
    """

    def startTest(self, test: unittest.TestCase) -> None:  # noqa: N802 -- unittest's name
        """Let the test see nothing that its class has cached."""
        super().startTest(test)  # type: ignore[misc] # of the class that this is derived with
        fresh_scope()

    def stopTest(self, test: unittest.TestCase) -> None:  # noqa: N802 -- unittest's name
        """Let nothing after it see what the test has cached."""
        super().stopTest(test)  # type: ignore[misc] # as above
        fresh_scope()

    def _setupStdout(self) -> None:  # noqa: N802 -- unittest's name
        """Let each setUpClass, and its like, see nothing of the one before: the only call between two of them."""
        if hasattr(super(), "_setupStdout"):  # private to unittest, which can do without
            super()._setupStdout()  # type: ignore[misc] # as above
        fresh_scope()


def with_fresh_scopes(base: type[Any]) -> type[Any]:
    """Return the class derived from one of results."""
    return type(f"FreshScopes{base.__name__}", (FreshScopes, base), {})


@contextmanager
def fresh_scopes_in(suite: unittest.TestSuite) -> Generator[list[object]]:
    """
    Give each test of a suite a fresh scope, whatever result the suite is run with in the block.

    The suite and the result are left as they were found. The list is of the results that the suite has met.
    """
    met: list[object] = []
    suite_run: Any = suite.run

    def run(result: Any, *args: Any) -> Any:
        met.append(result)
        found = type(result)
        result.__class__ = with_fresh_scopes(found)
        try:
            return suite_run(result, *args)
        finally:
            result.__class__ = found

    suite.run = run  # type: ignore[assignment,method-assign] # of this one alone: every runner calls it with its result
    try:
        yield met
    finally:
        del suite.run


class IsolatedRemoteRunner:
    """
    What runs tests in a worker of `--parallel`: the project's own runner, with isolated caches.

    A forked worker has inherited the isolation and a spawned one has not, so each sees to it by itself.
    """

    def __init__(self, base: type[RemoteTestRunner], mode: ModeName | None, **options: Any) -> None:
        """Prepare the project's runner."""
        self._runner = base(**options)
        self._mode: ModeName | None = mode

    def run(self, test: unittest.TestSuite) -> Any:
        """Run one class's tests."""
        with isolated(), cache_mode(self._mode), fresh_scopes_in(test):
            return self._runner.run(test)


class IsolatedCacheMixin:
    """
    Isolate the caches in a test runner that the project has already: put this before its class.

    ::

        class Runner(IsolatedCacheMixin, OurRunner): ...
    """

    #: The mode for the run; None leaves it to the settings. `--cache-mode` on the command line comes first.
    cache_mode: ModeName | None = None
    _isolates = False

    def __init__(self, *args: Any, cache_mode: ModeName | None = None, **kwargs: Any) -> None:
        """Take the command line's choice."""
        super().__init__(*args, **kwargs)
        self.cache_mode = cache_mode or self.cache_mode

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        """Add `--cache-mode`."""
        super().add_arguments(parser)  # type: ignore[misc] # of the class that this is mixed into
        parser.add_argument("--cache-mode", choices=MODES, help="Runs all tests with cachedeco in this mode.")

    def run_tests(self, test_labels: Sequence[str], **kwargs: Any) -> int:
        """Run the tests with isolated caches, and leave the caches as they were found, whatever happens."""
        with isolated(), cache_mode(self.cache_mode):
            failures: int = super().run_tests(test_labels, **kwargs)  # type: ignore[misc] # as above
        if not self._isolates:
            name = type(self).__name__
            msg = f"{name} doesn't run the suite that run_suite() is given: its tests see one another's values."
            warnings.warn(msg, RuntimeWarning, stacklevel=2)
        return failures

    def build_suite(self, *args: Any, **kwargs: Any) -> unittest.TestSuite:
        """Isolate the workers too, if there are to be any."""
        suite: unittest.TestSuite = super().build_suite(*args, **kwargs)  # type: ignore[misc] # as above
        if isinstance(suite, ParallelTestSuite):
            remote: Any = partial(IsolatedRemoteRunner, suite.runner_class, self.cache_mode)
            suite.runner_class = remote
        return suite

    def run_suite(self, suite: unittest.TestSuite, **kwargs: Any) -> Any:
        """Give each test a fresh scope, whatever result the project's runner runs the suite with."""
        with fresh_scopes_in(suite) as met:
            result = super().run_suite(suite, **kwargs)  # type: ignore[misc] # as above
        self._isolates = bool(met)
        return result


class IsolatedCacheRunner(IsolatedCacheMixin, DiscoverRunner):
    """
    Django's runner, where no test meets a value from outside it.

    ::

        TEST_RUNNER = "cachedeco.testing.IsolatedCacheRunner"
    """
