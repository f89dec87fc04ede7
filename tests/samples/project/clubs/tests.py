"""What a developer would write: each test is right where it begins with an empty cache."""

# ruff: noqa: PT009, S310 -- the style of unittest, and the test server's own address

from urllib.request import urlopen

from django.core.cache import cache, caches
from django.test import LiveServerTestCase, TestCase, TransactionTestCase

from cachedeco.testing import cache_mode
from clubs.models import Club


def make_club(pk: int, *classes: str) -> Club:
    """Return a club with these classes."""
    club = Club.objects.create(pk=pk, name=f"Club {pk}")
    for name in classes:
        club.clubclass_set.create(name=name)
    return club


class Pages(TestCase):
    """A base: what is on a page."""

    def shown(self, path: str) -> str:
        """Return the text of a page."""
        return self.client.get(path).content.decode().strip()


class ClubPageTests(Pages):
    """The page of the bug report."""

    def test_page_shows_the_classes_of_a_club(self) -> None:
        """A club's page shows its classes."""
        make_club(1, "Judo", "Yoga")

        self.assertEqual("Judo, Yoga", self.shown("/1/"))

    def test_page_of_a_club_without_classes_is_empty(self) -> None:
        """A club's page shows nothing of another club's."""
        make_club(1)

        self.assertEqual("", self.shown("/1/"))

    def test_second_look_asks_the_database_for_the_club_only(self) -> None:
        """The classes are cached."""
        make_club(1, "Judo")
        self.assertEqual("Judo", self.shown("/1/"))

        with self.assertNumQueries(1):
            self.assertEqual("Judo", self.shown("/1/"))


class ClassDataTests(Pages):
    """What setUpTestData has looked at."""

    @classmethod
    def setUpTestData(cls) -> None:
        """Make a club, and look at its pages before it has classes."""
        cls.club = make_club(1)
        for path in ("/1/", "/1/teachers/", "/count/"):
            cls.client_class().get(path)

    def test_page_shows_a_class_that_was_added(self) -> None:
        """The page shows what is there now."""
        self.club.clubclass_set.create(name="Karate")

        self.assertEqual("Karate", self.shown("/1/"))

    def test_teachers_page_shows_a_class_that_was_added(self) -> None:
        """The page over a cached function does so as well."""
        self.club.clubclass_set.create(name="Karate")

        self.assertEqual("Karate", self.shown("/1/teachers/"))


class OtherPageTests(Pages):
    """The other ways to cache."""

    def test_sidebar_shows_the_club(self) -> None:
        """A cached fragment of a template shows this club."""
        make_club(7)

        self.assertEqual("Club 7", self.shown("/7/sidebar/"))

    def test_news_show_the_newest_class(self) -> None:
        """A cache that a module keeps shows this test's class."""
        make_club(1, "Boxing")

        self.assertEqual("Boxing", self.shown("/news/"))

    def test_visits_are_counted_from_one(self) -> None:
        """A session keeps its count from one request to the next."""
        self.assertEqual(["1 of 1", "2 of 2"], [self.shown("/visits/"), self.shown("/visits/")])

    async def test_count_page_counts_the_classes(self) -> None:
        """An async view counts what is there, seen from an async test."""
        await Club.objects.acreate(pk=1)

        self.assertEqual(b"0", (await self.async_client.get("/count/")).content)


class CommittedTests(TransactionTestCase):
    """Data that is committed."""

    def test_teachers_page_shows_the_classes(self) -> None:
        """A cached function gives what is committed."""
        make_club(1, "Fencing")

        self.assertEqual(b"Fencing", self.client.get("/1/teachers/").content)


class LiveTests(LiveServerTestCase):
    """A server in a thread of its own."""

    def test_page_shows_the_classes_of_a_club(self) -> None:
        """The server's thread sees what the test sees: an empty cache at first, and what the test puts there."""
        make_club(1, "Archery")
        with urlopen(f"{self.live_server_url}/1/") as answer:
            self.assertEqual(b"Archery", answer.read())
        cache.set("class_count", 99)

        with urlopen(f"{self.live_server_url}/count/") as answer:
            self.assertEqual(b"99", answer.read())


@cache_mode("on")
class SwitchedOnTests(CommittedTests, LiveTests):
    """What isolates itself, whichever runner runs it."""


class ZealousTests(TransactionTestCase):
    """What is written by those who have met the bug; Django runs it last."""

    def test_page_after_clearing_the_cache(self) -> None:
        """The cure that empties everybody's cache."""
        for alias in caches:
            caches[alias].clear()
        make_club(1, "Zumba")

        self.assertEqual(b"Zumba", self.client.get("/1/").content)
