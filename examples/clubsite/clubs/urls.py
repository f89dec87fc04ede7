"""The addresses of the public pages."""

from django.urls import path, register_converter

from clubs import views
from clubs.models import Weekday


class WeekdayConverter:
    """Write a weekday as its lower-case English name."""

    regex = "|".join(day.name.lower() for day in Weekday)

    def to_python(self, value: str) -> Weekday:
        """Return the weekday of that name."""
        return Weekday[value.upper()]

    def to_url(self, value: int) -> str:
        """Return the name of the weekday."""
        return Weekday(value).name.lower()


register_converter(WeekdayConverter, "weekday")

urlpatterns = [
    path("", views.club_list, name="club_list"),
    path("cities/<path:city>/", views.city_page, name="city"),
    path("clubs/<int:pk>/", views.club_page, name="club_page"),
    path("classes/<int:pk>/move/", views.move_class_page, name="move_class"),
    path("timetable/", views.timetable_today, name="timetable_today"),
    path("timetable/<weekday:weekday>/", views.timetable_page, name="timetable"),
    path("closures/", views.closures_page, name="closures"),
    path("ranking/", views.ranking_page, name="ranking"),
    path("worker/", views.worker_page, name="worker"),
    path("why/", views.why_page, name="why"),
]
