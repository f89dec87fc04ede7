"""The fixture, and the addresses of the cache and of the database."""
# ruff: noqa: PT009, PT027 -- Django's own test runner, without pytest

from io import StringIO
from itertools import pairwise

from clubsite.cache_url import cache_from_url
from clubsite.database_url import database_from_url
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


class DatabaseAddressTests(SimpleTestCase):
    """The environment variable CLUBSITE_DB."""

    def test_path_is_one_of_sqlite(self) -> None:
        """What is no address is a path."""
        database = database_from_url("/tmp/clubs.sqlite3")  # noqa: S108 -- no file is made

        self.assertEqual(
            ("django.db.backends.sqlite3", "/tmp/clubs.sqlite3"),  # noqa: S108
            (database["ENGINE"], database["NAME"]),
        )

    def test_address_of_postgresql(self) -> None:
        """Each part has its place, and what is quoted is unquoted."""
        database = database_from_url("postgresql://me:p%40ss@127.0.0.1:5433/clubs?sslmode=disable")

        expected = {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": "clubs",
            "USER": "me",
            "PASSWORD": "p@ss",
            "HOST": "127.0.0.1",
            "PORT": "5433",
            "OPTIONS": {"sslmode": "disable"},
        }
        self.assertEqual(expected, database)

    def test_unknown_address_is_refused(self) -> None:
        """The error says what would be an address, and keeps the password to itself."""
        for url in ("mysql://me:secret@127.0.0.1/clubs", "postgresql://127.0.0.1"):
            with self.subTest(url), self.assertRaisesRegex(ImproperlyConfigured, "CLUBSITE_DB=.*SQLite") as seen:
                database_from_url(url)
            self.assertNotIn("secret", str(seen.exception))
