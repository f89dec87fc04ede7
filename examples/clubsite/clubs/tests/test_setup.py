"""The fixture, and the address of the cache."""
# ruff: noqa: PT009, PT027 -- Django's own test runner, without pytest

from io import StringIO
from itertools import pairwise

from clubsite.cache_url import cache_from_url
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.test import SimpleTestCase, TestCase, override_settings

from clubs.models import Club, ClubClass, Trainer


@override_settings(CACHEDECO={"MODE": "off"})
class FixtureTests(TestCase):
    """The fixture that the demo is told with."""

    def test_same_arguments_make_the_same_clubs(self) -> None:
        """Two runs agree in every field, and no trainer is in two places at once."""
        made = []
        for _ in range(2):
            call_command("make_clubs", clubs=5, classes=101, verbosity=0, stdout=StringIO())
            fields = ("club__name", "title", "weekday", "start_time", "end_time", "level", "trainer__name")
            made.append(list(ClubClass.objects.order_by("pk").values_list(*fields)))
            busy = list(ClubClass.objects.order_by("trainer", "weekday", "start_time"))
            for model in (ClubClass, Trainer, Club):
                model.objects.all().delete()

        self.assertEqual(101, len(made[0]))
        self.assertEqual(made[0], made[1])
        for first, second in pairwise(busy):
            if (first.trainer_id, first.weekday) == (second.trainer_id, second.weekday):
                self.assertLessEqual(first.end_time, second.start_time)


class CacheAddressTests(SimpleTestCase):
    """The environment variable CACHE_URL."""

    def test_addresses_name_backends(self) -> None:
        """Each scheme names a backend, and servers are given where there are any."""
        cases = {
            "locmem://": ("LocMemCache", ""),
            "memcached://127.0.0.1": ("MemcachedCache", ["127.0.0.1:11211"]),
            "memcached://a:1,b:2": ("MemcachedCache", ["a:1", "b:2"]),
            "redis://127.0.0.1:6379/0": ("RedisCache", "redis://127.0.0.1:6379/0"),
        }
        for url, (backend, location) in cases.items():
            with self.subTest(url):
                cache = cache_from_url(url)
                self.assertEqual(backend, cache["BACKEND"].rpartition(".")[2])
                self.assertEqual(location, cache["LOCATION"])

    def test_unknown_address_is_refused(self) -> None:
        """What is no address of a cache is named, with what would be one."""
        for url in ("", "localhost:11211", "mysql://127.0.0.1", "memcached://"):
            with self.subTest(url), self.assertRaisesRegex(ImproperlyConfigured, "CACHE_URL=.*redis://"):
                cache_from_url(url)
