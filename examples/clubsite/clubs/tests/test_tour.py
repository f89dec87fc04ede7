"""Each page says what to try; here it is tried."""
# ruff: noqa: PT009, PT027 -- Django's own test runner, without pytest

import re
import socket
from collections.abc import Iterable
from datetime import timedelta
from html import unescape
from io import StringIO
from itertools import count
from threading import Event
from time import monotonic
from typing import Any
from unittest.mock import patch

from clubsite.cache_url import cache_from_url
from django.contrib.auth import get_user_model
from django.core.cache.backends.locmem import LocMemCache
from django.core.management import CommandError, call_command
from django.http import HttpResponse
from django.test import SimpleTestCase
from django.urls import reverse
from django.utils import timezone

from cachedeco import cached_query
from cachedeco.testing import isolated
from clubs import tally
from clubs.models import Closure, Club, Weekday
from clubs.queries import Ranking, class_counts
from clubs.tests.cases import CachingTestCase


class CountingCache(LocMemCache):
    """A memory cache that counts its reads."""

    reads = 0

    def get_many(self, keys: Iterable[str], version: int | None = None) -> dict[str, Any]:
        """Read, and count it."""
        type(self).reads += 1
        return super().get_many(keys, version)


def outcome(page: HttpResponse) -> dict[str, int]:
    """Return how many hits, misses and stale values a page had, those that it had any of, and how many queries."""
    pairs = (pair.split("=") for pair in page["X-Clubsite-Cache"].split())
    counts = {kind: int(n) for kind, n in pairs if kind in {"hit", "miss", "stale"} and n != "0"}
    return {**counts, "queries": int(page["X-Clubsite-Queries"])}


def what_to_try(page: HttpResponse) -> str:
    """Return what a page says in its part "Try", empty if it says nothing."""
    found = re.search(r"<h2>Try</h2>\s*<ul>(.*?)</ul>", page.content.decode(), re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]+>", "", found[1])).split()) if found else ""


class TourTests(CachingTestCase):
    """What each page tells to try happens."""

    def setUp(self) -> None:
        """Log in a member of staff."""
        super().setUp()
        self.client.force_login(get_user_model().objects.create_superuser("staff"))

    def pages(self) -> list[str]:
        """Return the address of each public page."""
        return [
            reverse("club_list"),
            reverse("city", args=["Marlow"]),
            self.club.get_absolute_url(),
            reverse("move_class", args=[self.judo.pk]),
            reverse("timetable", args=[Weekday.MONDAY]),
            reverse("closures"),
            reverse("ranking"),
            reverse("worker"),
            reverse("why"),
        ]

    def reload(self, address: str) -> dict[str, int]:
        """Fetch a page, and return what it came to."""
        return outcome(self.client.get(address))

    def test_each_page_tells_what_is_cached_and_what_to_try(self) -> None:
        """No page is without, and none is the page of another."""
        with patch("clubs.queries.sleep"), patch("clubs.views.WORKER_CLUB", self.club.pk):
            pages = [self.client.get(address) for address in self.pages()]

        self.assertEqual([], [page.request["PATH_INFO"] for page in pages if not what_to_try(page)])
        self.assertEqual(len(pages), len({what_to_try(page) for page in pages}))
        for page in pages:
            self.assertRegex(page.content.decode(), r"fresh</h2>\s*<p>\S")

    def test_list_is_ended_by_a_club_and_not_by_a_trainer(self) -> None:
        """AUTO: the list depends on the table that it reads, and on no other."""
        self.assertEqual({"miss": 1, "queries": 1}, self.reload("/"))
        self.assertEqual({"hit": 1, "queries": 0}, self.reload("/"))

        self.trainer.save()
        self.assertEqual({"hit": 1, "queries": 0}, self.reload("/"))

        self.club.save()
        self.assertEqual({"miss": 1, "queries": 1}, self.reload("/"))

    def test_city_computes_the_changed_club_alone(self) -> None:
        """Many ids: a moved class is one miss, and the function gets that club alone."""
        second = Club.objects.create(name="Marlow Chess Club", city="Marlow", founded=1900)
        address = reverse("city", args=["Marlow"])
        self.assertEqual({"miss": 3, "queries": 2}, self.reload(address))
        self.assertEqual({"hit": 3, "queries": 0}, self.reload(address))

        self.new_class()

        page = self.client.get(address)
        self.assertEqual({"hit": 2, "miss": 1, "queries": 1}, outcome(page))
        self.assertContains(page, "2 classes a week")
        self.assertEqual({self.club.pk: 2, second.pk: 0}, class_counts([self.club.pk, second.pk]))

    def test_why_says_what_a_call_would_do(self) -> None:
        """Before a visit, after one, and after a write: nothing is counted."""
        address = reverse("why")
        self.assertContains(self.client.get(address), "would be a miss: nothing lies under its key")

        self.client.get(self.club.get_absolute_url())
        self.judo.save()

        page = self.client.get(address)
        self.assertContains(page, "would be a miss: it was invalidated")
        self.assertEqual({"queries": 1}, outcome(page))

    def test_links_of_what_to_try_are_pages(self) -> None:
        """No page sends its reader to an address that there is not, or that redirects."""
        with patch("clubs.queries.sleep"), patch("clubs.views.WORKER_CLUB", self.club.pk):
            pages = {address: self.client.get(address).content.decode() for address in self.pages()}
            guides = {
                address: text.split('<aside class="guide">')[1].split("</aside>")[0] for address, text in pages.items()
            }
            links = {link for guide in guides.values() for link in re.findall(r'href="(/[^"]*)"', guide)}
            status = {link: self.client.get(unescape(link)).status_code for link in links}

        self.assertEqual(dict.fromkeys(links, 200), status)
        self.assertIn("/admin/", str(links))

    def test_city_with_a_slash_has_a_page(self) -> None:
        """Any name that the admin takes is an address."""
        Club.objects.create(name="Chess Club", city="Bourg/Ain?", founded=1900)

        self.assertContains(self.client.get("/"), "/cities/Bourg/Ain%3F/")
        self.assertContains(self.client.get(reverse("city", args=["Bourg/Ain?"])), "Chess Club")

    def test_city_without_clubs_is_not_found(self) -> None:
        """A city that there is not is a 404, and stores nothing."""
        self.assertEqual(404, self.client.get(reverse("city", args=["Atlantis"])).status_code)

    def test_club_is_read_in_one_round_trip(self) -> None:
        """The three values of a club's page are one read of the cache."""
        with self.settings(
            CACHES={"default": {**cache_from_url("locmem://"), "BACKEND": f"{__name__}.CountingCache"}},
        ):
            self.client.get(self.club.get_absolute_url())
            before = CountingCache.reads
            page = self.client.get(self.club.get_absolute_url())
            reads = CountingCache.reads - before

        self.assertEqual(({"hit": 3, "queries": 1}, 1), (outcome(page), reads))

    def test_move_leaves_the_closure_and_another_club(self) -> None:
        """A moved class is two misses on the page of its club, and none on another's."""
        for club in (self.club, self.other):
            self.client.get(club.get_absolute_url())
        form = {"weekday": Weekday.SUNDAY.value, "start_time": "10:00", "end_time": "11:00"}

        self.client.post(reverse("move_class", args=[self.judo.pk]), form)

        self.assertEqual({"hit": 1, "miss": 2, "queries": 3}, self.reload(self.club.get_absolute_url()))
        self.assertEqual({"hit": 3, "queries": 1}, self.reload(self.other.get_absolute_url()))

    def test_move_page_names_an_hour_that_is_refused(self) -> None:
        """The hour of another class of the trainer stands in what to try; where there is none, none does."""
        address = reverse("move_class", args=[self.judo.pk])
        self.assertIn("gives another class: refused", what_to_try(self.client.get(address)))

        self.new_class(club=self.other)

        self.assertIn("gives another class, Tuesday 09:00", what_to_try(self.client.get(address)))

    def test_timetable_has_an_entry_for_each_city_and_day(self) -> None:
        """Another city is a miss once; a class of Monday leaves Sunday."""
        monday, sunday = (reverse("timetable", args=[day]) for day in (Weekday.MONDAY, Weekday.SUNDAY))
        for address in (monday, sunday):
            self.client.get(address)
        self.assertEqual({"hit": 1, "miss": 1, "queries": 1}, self.reload(f"{monday}?city=Marlow"))
        self.assertEqual({"hit": 2, "queries": 0}, self.reload(f"{monday}?city=Marlow"))

        self.judo.save()

        self.assertEqual({"hit": 1, "miss": 1, "queries": 1}, self.reload(monday))
        self.assertEqual({"hit": 2, "queries": 0}, self.reload(sunday))

    def test_closures_are_served_by_an_async_view(self) -> None:
        """A new closure is a miss of the async function, and the number of clubs is still a hit."""
        address = reverse("closures")
        self.assertEqual({"miss": 2, "queries": 2}, self.reload(address))
        self.assertEqual({"hit": 2, "queries": 0}, self.reload(address))

        today = timezone.localdate()
        Closure.objects.create(club=self.club, first_day=today, last_day=today + timedelta(days=1), reason="Painting")

        page = self.client.get(address)
        self.assertEqual({"hit": 1, "miss": 1, "queries": 1}, outcome(page))
        self.assertContains(page, "Painting")

    async def test_closures_are_served_under_asgi(self) -> None:
        """An ASGI server serves the same page."""
        await self.async_client.get(reverse("closures"))

        page = await self.async_client.get(reverse("closures"))

        self.assertIn("hit=2 ", page["X-Clubsite-Cache"])

    def test_worker_moves_the_class_of_the_page(self) -> None:
        """What the worker saves is a miss on the next view, with the new hour, and then a hit."""
        with patch("clubs.views.WORKER_CLUB", self.club.pk):
            self.reload(reverse("worker"))
            self.assertEqual({"hit": 1, "queries": 1}, self.reload(reverse("worker")))

            call_command("worker", club=self.club.pk, moves=2, pause=0, stdout=(said := StringIO()))

            page = self.client.get(reverse("worker"), {"watch": "1"})
            self.assertEqual({"miss": 1, "queries": 2}, outcome(page))
            self.assertContains(page, "18:10–19:40")  # noqa: RUF001 -- what the page has
            self.assertContains(page, '<meta http-equiv="refresh" content="2">')
            self.assertEqual({"hit": 1, "queries": 1}, self.reload(reverse("worker")))
        self.assertEqual(2, said.getvalue().count(" moved Technique "))

    def test_worker_stays_within_the_hour(self) -> None:
        """After twelve moves the class is where it was, so that it never leaves its day."""
        call_command("worker", club=self.club.pk, moves=12, pause=0, stdout=StringIO())

        before = self.judo.start_time
        self.judo.refresh_from_db()
        self.assertEqual(before, self.judo.start_time)

    def test_worker_without_a_class_says_what_to_do(self) -> None:
        """A club that there is not, or that gives nothing, is an error of one line."""
        with self.assertRaisesRegex(CommandError, "has no class to move.*--club"):
            call_command("worker", club=0, moves=1)

    def test_reason_of_each_miss_is_told(self) -> None:
        """The page of misses names the request, the function, and what was written."""
        tally.last_misses.clear()
        self.reload(self.club.get_absolute_url())
        self.judo.save()
        self.reload(self.club.get_absolute_url())

        page = self.client.get(reverse("why"))

        self.assertContains(page, "would be a hit")
        self.assertContains(page, f"rows of clubs_clubclass with club_id {self.club.pk}")
        self.assertContains(page, f"GET {self.club.get_absolute_url()}")
        self.assertContains(page, "<td>absent</td>", html=True)


class RankingTests(SimpleTestCase):
    """A slow value that may be a little old; without a database, as the thread has another connection."""

    def test_old_ranking_is_served_while_a_thread_computes(self) -> None:
        """Past its time the old value is served, although the computation of the new one has not ended."""
        numbers, finish = count(1), Event()

        @cached_query(timeout=0.01, stale_while_revalidate=3600, depends_on=[], ignore=("numbers", "finish"))
        def slow_ranking() -> Ranking:
            number = next(numbers)
            if number > 1:
                finish.wait(10)
            return Ranking([("Ada Holm", number)], timezone.now())

        settings = {
            "CACHES": {"default": cache_from_url("locmem://")},
            "CACHEDECO": {"MODE": "on", "REFRESH": "thread"},
        }
        with self.settings(**settings), isolated(), patch("clubs.views.busiest_trainers", slow_ranking):
            first = self.client.get("/ranking/")
            stale = self.reload_until("</b> stale<")
            finish.set()
            last = self.reload_until(">2 classes<")

        self.assertContains(first, ">1 class<")
        self.assertContains(stale, ">1 class<")
        self.assertNotContains(last, ">1 class<")

    def reload_until(self, text: str) -> HttpResponse:
        """Fetch the page until it, or its foot, has *text*."""
        deadline = monotonic() + 10
        page = self.client.get("/ranking/")
        while text not in page.content.decode() and monotonic() < deadline:
            page = self.client.get("/ranking/")
        return page


class ServeTests(SimpleTestCase):
    """The command of `make serve`."""

    def test_busy_port_is_told_before_anything_is_done(self) -> None:
        """The message says which port, why, and what to type."""
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            with self.assertRaisesRegex(CommandError, f"port {port}: another program uses it.*make serve PORT=8001"):
                call_command("serve", str(port))

    def test_port_that_there_is_not_is_told(self) -> None:
        """A number beyond all ports is no traceback."""
        with self.assertRaisesRegex(CommandError, "port 99999.*make serve PORT=8001"):
            call_command("serve", "99999")
