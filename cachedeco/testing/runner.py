"""Django's test runner with isolated caches: a fresh scope for each test, in series and in parallel."""

import unittest
from argparse import ArgumentParser
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.test.runner import DiscoverRunner, ParallelTestSuite, RemoteTestRunner

from cachedeco.runtime.validation import MODES, ModeName
from cachedeco.testing import isolation
from cachedeco.testing.isolation import fresh_scope, isolated
from cachedeco.testing.modes import cache_mode


class FreshScopes:
    """
    A mixin for test results that gives each test, and all code between two tests, empty caches.

    No subclass of unittest's: some runners have results that only behave like one.
    """

    def startTest(self, test: unittest.TestCase) -> None:  # noqa: N802 -- unittest's name
        """Hide the entries of the test class from the test."""
        super().startTest(test)  # type: ignore[misc] # of the class that this is mixed into
        fresh_scope()

    def stopTest(self, test: unittest.TestCase) -> None:  # noqa: N802 -- unittest's name
        """Hide the entries of the test from all code after it."""
        super().stopTest(test)  # type: ignore[misc] # as above
        fresh_scope()

    def _setupStdout(self) -> None:  # noqa: N802 -- unittest's name
        """Give each setUpClass and setUpModule empty caches: unittest calls this method before each of them."""
        if hasattr(super(), "_setupStdout"):  # private to unittest, and may disappear
            super()._setupStdout()  # type: ignore[misc] # as above
        fresh_scope()


def with_fresh_scopes(base: type[Any]) -> type[Any]:
    """Return a class of test results with the mixin."""
    return type(f"FreshScopes{base.__name__}", (FreshScopes, base), {})


@contextmanager
def fresh_scopes_in(suite: unittest.TestSuite) -> Generator[list[object]]:
    """
    Give each test of a suite a fresh scope, with any result that the suite runs with in the block.

    Afterwards the suite and the result are as before. Gives the list of the results that the suite has run with.
    """
    results: list[object] = []
    suite_run: Any = suite.run

    def run(result: Any, *args: Any) -> Any:
        results.append(result)
        found = type(result)
        result.__class__ = with_fresh_scopes(found)
        try:
            return suite_run(result, *args)
        finally:
            result.__class__ = found

    suite.run = run  # type: ignore[assignment,method-assign] # of this suite only: every runner calls it with its result
    try:
        yield results
    finally:
        del suite.run


class IsolatedRemoteRunner:
    """
    Run tests in a worker of `--parallel`: the project's own runner, with isolated caches.

    A forked worker inherits the isolation and a spawned one does not, so each worker isolates its caches itself.
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

    #: The mode for the run; None leaves it to the settings. `--cache-mode` on the command line wins.
    cache_mode: ModeName | None = None
    _isolates = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """
        Refuse a runner whose methods Python finds before those of the mixin.

        Raises:
            TypeError: The mixin stands behind the runner.
        """
        super().__init_subclass__(**kwargs)
        place = cls.__mro__.index(IsolatedCacheMixin)
        before, behind = cls.__mro__[:place], cls.__mro__[place + 1 :]
        runners = [each for each in before if "run_tests" in vars(each) and not issubclass(each, IsolatedCacheMixin)]
        if runners and not any("run_tests" in vars(each) for each in behind):
            first = next(each.__name__ for each in cls.__bases__ if not issubclass(each, IsolatedCacheMixin))
            msg = f"{cls.__name__} isolates nothing: write class {cls.__name__}(IsolatedCacheMixin, {first})."
            raise TypeError(msg)

    def __init__(self, *args: Any, cache_mode: ModeName | None = None, **kwargs: Any) -> None:
        """Store the mode of the command line."""
        super().__init__(*args, **kwargs)
        self.cache_mode = cache_mode or self.cache_mode

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        """Add `--cache-mode`."""
        super().add_arguments(parser)  # type: ignore[misc] # of the class that this is mixed into
        parser.add_argument("--cache-mode", choices=MODES, help="Runs all tests with cachedeco in this mode.")

    def run_tests(self, test_labels: Sequence[str], **kwargs: Any) -> int:
        """
        Run the tests with isolated caches, and restore the caches afterwards, also after an error.

        Raises:
            ImproperlyConfigured: The runner has run the tests without isolating them from one another.
        """
        with isolated(), cache_mode(self.cache_mode):
            before = isolation._scopes  # noqa: SLF001 -- ours
            failures: int = super().run_tests(test_labels, **kwargs)  # type: ignore[misc] # as above
            has_fresh_scopes = isolation._scopes is not before  # noqa: SLF001 -- ours
        if not self._isolates and not has_fresh_scopes:
            msg = (
                f"{type(self).__name__} doesn't run the suite that run_suite() is given: its tests have seen one "
                "another's values. Run that suite, or call cachedeco.testing.fresh_scope() before each test."
            )
            raise ImproperlyConfigured(msg)
        return failures

    def build_suite(self, *args: Any, **kwargs: Any) -> unittest.TestSuite:
        """Isolate the workers of `--parallel`, too."""
        suite: unittest.TestSuite = super().build_suite(*args, **kwargs)  # type: ignore[misc] # as above
        if isinstance(suite, ParallelTestSuite):
            remote: Any = partial(IsolatedRemoteRunner, suite.runner_class, self.cache_mode)
            suite.runner_class = remote
        return suite

    def run_suite(self, suite: unittest.TestSuite, **kwargs: Any) -> Any:
        """Give each test a fresh scope, with any result class of the project's runner."""
        with fresh_scopes_in(suite) as results:
            result = super().run_suite(suite, **kwargs)  # type: ignore[misc] # as above
        self._isolates = bool(results)
        return result


class IsolatedCacheRunner(IsolatedCacheMixin, DiscoverRunner):
    """
    Django's test runner with isolated caches: no test reads an entry of another test.

    ::

        TEST_RUNNER = "cachedeco.testing.IsolatedCacheRunner"
    """
