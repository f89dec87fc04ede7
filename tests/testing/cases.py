"""Test classes for the tests of the test kit to run, and what runs them."""

import io
import unittest
from contextlib import redirect_stderr
from typing import Any

from django.core.cache import cache
from django.test import SimpleTestCase
from django.test.runner import DiscoverRunner

from cachedeco.runtime import modes
from cachedeco.testing import IsolatedCacheRunner, cache_mode

# What the tests have seen, in order.
seen: list[object] = []


class BareRunner(DiscoverRunner):
    """Django's runner without what the test session has set up already."""

    def setup_test_environment(self, **_: Any) -> None:
        """Leave it as it is."""

    def teardown_test_environment(self, **_: Any) -> None:
        """Leave it as it is."""

    def setup_databases(self, **_: Any) -> list[Any]:
        """Make none."""
        return []

    def teardown_databases(self, *_: Any, **__: Any) -> None:
        """Drop none."""

    def run_checks(self, _databases: object) -> None:
        """Check nothing."""


class Runner(IsolatedCacheRunner, BareRunner):
    """Ours."""


def look_and_leave(name: str) -> None:
    """Note what the place sees in the cache, and leave its name there."""
    seen.append((name, cache.get("key")))
    cache.set("key", name)


class FirstTests(unittest.TestCase):
    """Every place from which a test class can cache."""

    @classmethod
    def setUpClass(cls) -> None:
        """Cache."""
        look_and_leave("first setUpClass")

    def setUp(self) -> None:
        """Cache."""
        look_and_leave("setUp")

    def test_one(self) -> None:
        """Cache."""
        look_and_leave("test")

    def test_two(self) -> None:
        """Cache."""
        look_and_leave("test")

    def tearDown(self) -> None:
        """Cache."""
        look_and_leave("tearDown")

    @classmethod
    def tearDownClass(cls) -> None:
        """Cache."""
        look_and_leave("first tearDownClass")


class SecondTests(FirstTests):
    """Another class, whose fixtures run after those of the first."""

    @classmethod
    def setUpClass(cls) -> None:
        """Cache."""
        look_and_leave("second setUpClass")

    @classmethod
    def tearDownClass(cls) -> None:
        """Cache."""
        look_and_leave("second tearDownClass")


class FailingTests(unittest.TestCase):
    """Tests that don't pass, and one that would."""

    def test_a_fails(self) -> None:
        """Fail."""
        cache.set("key", "left behind")
        self.fail("the reason")

    def test_b_errs(self) -> None:
        """Err."""
        cache.set("key", "left behind")
        raise ZeroDivisionError

    def test_c_passes(self) -> None:
        """Look."""
        seen.append(cache.get("key"))


class InterruptedTests(unittest.TestCase):
    """The developer presses Control-C."""

    def test_interrupted(self) -> None:
        """Be interrupted."""
        raise KeyboardInterrupt


class ModeTests(SimpleTestCase):
    """Tests in the run's mode, and in others."""

    def test_mode_of_the_run(self) -> None:
        """Look."""
        seen.append(modes.current_mode())

    @cache_mode("on")
    def test_mode_of_its_own(self) -> None:
        """Look."""
        seen.append(modes.current_mode())


@cache_mode("off")
class OffTests(SimpleTestCase):
    """A class in a mode."""

    def test_mode_of_the_class(self) -> None:
        """Look."""
        seen.append(modes.current_mode())

    @cache_mode("bypass")
    async def test_mode_of_the_test(self) -> None:
        """Look."""
        seen.append(modes.current_mode())


@cache_mode("on")
class OnAgainTests(OffTests):
    """A class in a mode other than its base's."""


@cache_mode("off")
class InModeTests(unittest.TestCase):
    """A class in a mode."""

    def look(self, place: str) -> None:
        """Note the mode."""
        seen.append((place, modes.current_mode()))


class WithoutSuper(InModeTests):
    """A class with fixtures of its own, which leave out super()."""

    def setUp(self) -> None:
        """Look, and look again at the end."""
        self.addCleanup(self.look, "cleanup")
        self.look("setUp")

    def test_looks(self) -> None:
        """Look."""
        self.look("test")

    def tearDown(self) -> None:
        """Look."""
        self.look("tearDown")


@cache_mode("bypass")
class Nearer(WithoutSuper):
    """The same in a mode of its own."""


class AsyncWithoutSuper(InModeTests, unittest.IsolatedAsyncioTestCase):
    """The same in a loop."""

    async def asyncSetUp(self) -> None:
        """Look."""
        self.look("setUp")

    async def test_looks(self) -> None:
        """Look, and look again at the end."""
        self.addCleanup(self.look, "cleanup")
        self.look("test")

    async def asyncTearDown(self) -> None:
        """Look."""
        self.look("tearDown")


@cache_mode("off")
class OwnRun(WithoutSuper):
    """A class in a mode that has a way of its own to run its tests."""

    def run(self, result: unittest.TestResult | None = None) -> unittest.TestResult | None:
        """Run the test and look."""
        try:
            return super().run(result)
        finally:
            self.look("run")


def names_of(*classes: type[unittest.TestCase]) -> list[str]:
    """Return the labels that run these classes."""
    return [f"{__name__}.{cls.__name__}" for cls in classes]


def run(*classes: type[unittest.TestCase], runner: type[Any] = Runner, **options: Any) -> tuple[int, str]:
    """Run test classes; return the number of failures and what was printed."""
    output = io.StringIO()
    with redirect_stderr(output):
        failures = runner(verbosity=0, enable_faulthandler=False, **options).run_tests(names_of(*classes))
    return failures, output.getvalue()
