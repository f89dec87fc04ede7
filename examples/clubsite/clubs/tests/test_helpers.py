"""The third way: a cached helper alone, what it computes apart from how it is cached."""
# ruff: noqa: PT009 -- Django's own test runner, without pytest

from cachedeco import MISSING, bypass
from clubs.models import Club
from clubs.queries import club_classes, club_statistics, directory, next_closure
from clubs.tests.cases import CachingTestCase


class HelperTests(CachingTestCase):
    """The third way: a helper alone, its caching apart from what it computes."""

    def test_what_is_computed(self) -> None:
        """The plain function can be tested as if there were no cache."""
        self.assertEqual((1, 1, 1.5), club_statistics.uncached(self.club))
        self.assertIs(MISSING, club_statistics.peek(self.club))

    def test_what_is_cached(self) -> None:
        """A QuerySet is evaluated once, trainers included, and is a QuerySet again."""
        with self.assertNumQueries(1):
            club_classes(self.club)
        with self.assertNumQueries(0):
            classes = club_classes(self.club)
            self.assertEqual(["Ada Holm"], [each.trainer.name for each in classes])

        self.assertEqual([], list(classes.filter(title="Basics")))

    def test_none_is_cached(self) -> None:
        """A club without a planned closure is asked about once."""
        with self.assertNumQueries(1):
            self.assertIsNone(next_closure(self.club))
        with self.assertNumQueries(0):
            self.assertIsNone(next_closure(self.club))
        self.assertIsNone(next_closure.peek(self.club))

    def test_key_tells_clubs_apart(self) -> None:
        """Two clubs have two keys; the same club, read again, has the same one."""
        again = Club.objects.get(pk=self.club.pk)

        self.assertNotEqual(club_classes.key_for(self.club), club_classes.key_for(self.other))
        self.assertEqual(club_classes.key_for(self.club), club_classes.key_for(again))

    def test_bypass_stores_nothing(self) -> None:
        """A bypassed call leaves nothing behind."""
        with bypass():
            directory()

        self.assertIs(MISSING, directory.peek())
