"""What the pages ask for: every cached helper of the site, and nothing else."""

from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from time import sleep
from typing import NamedTuple

from django.db.models import Count, DurationField, ExpressionWrapper, F, QuerySet, Sum
from django.utils import timezone

from cachedeco import AUTO, cached_query, cached_query_many, rows
from clubs.models import Closure, Club, ClubClass, Level, Trainer

# depends_on says when a value has changed; this only bounds how long an entry that is not asked for stays.
A_DAY = timedelta(days=1)

# Short, so that a reader who tries the page need not wait long.
RANKING_SECONDS = 3


class Statistics(NamedTuple):
    """How much a club does in a week."""

    classes: int
    trainers: int
    hours: float


class TimetableRow(NamedTuple):
    """One class as the timetable shows it: a thousand of these are cheaper than as many models."""

    start_time: time
    end_time: time
    title: str
    level: str
    club_pk: int
    club_name: str
    trainer_name: str

    @property
    def level_label(self) -> str:
        """Return the level as a reader reads it."""
        return str(Level(self.level).label)


class ClubLink(NamedTuple):
    """One club as the list of clubs shows it."""

    pk: int
    name: str
    city: str


class ClosureRow(NamedTuple):
    """One closure as the page of closures shows it."""

    first_day: date
    last_day: date
    reason: str
    club_pk: int
    club_name: str


class Ranking(NamedTuple):
    """The trainers with the most classes, as of one moment."""

    trainers: list[tuple[str, int]]
    computed_at: datetime


@cached_query(
    timeout=A_DAY, key="{club.pk}", depends_on=[rows(Club, pk="{club.pk}"), rows(ClubClass, club="{club}"), Trainer]
)
def club_classes(club: Club) -> QuerySet[ClubClass]:
    """Return the classes of *club* in the order of the week, with their trainers."""
    classes = ClubClass.objects.filter(club=club).select_related("trainer")
    return classes.order_by("weekday", "start_time", "pk")


@cached_query(timeout=A_DAY, key="{club.pk}", depends_on=[rows(Club, pk="{club.pk}"), rows(ClubClass, club="{club}")])
def club_statistics(club: Club) -> Statistics:
    """Return how much *club* does in a week."""
    length = ExpressionWrapper(F("end_time") - F("start_time"), output_field=DurationField())
    sums = ClubClass.objects.filter(club=club).aggregate(
        classes=Count("pk"),
        trainers=Count("trainer", distinct=True),
        length=Sum(length),
    )
    hours = (sums["length"] or timedelta()) / timedelta(hours=1)
    return Statistics(sums["classes"], sums["trainers"], hours)


@cached_query(
    timeout=A_DAY,
    key="{club.pk}",
    vary=timezone.localdate,
    depends_on=[rows(Club, pk="{club.pk}"), rows(Closure, club="{club}")],
)
def next_closure(club: Club) -> Closure | None:
    """Return the closure that *club* is in or has ahead of it, None if there is none planned."""
    closures = Closure.objects.filter(club=club, last_day__gte=timezone.localdate())
    return closures.order_by("first_day", "pk").first()


@cached_query(timeout=A_DAY, depends_on=[rows(ClubClass, weekday="{weekday}"), AUTO])
def timetable(weekday: int, city: str | None = None) -> list[TimetableRow]:
    """
    Return what all clubs, or those of *city*, give on *weekday*, in the order of the day.

    AUTO adds the other tables that it reads: those of clubs and trainers.
    """
    classes = ClubClass.objects.filter(weekday=weekday)
    if city is not None:
        classes = classes.filter(club__city=city)
    rows = classes.order_by("start_time", "club__name", "pk").values_list(
        "start_time",
        "end_time",
        "title",
        "level",
        "club_id",
        "club__name",
        "trainer__name",
    )
    return [TimetableRow(*row) for row in rows]


@cached_query(timeout=A_DAY)
def directory() -> list[ClubLink]:
    """Return every club, by city and name. It depends on what it reads: where nothing is said, that is AUTO."""
    clubs = Club.objects.order_by("city", "name").values_list("pk", "name", "city")
    return [ClubLink(*club) for club in clubs]


@cached_query_many(over="club_pks", timeout=A_DAY, depends_on=[rows(ClubClass, club="{each}")])
def class_counts(club_pks: Sequence[int]) -> dict[int, int]:
    """Return how many classes a week each of these clubs gives: an entry for each, one query for those that miss."""
    counts = ClubClass.objects.filter(club__in=club_pks).values_list("club").annotate(Count("pk"))
    return dict.fromkeys(club_pks, 0) | dict(counts)


@cached_query(timeout=A_DAY)
async def coming_closures(day: date) -> list[ClosureRow]:
    """Return the next closures of all clubs, from *day* on."""
    closures = Closure.objects.filter(last_day__gte=day).order_by("first_day", "club__name", "pk")
    fields = closures.values_list("first_day", "last_day", "reason", "club_id", "club__name")
    return [ClosureRow(*row) async for row in fields[:20]]


@cached_query(timeout=RANKING_SECONDS, stale_while_revalidate=3600, depends_on=[])
def busiest_trainers() -> Ranking:
    """Return the ten trainers with the most classes. It may be a little old, so no write invalidates it."""
    sleep(1)  # what such a report takes where there are years of bookings
    trainers = Trainer.objects.annotate(count=Count("classes")).order_by("-count", "name", "pk")
    return Ranking(list(trainers.values_list("name", "count")[:10]), timezone.now())
