"""Fill the database with clubs: the same ones for the same arguments, on every machine."""

from argparse import ArgumentParser
from collections.abc import Iterator
from datetime import date, time, timedelta
from itertools import product
from random import Random

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from cachedeco import Namespace
from clubs.models import Closure, Club, ClubClass, Level, Trainer, Weekday

CITIES = (
    "Ashford",
    "Birkdale",
    "Caldera",
    "Dunmore",
    "Eastwick",
    "Farrow",
    "Glenhaven",
    "Harrowgate",
    "Ironbridge",
    "Juniper Bay",
    "Kingsmere",
    "Lindholm",
    "Marlow",
    "Northam",
    "Oakhurst",
    "Port Ellis",
    "Quarry Hill",
    "Ravensburn",
    "Silverton",
    "Thornbury",
)
SPORTS = (
    "Aikido",
    "Badminton",
    "Boxing",
    "Chess",
    "Climbing",
    "Fencing",
    "Gymnastics",
    "Handball",
    "Judo",
    "Karate",
    "Rowing",
    "Swimming",
    "Table Tennis",
    "Tennis",
    "Volleyball",
)
TITLES = (
    "Basics",
    "Children",
    "Competition squad",
    "Conditioning",
    "Family hour",
    "Free training",
    "Seniors",
    "Technique",
    "Women's group",
    "Youth",
)
FIRST_NAMES = (
    "Ada",
    "Boris",
    "Chiara",
    "David",
    "Elif",
    "Farid",
    "Greta",
    "Hugo",
    "Ines",
    "Jonas",
    "Kaja",
    "Liam",
    "Mina",
    "Noor",
    "Otto",
    "Priya",
    "Rosa",
    "Samuel",
    "Tilda",
    "Yusuf",
)
LAST_NAMES = (
    "Adler",
    "Bauer",
    "Costa",
    "Dahl",
    "Engel",
    "Ferrari",
    "Garcia",
    "Holm",
    "Ivanov",
    "Jansen",
    "Keller",
    "Lund",
    "Moreau",
    "Novak",
    "Okafor",
    "Park",
    "Rossi",
    "Sato",
    "Toth",
    "Weber",
)

TRAINERS_OF_A_CLUB = 4
# A class begins at one of these hours or up to half an hour later, and lasts at most an hour and a
# half: it has ended when the next of them comes, so no trainer is ever in two places.
HOURS = (8, 10, 12, 14, 16, 18, 20)
# Every third club never closes: for these the next closure is None, and None is what gets cached.
NEVER_CLOSES = 3
# Fixed years, so that the fixture does not depend on the day on which it is made.
CLOSURE_YEARS = range(2025, 2046)


class Command(BaseCommand):
    """Make clubs, trainers, classes and closures."""

    help = "Fill an empty database with clubs, the same ones for the same arguments."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the size, the seed, and what to do when there are clubs already."""
        parser.add_argument("--clubs", type=int, default=300, help="how many clubs (300)")
        parser.add_argument("--classes", type=int, default=6000, help="how many classes in all (6000)")
        parser.add_argument("--seed", type=int, default=2008, help="another number, other clubs (2008)")
        parser.add_argument("--if-empty", action="store_true", help="do nothing if there are clubs")

    def handle(self, *, clubs: int, classes: int, seed: int, if_empty: bool, **_: object) -> None:
        """Make them, all or none."""
        if Club.objects.exists():
            if if_empty:
                return
            msg = "There are clubs already; delete the database first, or give --if-empty."
            raise CommandError(msg)
        with transaction.atomic():
            make_clubs(Random(seed), clubs, classes)
            # The database may be new while the cache server is not: what it kept for the clubs of an
            # earlier database must not be shown for these, even where none of a kind were made.
            for model in (Club, Trainer, ClubClass, Closure):
                Namespace.for_model(model).invalidate()
        self.stdout.write(f"Made {clubs} clubs with {classes} classes.")


def make_clubs(random: Random, club_count: int, class_count: int) -> None:
    """Create so many clubs, with so many classes spread over them."""
    clubs = Club.objects.bulk_create(
        Club(name=name, city=city, founded=random.randint(1880, 2008)) for name, city in club_names(club_count)
    )
    trainers = Trainer.objects.bulk_create(
        Trainer(name=f"{random.choice(FIRST_NAMES)} {random.choice(LAST_NAMES)}")
        for _ in range(club_count * TRAINERS_OF_A_CLUB)
    )
    for index, club in enumerate(clubs):
        own = trainers[index * TRAINERS_OF_A_CLUB : (index + 1) * TRAINERS_OF_A_CLUB]
        # The remainder goes to the first clubs, one class each.
        count = class_count // club_count + (index < class_count % club_count)
        ClubClass.objects.bulk_create(classes_of(random, club, own, count))
    Closure.objects.bulk_create(
        closure
        for index, club in enumerate(clubs, start=1)
        if index % NEVER_CLOSES
        for closure in closures_of(random, club)
    )


def club_names(count: int) -> Iterator[tuple[str, str]]:
    """Give names that differ, each with its city."""
    sports_and_cities = list(product(SPORTS, CITIES))
    for number in range(count):
        round_number, index = divmod(number, len(sports_and_cities))
        sport, city = sports_and_cities[index]
        yield f"{city} {sport} Club" + (f" {round_number + 1}" if round_number else ""), city


def classes_of(random: Random, club: Club, trainers: list[Trainer], count: int) -> Iterator[ClubClass]:
    """Give a week of classes in which no trainer gives two at the same hour."""
    slots = list(product(trainers, Weekday, HOURS))
    for trainer, weekday, hour in random.sample(slots, min(count, len(slots))):
        start = timedelta(hours=hour, minutes=random.choice((0, 15, 30)))
        yield ClubClass(
            club=club,
            title=random.choice(TITLES),
            weekday=weekday,
            start_time=time_of(start),
            end_time=time_of(start + timedelta(minutes=random.choice((45, 60, 75, 90)))),
            level=random.choice(Level.values),
            trainer=trainer,
        )


def closures_of(random: Random, club: Club) -> Iterator[Closure]:
    """Give two weeks in each summer."""
    for year in CLOSURE_YEARS:
        first_day = date(year, 7, 1) + timedelta(days=random.randrange(45))
        yield Closure(
            club=club,
            first_day=first_day,
            last_day=first_day + timedelta(days=13),
            reason="Summer break",
        )


def time_of(since_midnight: timedelta) -> time:
    """Return the time of day so long after midnight."""
    minutes = int(since_midnight.total_seconds()) // 60
    return time(minutes // 60, minutes % 60)
