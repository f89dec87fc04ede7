"""Django's test runner with isolated caches, over any runner that a project has."""

import unittest
from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.cache import cache, caches
from django.test.runner import ParallelTestSuite, RemoteTestResult, RemoteTestRunner

from cachedeco.testing import IsolatedCacheMixin, isolated
from cachedeco.testing.runner import IsolatedRemoteRunner
from tests.testing import cases
from tests.testing.cases import BareRunner, Runner, names_of, run, seen


@pytest.fixture(autouse=True)
def _nothing_seen() -> Iterator[None]:
    """Begin with nothing seen, in a cache with a value in it, which must stay."""
    seen.clear()
    cache.set("key", "from outside")
    found = caches.settings, type(caches["default"])
    yield
    assert "from outside" == cache.get("key")
    assert found == (caches.settings, type(caches["default"]))


TEST = [("setUp", None), ("test", "setUp"), ("tearDown", "test")]


def test_no_test_sees_what_another_place_has_cached() -> None:
    """A test sees what its own setUp has cached; nothing of its class, of another class, or of their fixtures."""
    failures, output = run(cases.FirstTests, cases.SecondTests)

    assert 0 == failures, output
    assert [
        ("first setUpClass", None),
        *TEST,
        *TEST,
        ("first tearDownClass", None),
        ("second setUpClass", None),
        *TEST,
        *TEST,
        ("second tearDownClass", None),
    ] == seen


def test_django_runner_shows_all_of_that() -> None:
    """Without isolation each place sees what the one before it has left."""
    run(cases.FirstTests, runner=BareRunner)

    assert ("first setUpClass", "from outside") == seen[0]
    assert [("setUp", "first setUpClass"), ("test", "setUp")] == seen[1:3]
    cache.set("key", "from outside")


def test_failures_keep_their_tracebacks_and_nothing_else() -> None:
    """A failure and an error are told as ever; what their tests have cached is not seen by the next."""
    failures, output = run(cases.FailingTests)

    assert 2 == failures
    assert 'self.fail("the reason")' in output
    assert "AssertionError: the reason" in output
    assert "ZeroDivisionError" in output
    assert [None] == seen


def test_failfast_stops_after_the_first_failure() -> None:
    """--failfast works."""
    failures, _ = run(cases.FailingTests, failfast=True)

    assert (1, []) == (failures, seen)


def test_interruption_leaves_no_trace() -> None:
    """Control-C in a test gets through, and the caches are as before (the fixture looks)."""
    with pytest.raises(KeyboardInterrupt):
        run(cases.InterruptedTests)


def test_debug_sql_prints_failures() -> None:
    """A result class with a way of its own to print failures prints them."""
    failures, output = run(cases.FailingTests, debug_sql=True)

    assert 2 == failures
    assert "AssertionError: the reason" in output


class _OwnResult(unittest.TextTestResult):
    """A project's result class."""

    def addSuccess(self, test: unittest.TestCase) -> None:  # noqa: N802  unittest's name
        """Note it."""
        super().addSuccess(test)
        seen.append("told to the project's result")


class _OwnTestRunner(unittest.TextTestRunner):
    """A project's test runner, as unittest means it."""

    resultclass = _OwnResult


class _OwnRunner(BareRunner):
    """A project's runner with options of its own."""

    test_runner = _OwnTestRunner

    def __init__(self, *args: Any, colour: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        seen.append(colour)

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        """Add one."""
        super().add_arguments(parser)
        parser.add_argument("--colour")


class _Mixed(IsolatedCacheMixin, _OwnRunner):
    """The same, isolated."""

    cache_mode = "bypass"


def test_mixin_isolates_a_projects_own_runner() -> None:
    """The project's options, its test runner and its result class are used, and its tests isolated, in its mode."""
    failures, output = run(cases.FirstTests, cases.ModeTests, runner=_Mixed, colour="red")

    told = "told to the project's result"
    assert 0 == failures, output
    assert "red" == seen[0]
    assert 4 == seen.count(told)
    assert {"bypass", "on"} == {each for each in seen if isinstance(each, str)} - {"red", told}
    assert TEST + TEST == [each for each in seen if each[0] in {"setUp", "test", "tearDown"}]


@pytest.mark.parametrize("runner", [BareRunner, _OwnRunner])
def test_mixin_behind_the_runner_is_refused(runner: type[BareRunner]) -> None:
    """Python would find none of the mixin's methods, and nothing would be isolated."""
    with pytest.raises(
        TypeError, match=rf"isolates nothing: write class Late\(IsolatedCacheMixin, {runner.__name__}\)"
    ):
        type("Late", (runner, IsolatedCacheMixin), {})


def test_mixin_of_a_project_may_stand_between() -> None:
    """A mixin without a runner is no fault, and neither is one in front of ours."""

    class Timed:
        def run_tests(self, *args: Any, **kwargs: Any) -> Any:
            return super().run_tests(*args, **kwargs)  # type: ignore[misc]

    class Ours(IsolatedCacheMixin):
        cache_mode = "bypass"

    failures, output = run(cases.FirstTests, runner=type("Mixed", (Timed, Ours, BareRunner), {}))

    assert 0 == failures, output


def test_command_line_has_both_options() -> None:
    """--cache-mode is there beside the project's own."""
    parser = ArgumentParser()
    _Mixed.add_arguments(parser)

    options = parser.parse_args(["--colour", "red", "--cache-mode", "off"])

    assert ("red", "off") == (options.colour, options.cache_mode)


# --- parallel ---


class _OwnRemoteRunner(RemoteTestRunner):
    """A project's runner in the workers, which makes its result by itself."""

    def run(self, test: unittest.TestSuite) -> RemoteTestResult:
        """Run the tests."""
        result = RemoteTestResult()
        test.run(result)
        return result


class _OwnParallelSuite(ParallelTestSuite):
    """A project's parallel suite."""

    runner_class = _OwnRemoteRunner


class _ParallelRunner(Runner):
    """A runner with a parallel suite of the project's."""

    parallel_test_suite = _OwnParallelSuite


def worker(suite: unittest.TestSuite) -> Any:
    """Return the runner that a worker makes for itself."""
    return suite.runner_class(failfast=False, buffer=False)  # type: ignore[attr-defined]


@pytest.mark.parametrize("runner", [Runner, _ParallelRunner])
def test_workers_isolate_by_themselves(runner: type[Runner]) -> None:
    """What runs in a worker isolates, over the project's own, in the run's mode; events go back as ever."""
    suite = runner(parallel=2, cache_mode="off", enable_faulthandler=False, verbosity=0).build_suite(
        names_of(cases.FirstTests, cases.ModeTests)
    )
    results = [worker(suite).run(each) for each in suite]

    assert isinstance(suite, runner.parallel_test_suite)
    assert [*TEST, *TEST] == [each for each in seen if each[0] in {"setUp", "test", "tearDown"}]
    assert {"on", "off"} == {each for each in seen if isinstance(each, str)}
    assert all(isinstance(result, RemoteTestResult) for result in results)
    assert 4 == sum(name == "addSuccess" for result in results for name, *_ in result.events)


def test_suite_of_one_class_needs_no_workers() -> None:
    """A parallel run of one class is an ordinary one."""
    suite = Runner(parallel=2, enable_faulthandler=False, verbosity=0).build_suite(names_of(cases.FirstTests))

    assert not isinstance(suite, ParallelTestSuite)


def test_worker_that_has_inherited_the_isolation_has_scopes_of_its_own() -> None:
    """A forked worker begins inside its parent's isolation, and doesn't see the parent's values."""
    with isolated():
        cache.set("key", "the parent's")
        IsolatedRemoteRunner(RemoteTestRunner, None).run(
            unittest.defaultTestLoader.loadTestsFromTestCase(cases.FirstTests)
        )
        assert "the parent's" == cache.get("key")

    assert ("first setUpClass", None) == seen[0]
