"""Test classes that switch the cache on, for the tests of the test kit to run."""

import unittest

from django.test import SimpleTestCase

from cachedeco import cached_query, mode
from cachedeco.testing import CacheAssertions, assert_hits, cache_mode
from tests.support.threads import in_thread

clock = [0]  # what rows show now


@cached_query(depends_on=())
def shown(pk: int) -> tuple[int, int]:
    """Return what changes without an invalidation, as the rows of two tests do."""
    return pk, clock[0]


def look() -> None:
    """Fail if a value from before this test is served, or nothing is cached."""
    clock[0] += 1
    assert (7, clock[0]) == shown(7)
    with assert_hits(shown, 1):
        assert (7, clock[0]) == shown(7)
        assert (7, clock[0]) == in_thread(lambda: shown.peek(7))


class Twice(unittest.TestCase):
    """Two tests of one primary key."""

    def test_one(self) -> None:
        """Look."""
        look()

    def test_two(self) -> None:
        """Look."""
        look()


class AsyncTwice(SimpleTestCase):
    """The same in a loop."""

    @cache_mode("on")
    async def test_one(self) -> None:
        """Look."""
        assert (7, clock[0]) == await shown.arefresh(7)
        assert (7, clock[0]) == shown.peek(7)

    test_two = test_one


class Loop(unittest.IsolatedAsyncioTestCase):
    """The same in the loop of unittest."""

    async def test_one(self) -> None:
        """Look."""
        look_at = shown.apeek
        assert (7, clock[0]) == await shown.arefresh(7)
        assert (7, clock[0]) == await look_at(7)

    test_two = test_one


class ByMethod(SimpleTestCase):
    """Decorated methods, of either kind, and blocks."""

    @cache_mode("on")
    def test_one(self) -> None:
        """Look."""
        look()

    @mode("on")
    def test_two(self) -> None:
        """Look, in this thread alone."""
        clock[0] += 1
        assert (7, clock[0]) == shown(7) == shown.peek(7)

    def test_blocks(self) -> None:
        """Look."""
        with cache_mode("on"):
            look()
        with mode("on"), mode("bypass"), mode("on"):
            assert (7, clock[0]) == shown(7) == shown.peek(7)


class BySetUp(Twice):
    """A block that each test begins."""

    def setUp(self) -> None:
        """Begin."""
        self.enterContext(cache_mode("on"))


class WithFixture(Twice):
    """A class that caches for all its tests, which see nothing of it."""

    @classmethod
    def setUpClass(cls) -> None:
        """Look."""
        with cache_mode("on"):
            look()


class Subtests(Twice):
    """Several subtests of one test."""

    def test_one(self) -> None:
        """Look, and look again at the same."""
        look()
        with self.subTest():
            assert (7, clock[0]) == shown.peek(7)


def derived(base: type[unittest.TestCase]) -> type[unittest.TestCase]:
    """Return a class that inherits its mode."""
    return type("Derived", (cache_mode("on")(type("Base", (base,), {})),), {})


class Asserting(CacheAssertions, SimpleTestCase):
    """Two tests of one primary key, in a class that has the assertions."""

    def test_one(self) -> None:
        """Count."""
        with self.assertComputations(shown, 1), self.assertMisses(shown, 1):
            shown(7)
        with self.assertHits(shown, 1):
            shown(7)

    test_two = test_one


class ForSeveral(Asserting):
    """A block that stands for all tests of a class, each of which is isolated by its assertions."""

    @classmethod
    def setUpClass(cls) -> None:
        """Begin."""
        super().setUpClass()
        cls.enterClassContext(cache_mode("on"))


FORMS: list[type[unittest.TestCase]] = [
    *(cache_mode("on")(type(f"On{base.__name__}", (base,), {})) for base in (Twice, Loop, WithFixture, Subtests)),
    derived(Twice),
    AsyncTwice,
    ForSeveral,
    ByMethod,
    BySetUp,
]
