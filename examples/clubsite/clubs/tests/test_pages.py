"""The first way to test a site that caches: the views without any cache."""
# ruff: noqa: PT009 -- Django's own test runner, without pytest

from django.contrib.auth import get_user_model
from django.test import override_settings
from django.urls import reverse

from clubs.models import Weekday
from clubs.tests.cases import ClubTestCase


@override_settings(CACHEDECO={"MODE": "off"})
class PageTests(ClubTestCase):
    """The first way: views without any cache, so that only the page itself is tested."""

    def test_club_page_shows_its_classes(self) -> None:
        """A club's page shows its classes, in numbers too."""
        page = self.client.get(self.club.get_absolute_url())

        self.assertContains(page, "Technique")
        self.assertContains(page, "18:00–19:30")  # noqa: RUF001 -- what the page has
        self.assertContains(page, "<dd>1.5</dd>", html=True)

    def test_club_page_asks_every_time(self) -> None:
        """Without a cache each view of the page costs four queries: no test meets what another one left."""
        for _ in range(2):
            with self.assertNumQueries(4):
                self.client.get(self.club.get_absolute_url())

    def test_unknown_club_is_not_found(self) -> None:
        """A club that there is not is a 404."""
        self.assertEqual(404, self.client.get(reverse("club_page", args=[0])).status_code)

    def test_timetable_shows_one_city(self) -> None:
        """
        A timetable of one city leaves out the others; of a city that there is not, it leaves out nothing.
        """
        self.new_class(club=self.other, title="Endgames", weekday=Weekday.MONDAY)
        address = reverse("timetable", args=[Weekday.MONDAY])

        self.assertNotContains(self.client.get(address, {"city": "Marlow"}), "Endgames")
        self.assertContains(self.client.get(address, {"city": "Atlantis"}), "Endgames")

    def test_admin_form_of_a_class_is_served(self) -> None:
        """The admin's form works, footer included."""
        self.client.force_login(get_user_model().objects.create_superuser("staff"))

        page = self.client.get(reverse("admin:clubs_clubclass_change", args=[self.judo.pk]))

        self.assertContains(page, 'class="tally"')
