"""The second way: the views with their cache, counted in queries."""
# ruff: noqa: PT009 -- Django's own test runner, without pytest

from django.contrib.auth import get_user_model
from django.urls import reverse

from clubs.models import Weekday
from clubs.queries import club_classes
from clubs.tests.cases import CachingTestCase


class CachingTests(CachingTestCase):
    """The second way: views with their cache, counted in queries."""

    def test_second_view_of_a_club_costs_one_query(self) -> None:
        """The second view of a page asks only for the club itself."""
        with self.assertNumQueries(4):
            self.client.get(self.club.get_absolute_url())
        with self.assertNumQueries(1):
            page = self.client.get(self.club.get_absolute_url())

        self.assertContains(page, "Technique")
        self.assertEqual("1", page["X-Clubsite-Queries"])
        self.assertIn("hit=3 stale=0 miss=0", page["X-Clubsite-Cache"])

    def test_clubs_do_not_share_entries(self) -> None:
        """What one club's page has stored is not shown by another's."""
        self.client.get(self.club.get_absolute_url())

        with self.assertNumQueries(4):
            page = self.client.get(self.other.get_absolute_url())

        self.assertNotContains(page, "Technique")

    def test_bypass_computes_and_leaves_the_entry(self) -> None:
        """A view with ?bypass=1 computes, and the next one without is still a hit."""
        self.client.get(self.club.get_absolute_url())

        with self.assertNumQueries(4):
            self.client.get(self.club.get_absolute_url(), {"bypass": "1"})
        with self.assertNumQueries(1):
            self.client.get(self.club.get_absolute_url())

    def test_second_view_of_a_timetable_costs_no_query(self) -> None:
        """The second view of a timetable asks nothing."""
        address = reverse("timetable", args=[Weekday.MONDAY])
        with self.assertNumQueries(2):
            self.client.get(address)
        with self.assertNumQueries(0):
            page = self.client.get(address)

        self.assertContains(page, "Technique")


class MoveTests(CachingTestCase):
    """Moving a class on the site: all of it or nothing."""

    def setUp(self) -> None:
        """Log in a member of staff, and fill the page."""
        super().setUp()
        self.client.force_login(get_user_model().objects.create_superuser("staff"))
        self.address = reverse("move_class", args=[self.judo.pk])
        self.client.get(self.club.get_absolute_url())

    def test_move_is_seen_at_once(self) -> None:
        """A move that is allowed is on the page at once."""
        form = {"weekday": Weekday.SUNDAY.value, "start_time": "10:00", "end_time": "11:00"}

        self.assertRedirects(self.client.post(self.address, form), self.club.get_absolute_url())

        self.assertEqual(Weekday.SUNDAY, club_classes(self.club)[0].weekday)

    def test_refused_move_leaves_the_page_a_hit(self) -> None:
        """A move to an hour at which the trainer is taken is rolled back, and invalidates nothing."""
        taken = self.new_class(club=self.other)
        form = {"weekday": taken.weekday, "start_time": "09:30", "end_time": "10:30"}

        refused = self.client.post(self.address, form)
        with self.assertNumQueries(1):
            page = self.client.get(self.club.get_absolute_url())

        self.assertContains(refused, "Ada Holm gives another class at that hour", status_code=409)
        self.assertContains(page, "18:00–19:30")  # noqa: RUF001 -- what the page has

    def test_stranger_is_sent_to_the_login(self) -> None:
        """Only staff may move a class."""
        self.client.logout()

        self.assertRedirects(
            self.client.post(self.address),
            f"{reverse('admin:login')}?next={self.address}",
        )
