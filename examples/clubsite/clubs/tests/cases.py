"""What the tests begin with."""

from datetime import time

from clubsite.cache_url import cache_from_url
from django.test import TestCase

from cachedeco.testing import isolated
from clubs.models import Club, ClubClass, Trainer, Weekday


class ClubTestCase(TestCase):
    """Two clubs that share a trainer; the first one has a class."""

    club: Club
    other: Club
    trainer: Trainer
    judo: ClubClass

    @classmethod
    def setUpTestData(cls) -> None:
        """Create them."""
        cls.club = Club.objects.create(name="Marlow Judo Club", city="Marlow", founded=1951)
        cls.other = Club.objects.create(name="Northam Chess Club", city="Northam", founded=1890)
        cls.trainer = Trainer.objects.create(name="Ada Holm")
        cls.judo = ClubClass.objects.create(
            club=cls.club,
            title="Technique",
            weekday=Weekday.MONDAY,
            start_time=time(18),
            end_time=time(19, 30),
            trainer=cls.trainer,
        )

    def new_class(self, **fields: object) -> ClubClass:
        """Create another class, like the first one but for *fields*."""
        given = {
            "club": self.club,
            "title": "Basics",
            "weekday": Weekday.TUESDAY,
            "start_time": time(9),
            "end_time": time(10),
            "trainer": self.trainer,
        }
        return ClubClass.objects.create(**{**given, **fields})


class CachingTestCase(ClubTestCase):
    """Run on a memory cache, isolated for each test, wherever the site's own cache is."""

    def setUp(self) -> None:
        """Replace the site's cache, and switch caching on also where the environment says otherwise."""
        caches = {"default": cache_from_url("locmem://")}
        self.enterContext(self.settings(CACHES=caches, CACHEDECO={"MODE": "on"}))
        self.enterContext(isolated())
