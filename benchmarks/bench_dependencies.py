"""
What do AUTO, declared models and declared rows cost, and how often are they a hit?

    python benchmarks/bench_dependencies.py [--reads 20000] [--rounds 3]

Simulated traffic on the models and helpers of the example site: 40 clubs, 1,000 classes, popular clubs asked for most
(Zipf), writes of classes, closures, trainers and clubs, and logins, which write to `auth_user`. The same seeded history
at 5, 50 and 500 reads for each write, with each kind of dependency in turn: the hit ratio; needless computations, which
gave the value that was there; CPU of a read, over that of the plain helpers. One read in ten is compared with the plain
helper: stale values are counted, and there must be none. Prints what was measured; it judges nothing.
"""

import argparse
import os
import platform
import random
import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import date, time, timedelta
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any, NamedTuple

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "examples" / "clubsite")]
RATIOS = (5, 50, 500)  # reads for each write
COMPARED = 0.1  # of the reads are compared with what the database has
# Of a hundred writes: what an hour of a site brings, with a login as the most frequent one.
CALLS = {"club_classes": 30, "club_statistics": 30, "next_closure": 30, "timetable": 8, "directory": 2}
WRITES = {"login": 40, "class": 35, "closure": 10, "trainer": 10, "club": 5}


Pairs = Mapping[str, tuple[Callable[..., Any], Callable[..., Any]]]  # plain and cached, by name


class Result(NamedTuple):
    """What one history has given."""

    reads: int
    computed: int
    needless: int
    stale: int
    seconds: float


def start() -> None:
    """Set Django up with the example's models in a database in memory, and fill it."""
    import django
    from django.conf import settings
    from django.core.management import call_command

    settings.configure(
        INSTALLED_APPS=["clubs", "django.contrib.auth", "django.contrib.contenttypes", "cachedeco"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        CACHES={
            "default": {
                "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
                "OPTIONS": {"MAX_ENTRIES": 20_000},  # Django's 300 would evict, and tokens of parts most of all
            }
        },
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        USE_TZ=True,
    )
    django.setup()
    call_command("migrate", verbosity=0)
    from clubs.models import Closure, Club, ClubClass, Trainer
    from django.contrib.auth.models import User

    chance = random.Random(1)
    User.objects.bulk_create([User(username=f"user{n}") for n in range(200)])
    clubs = Club.objects.bulk_create(
        [Club(name=f"Club {n}", city=f"City {n % 8}", founded=1900 + n) for n in range(40)]
    )
    trainers = Trainer.objects.bulk_create([Trainer(name=f"Trainer {n}") for n in range(60)])
    ClubClass.objects.bulk_create(
        [
            ClubClass(
                club=chance.choice(clubs),
                title=f"Class {n}",
                weekday=1 + n % 7,
                start_time=time(8 + n % 10),
                end_time=time(9 + n % 10),
                trainer=chance.choice(trainers),
            )
            for n in range(1000)
        ]
    )
    today = date.today()  # noqa: DTZ011 -- of the site's own clock
    Closure.objects.bulk_create(
        [Closure(club=club, first_day=today, last_day=today + timedelta(days=9), reason="Summer") for club in clubs]
    )


def helpers(kind: str) -> Pairs:
    """Return the site's helpers, each plain and cached with one kind of dependency: auto, models, rows or none."""
    from clubs import queries
    from clubs.models import Closure, Club, ClubClass, Trainer

    from cachedeco import AUTO, cached_query, rows

    declared: dict[str, list[Any]] = {
        "club_classes": [rows(ClubClass, club="{club}"), Trainer],
        "club_statistics": [rows(ClubClass, club="{club}")],
        "next_closure": [rows(Closure, club="{club}")],
        "timetable": [rows(ClubClass, weekday="{weekday}"), Club, Trainer],
        "directory": [Club],
    }
    found = {}
    for name, dependencies in declared.items():
        plain = getattr(queries, name).uncached
        models = [each if isinstance(each, type) else each.model for each in dependencies]
        depends_on = {"auto": [AUTO], "models": models, "rows": dependencies}[kind]
        key = "{club.pk}" if name.startswith(("club_", "next_")) else None
        vary = getattr(queries, name)._spec.options["vary"]
        cached = cached_query(timeout=3600, key=key, vary=vary, depends_on=depends_on, name=f"bench.{kind}.{name}")(
            plain
        )
        found[name] = (plain, cached)
    return found


def shown(value: object) -> str:
    """Return a value as text, rows included."""
    return repr(list(value)) if hasattr(value, "query") and isinstance(value, Iterable) else repr(value)


def write(what: str, chance: random.Random) -> None:
    """Change one row, as the site's forms and logins do."""
    from clubs.models import Closure, Club, ClubClass, Trainer
    from django.contrib.auth.models import User
    from django.utils import timezone

    if what == "login":
        user = User.objects.get(username=f"user{chance.randrange(200)}")
        user.last_login = timezone.now()
        user.save(update_fields=["last_login"])
        return
    model = {"class": ClubClass, "closure": Closure, "trainer": Trainer, "club": Club}[what]
    rows_of_model: Any = model._base_manager
    rows_of_model = rows_of_model.order_by("pk")
    row = rows_of_model[chance.randrange(rows_of_model.count())]
    field = {"class": "title", "closure": "reason", "trainer": "name", "club": "name"}[what]
    setattr(row, field, f"{getattr(row, field).split(' #')[0]} #{chance.randrange(1000)}")
    row.save()


def run(pairs: Pairs, ratio: int, reads: int, *, plain: bool) -> Result:
    """Run one seeded history; with *plain* by the plain helpers."""
    from clubs.models import Club

    chance = random.Random(ratio)
    last: dict[Any, str] = {}
    computed = needless = stale = 0
    seconds = 0.0
    weights = [1 / (n + 1) for n in range(40)]
    pks = list(Club.objects.order_by("pk").values_list("pk", flat=True))
    for n in range(reads):
        if n % ratio == 0:
            write(chance.choices(list(WRITES), list(WRITES.values()))[0], chance)
        name = chance.choices(list(CALLS), list(CALLS.values()))[0]
        function, cached = pairs[name]
        args: tuple[Any, ...] = ()
        if name == "timetable":
            args = (chance.randint(1, 7),)
        elif name != "directory":  # a row is fetched for each page, as a view does
            args = (Club.objects.get(pk=chance.choices(pks, weights)[0]),)
        before = 0 if plain else cached.stats().computations
        began = process_time()
        value = function(*args) if plain else cached(*args)
        text = shown(value)
        seconds += process_time() - began
        place = (name, *(getattr(each, "pk", each) for each in args))
        if not plain and cached.stats().computations > before:
            computed += 1
            needless += last.get(place) == text
        last[place] = text
        if not plain and chance.random() < COMPARED:
            truth = function(*args)
            stale += text != shown(truth)
    return Result(reads, computed, needless, stale, seconds)


def main() -> None:
    """Run each history with each kind of dependency, in turns, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--reads", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    start()
    import django
    from django.core.cache import cache

    kinds = ("auto", "models", "rows")
    pairs = {kind: helpers(kind) for kind in kinds}
    print(
        f"Python {platform.python_version()}, Django {django.__version__}, SQLite, LocMemCache, {os.cpu_count()} CPUs; "
        f"{options.reads} reads, {options.rounds} rounds"
    )
    print(f"{'reads/write':>11} {'depends on':>10} {'hits':>7} {'needless':>9} {'stale':>6} {'CPU/plain (spread)':>22}")
    for ratio in RATIOS:
        results: dict[str, list[Result]] = {kind: [] for kind in (*kinds, "plain")}
        for _ in range(options.rounds):
            for kind in random.sample([*kinds, "plain"], len(kinds) + 1):
                cache.clear()
                results[kind].append(
                    run(pairs[kind if kind in pairs else "auto"], ratio, options.reads, plain=kind == "plain")
                )
        plain = [each.seconds for each in results["plain"]]
        for kind in kinds:
            several = results[kind]
            ratios = sorted(each.seconds / base for each, base in zip(several, plain, strict=True))
            one = several[0]
            print(
                f"{ratio:>11} {kind:>10} {1 - one.computed / one.reads:>7.1%} {one.needless / one.reads:>9.1%} "
                f"{sum(each.stale for each in several):>6} {median(ratios):>9.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
            )


if __name__ == "__main__":
    main()
