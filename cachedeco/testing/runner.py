"""Django's test runner with isolated caches: a fresh scope for each test, in series and in parallel."""

import unittest
from argparse import ArgumentParser
from collections.abc import Sequence
from functools import partial
from typing import Any

from django.test.runner import DiscoverRunner, ParallelTestSuite, RemoteTestRunner

from cachedeco.conf import MODES, ModeName
from cachedeco.testing.isolation import fresh_scope, isolated
from cachedeco.testing.modes import cache_mode


class FreshScopes(unittest.TestResult):
    """The part of a test result that gives each test, and whatever runs between two tests, empty caches."""

    def startTest(self, test: unittest.TestCase) -> None:  # noqa: N802 -- unittest's name
        """Let the test see nothing that its class has cached."""
        super().startTest(test)
        fresh_scope()

    def stopTest(self, test: unittest.TestCase) -> None:  # noqa: N802 -- unittest's name
        """Let nothing after it see what the test has cached."""
        super().stopTest(test)
        fresh_scope()

    def _setupStdout(self) -> None:  # noqa: N802 -- unittest's name
        """Let each setUpClass, and its like, see nothing of the one before: the only call between two of them."""
        super()._setupStdout()  # type: ignore[misc] # not in the stubs
        fresh_scope()


def _with_fresh_scopes(base: type[Any]) -> type[Any]:
    return type(f"FreshScopes{base.__name__}", (FreshScopes, base), {})


class IsolatedRemoteRunner:
    """
    What runs tests in a worker of `--parallel`: the project's own runner, with isolated caches.

    A forked worker has inherited the isolation and a spawned one has not, so each sees to it by itself.
    """

    def __init__(self, base: type[RemoteTestRunner], mode: ModeName | None, **options: Any) -> None:  # noqa: ANN401 -- Django's
        """Prepare the project's runner."""
        self._runner = base(**options)
        self._runner.resultclass = _with_fresh_scopes(self._runner.resultclass)
        self._mode: ModeName | None = mode

    def run(self, test: unittest.TestSuite) -> Any:  # noqa: ANN401 -- the project's result
        """Run one class's tests."""
        with isolated(), cache_mode(self._mode):
            return self._runner.run(test)


class IsolatedCacheMixin:
    """
    Isolate the caches in a test runner that the project has already: put this before its class.

    ::

        class Runner(IsolatedCacheMixin, OurRunner): ...
    """

    #: The mode for the run; None leaves it to the settings. `--cache-mode` on the command line comes first.
    cache_mode: ModeName | None = None

    def __init__(self, *args: Any, cache_mode: ModeName | None = None, **kwargs: Any) -> None:  # noqa: ANN401 -- as the base
        """Take the command line's choice."""
        super().__init__(*args, **kwargs)
        self.cache_mode = cache_mode or self.cache_mode

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        """Add `--cache-mode`."""
        super().add_arguments(parser)  # type: ignore[misc] # of the class that this is mixed into
        parser.add_argument("--cache-mode", choices=MODES, help="Runs all tests with cachedeco in this mode.")

    def run_tests(self, test_labels: Sequence[str], **kwargs: Any) -> int:  # noqa: ANN401 -- as the base
        """Run the tests with isolated caches, and leave the caches as they were found, whatever happens."""
        with isolated(), cache_mode(self.cache_mode):
            failures: int = super().run_tests(test_labels, **kwargs)  # type: ignore[misc] # as above
            return failures

    def build_suite(self, *args: Any, **kwargs: Any) -> unittest.TestSuite:  # noqa: ANN401 -- as the base
        """Isolate the workers too, if there are to be any."""
        suite: unittest.TestSuite = super().build_suite(*args, **kwargs)  # type: ignore[misc] # as above
        if isinstance(suite, ParallelTestSuite):
            remote: Any = partial(IsolatedRemoteRunner, suite.runner_class, self.cache_mode)
            suite.runner_class = remote
        return suite

    def get_resultclass(self) -> Any:  # noqa: ANN401 -- as the base
        """Give each test a fresh scope, whatever class keeps the results."""
        chosen = super().get_resultclass()  # type: ignore[misc] # as above
        return _with_fresh_scopes(chosen or self.test_runner.resultclass)  # type: ignore[attr-defined] # as above


class IsolatedCacheRunner(IsolatedCacheMixin, DiscoverRunner):
    """
    Django's runner, where no test meets a value from outside it.

    ::

        TEST_RUNNER = "cachedeco.testing.IsolatedCacheRunner"
    """
