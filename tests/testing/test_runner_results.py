"""The runner mixin over runners that make their result, their suite or their whole run in a way of their own."""

import unittest
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from django.core.cache import cache
from django.core.exceptions import ImproperlyConfigured
from django.test.runner import DebugSQLTextTestResult, PDBDebugResult

from cachedeco.testing import IsolatedCacheMixin, fresh_scope
from tests.testing import cases
from tests.testing.cases import BareRunner, Runner, run, seen

TEST = [("setUp", None), ("test", "setUp"), ("tearDown", "test")]


@pytest.fixture(autouse=True)
def _nothing_seen() -> Iterator[None]:
    """Begin with nothing seen, in a cache with a value in it, which must stay."""
    seen.clear()
    cache.set("key", "from outside")
    yield
    assert "from outside" == cache.get("key")


class OwnRunner(BareRunner):
    """A runner that makes its result by itself, as TeamCity's does."""

    def run_suite(self, suite: unittest.TestSuite, **_: Any) -> Any:
        """Run the suite without asking the runner for a class of results."""
        return unittest.TextTestRunner(verbosity=0).run(suite)


class NoResultClass(BareRunner):
    """A runner whose test runner chooses the class of results, as that of unittest-xml-reporting does."""

    def get_resultclass(self) -> None:
        """Leave it to the test runner, which has no attribute that says it either."""

    class test_runner(unittest.TextTestRunner):  # noqa: N801  Django's name
        """A test runner that takes no class."""

        resultclass = None  # type: ignore[assignment]  what the test is about

        def _makeResult(self) -> unittest.TextTestResult:  # noqa: N802  unittest's name
            return unittest.TextTestResult(self.stream, self.descriptions, self.verbosity)


class Results:
    """A result that is none of unittest's classes."""

    shouldStop = False  # noqa: N815  unittest's name
    failures = errors = unexpectedSuccesses = ()  # noqa: N815  unittest's name

    def __getattr__(self, name: str) -> Any:
        """Take part in everything, except what unittest asks for by chance."""
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda *_: None

    def startTest(self, test: unittest.TestCase) -> None:  # noqa: N802  unittest's name
        """Note it."""
        seen.append(("told", test.id().rpartition(".")[2]))

    def stopTest(self, test: unittest.TestCase) -> None:  # noqa: N802  unittest's name
        """Have nothing to do."""


class OwnResults(BareRunner):
    """A runner with a result that only behaves like one."""

    def run_suite(self, suite: unittest.TestSuite, **_: Any) -> Any:
        """Run the suite."""
        result: Any = Results()
        suite.run(result)
        return result


def mixed(base: type[BareRunner]) -> type[Any]:
    """Return the runner with the mixin before it."""
    return type(f"Mixed{base.__name__}", (IsolatedCacheMixin, base), {})


@pytest.mark.parametrize("base", [OwnRunner, NoResultClass, OwnResults])
def test_runner_that_makes_its_own_result_is_isolated(base: type[BareRunner]) -> None:
    """With each maker of the result, no test sees what another place has cached."""
    failures, output = run(cases.FirstTests, cases.SecondTests, runner=mixed(base))

    assert 0 == failures, output
    assert [*TEST, *TEST, *TEST, *TEST] == [each for each in seen if each[0] in {"setUp", "test", "tearDown"}]


def test_result_of_no_class_of_unittests_is_told_as_ever() -> None:
    """A result that only behaves like unittest's hears of each test, once."""
    run(cases.FirstTests, runner=mixed(OwnResults))

    assert [("told", "test_one"), ("told", "test_two")] == [each for each in seen if each[0] == "told"]


def test_setups_of_classes_are_isolated_over_an_own_result() -> None:
    """Neither does a class's fixture see what another one's has cached."""
    run(cases.FirstTests, cases.SecondTests, runner=mixed(OwnRunner))

    fixtures = [each for each in seen if each[0].endswith("Class")]
    assert 4 == len(fixtures)
    assert {None} == {found for _, found in fixtures}


@pytest.mark.parametrize("base", [OwnRunner, NoResultClass])
def test_own_result_tells_failures(base: type[BareRunner]) -> None:
    """Failures are counted and told, and what they have cached is not seen by the next test."""
    failures, output = run(cases.FailingTests, runner=mixed(base))

    assert 2 == failures
    assert "AssertionError: the reason" in output
    assert [None] == seen


class Keeping(BareRunner):
    """A runner that keeps its result."""

    def suite_result(self, suite: unittest.TestSuite, result: Any, **kwargs: Any) -> int:
        """Note the result and what the suite has of its own."""
        seen.append((type(result), "run" in vars(suite)))
        return super().suite_result(suite, result, **kwargs)


def test_result_and_suite_are_as_they_were_when_the_tests_have_run() -> None:
    """The project gets back a result of its class, and a suite that nothing has been added to."""
    run(cases.ModeTests, runner=mixed(Keeping))

    assert (unittest.TextTestResult, False) == seen[-1]


@pytest.mark.parametrize(
    ("option", "wanted"), [("debug_sql", DebugSQLTextTestResult), ("pdb", PDBDebugResult), ("", type(None))]
)
def test_result_class_is_djangos_to_choose(option: str, wanted: type) -> None:
    """--debug-sql and --pdb choose the class as ever, and nothing else does."""
    chosen = Runner(enable_faulthandler=False, **({option: True} if option else {})).get_resultclass()

    assert chosen is (None if wanted is type(None) else wanted)


class Elsewhere(BareRunner):
    """A runner that hands all to another tool."""

    def run_tests(self, _test_labels: Sequence[str], **_: object) -> int:
        """Run none of them here."""
        return 0


class OneByOne(BareRunner):
    """A runner that takes the suite apart."""

    def run_suite(self, suite: unittest.TestSuite, **_: object) -> unittest.TestResult:
        """Run each test by itself."""
        result = unittest.TestResult()
        for test in suite:
            test(result)
        return result


@pytest.mark.parametrize("base", [Elsewhere, OneByOne])
def test_runner_that_cannot_be_isolated_is_refused(base: type[BareRunner]) -> None:
    """A runner that doesn't run the suite it is given shares one scope among its tests: an error with the remedy."""
    with pytest.raises(ImproperlyConfigured, match=rf"Mixed{base.__name__} doesn't run the suite.*fresh_scope\(\)"):
        run(cases.ModeTests, runner=mixed(base))


class WithScopes(OneByOne):
    """A runner that takes the suite apart, and isolates its tests by itself."""

    def run_suite(self, suite: unittest.TestSuite, **_: object) -> unittest.TestResult:
        """Begin a scope before each test."""
        result = unittest.TestResult()
        for test in suite:
            fresh_scope()
            test(result)
        return result


def test_runner_that_begins_a_scope_for_each_test_is_isolated() -> None:
    """What the error says to do is enough."""
    failures, _ = run(cases.FirstTests, runner=mixed(WithScopes))

    assert (0, [*TEST, *TEST]) == (failures, [each for each in seen if each[0] in {"setUp", "test", "tearDown"}])
