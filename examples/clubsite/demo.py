"""Tell the story of the club site over HTTP, and end with 1 if a step is not what it should be."""

import os
import signal
import sys
from http.client import HTTPException
from subprocess import TimeoutExpired
from time import perf_counter, sleep
from urllib.parse import urlsplit

from story import StoryError
from story.postgresql import is_postgresql, run_sql
from story.report import Report, unexpected, unless
from story.site import Site, running_site
from story.visitor import Answer, ClassRow, Visitor

CLUB = "/clubs/1/"
OTHER_CLUB = "/clubs/2/"
CLUB_WITHOUT_CLOSURE = "/clubs/3/"
WARM_UP_CLUB = "/clubs/4/"

LIST = "/"
CITY = "/cities/Ashford/"
CLOSURES = "/closures/"
RANKING = "/ranking/"
TIMETABLE = "/timetable/monday/"
RENAME_TRAINERS = """
from django.db.models import Value
from django.db.models.functions import Concat
from clubs.models import Trainer
Trainer.objects.update(name=Concat(Value("Renamed "), "name"))
"""

# What psql is told; the site has no part in it.
RETITLE_TRAINERS = "UPDATE clubs_trainer SET name = 'Coach ' || name"
DELIVERY_SECONDS = 20
REFRESH_SECONDS = 20
FRESH_SECONDS = 3  # of the ranking
PAUSE_SECONDS = 0.02

HELPERS = 3  # club_classes, club_statistics, next_closure: one query each
OWN = 1  # the page's own query, for the row of the club, which is not cached
COLD = {"queries": OWN + HELPERS, "hit": 0, "miss": HELPERS, "stored": HELPERS, "error": 0}
CITY_CLUBS = 15
HIT = {"queries": OWN, "hit": HELPERS, "miss": 0, "computed": 0, "error": 0}


class Story:
    """The steps, in the order in which they are told; each begins where the one before has left off."""

    def __init__(self, site: Site, report: Report) -> None:
        """Bring a visitor and a member of staff."""
        self.site = site
        self.report = report
        self.visitor = Visitor(site.port)
        self.staff = Visitor(site.port)
        self.first_page = ""

    def tell(self) -> None:
        """Tell all steps."""
        # The first request of a process loads code, templates and the cache's client; no step should
        # have to pay for that. It is about a club that the story does not come to.
        self.visitor.get(WARM_UP_CLUB)
        # The last step needs it to be a few seconds old.
        ranking, ranked = self.visitor.get(RANKING), perf_counter()
        self.cold()
        self.hit()
        self.another_club()
        self.log_in()
        self.moved_class()
        self.worker()
        self.update()
        self.psql()
        self.renamed_club()
        self.none()
        self.many_ids()
        self.asynchronous()
        self.bypass()
        self.rolled_back()
        self.stale(ranking, perf_counter() - ranked)

    def cold(self) -> None:
        """Fetch a page of which nothing is stored yet."""
        self.report.step("cold", "nothing is stored about this club: three helpers compute, one query each.")
        answer = self.visitor.get(CLUB)
        self.report.show(
            answer,
            *unexpected(answer, **COLD),
            *unless(answer.classes, "Expected classes on the page, found none."),
        )
        self.first_page = answer.page

    def hit(self) -> None:
        """Fetch the same page again."""
        self.report.step("hit", "the same page costs no query but the one for the club itself.")
        self.show_hit(CLUB, page=self.first_page)

    def another_club(self) -> None:
        """Visit another club: in 2008 one constant key served the first one's classes to all."""
        self.report.step("another club", "it has entries of its own and gets none of the first club's.")
        first = self.visitor.get(CLUB)
        answer = self.visitor.get(OTHER_CLUB)
        shared = first.classes.keys() & answer.classes.keys()
        self.report.show(
            answer,
            *unexpected(answer, **COLD),
            *unless(answer.classes, "Expected classes on the page, found none."),
            *unless(not shared, f"Expected no class of the first club, found {sorted(shared)}."),
        )

    def log_in(self) -> None:
        """Log in to the admin: no step of the story, but three steps need it."""
        answer = self.staff.submit(
            "/admin/login/?next=/admin/",
            username=self.site.admin_name,
            password=self.site.admin_password,
        )
        if answer.status != 302:  # noqa: PLR2004
            msg = f"The admin does not let the demo in: {answer.status}."
            raise StoryError(msg)

    def moved_class(self) -> None:
        """Move a class in the admin."""
        self.report.step(
            "moved class",
            "saved in the admin, it is on the page at once; what doesn't show it stays a hit.",
        )
        before = self.visitor.get(CLUB)
        moved = first_class(before)
        saved = self.staff.submit(
            f"/admin/clubs/clubclass/{moved.pk}/change/",
            start_time="06:05",
            end_time="06:50",
        )
        self.report.show(saved, *unexpected(saved, status=302, invalidated=3, lost=0, error=0))
        after = self.visitor.get(CLUB)
        now = after.classes.get(moved.pk)
        self.report.show(
            after,
            *unexpected(after, queries=OWN + 2, hit=1, miss=2, stored=2, error=0),
            *self.unexpected_calls(after, club_classes="miss", club_statistics="miss", next_closure="hit"),
            *unless(
                now and (now.start, now.end) == ("06:05", "06:50"),
                f"Expected the class at 06:05 to 06:50, found {now}; it was {moved}.",
            ),
            *unless(len(after.classes) == len(before.classes), "Expected as many classes as before."),
        )
        self.show_hit(OTHER_CLUB)

    def worker(self) -> None:
        """Move a class in another process."""
        if is_in_memory():
            self.report.step("worker", "left out: a cache in memory belongs to one process.")
            return
        self.report.step(
            "worker",
            "a second process saves a class: the page of its club shows it at once, and no other page is computed.",
        )
        before = self.visitor.get(CLUB)
        said = self.site.run_elsewhere("worker", "--moves", "1")
        self.report.note(f"manage.py worker: {said}")
        after = self.visitor.get(CLUB)
        moved = min(before.classes)
        self.report.show(
            after,
            *unexpected(after, queries=OWN + 2, hit=1, miss=2, stored=2, error=0),
            *self.unexpected_calls(after, club_classes="miss", club_statistics="miss", next_closure="hit"),
            *unless(before.classes[moved] != after.classes.get(moved), "Expected the class at another hour."),
        )
        hours = (answer.classes[moved].start for answer in (before, after) if moved in answer.classes)
        self.report.note(f"the page shows this class at {', then at '.join(hours)}")
        self.show_hit(OTHER_CLUB)

    def update(self) -> None:
        """Rename all trainers in another process, by one UPDATE."""
        if is_in_memory():
            self.report.step("update()", "left out: a cache in memory belongs to one process.")
            return
        self.report.step(
            "update()",
            "a second process renames all trainers by one UPDATE, for which Django sends no signal.",
        )
        self.visitor.get(CLUB)
        self.visitor.get(TIMETABLE)
        self.site.run_elsewhere("shell", "--no-imports", "-c", RENAME_TRAINERS)
        self.show_new_names(self.visitor.get(CLUB), "Renamed")

    def psql(self) -> None:
        """Rename all trainers again, past Django: a trigger records it, and the deliverer invalidates."""
        database = self.site.environment["CLUBSITE_DB"]
        if not is_postgresql(database):
            how = "CLUBSITE_DB=postgresql://user@127.0.0.1:5432/postgres make demo"
            self.report.step("psql", f"left out: it needs triggers of PostgreSQL; see it with {how}")
            return
        if is_in_memory():
            self.report.step("psql", "left out: a cache in memory belongs to one process.")
            return
        self.report.step(
            "psql",
            "an UPDATE past Django is recorded by a trigger: what has read the trainers is computed anew, no more.",
        )
        self.visitor.get(CLUB)
        self.visitor.get(TIMETABLE)
        program = run_sql(database, RETITLE_TRAINERS)
        began = perf_counter()
        after = self.visitor.get(CLUB)
        while "Coach Renamed" not in after.page and perf_counter() - began < DELIVERY_SECONDS:
            sleep(PAUSE_SECONDS)
            after = self.visitor.get(CLUB)
        self.report.note(f"UPDATE by {program}, page new after {perf_counter() - began:.2f} s")
        self.show_new_names(after, "Coach Renamed")

    def renamed_club(self) -> None:
        """Rename the club in the admin."""
        self.report.step(
            "renamed club",
            "a saved club invalidates all that is known about it, and nothing else.",
        )
        saved = self.staff.submit("/admin/clubs/club/1/change/", name="The Renamed Club")
        self.report.show(saved, *unexpected(saved, status=302, invalidated=2, lost=0, error=0))
        after = self.visitor.get(CLUB)
        self.report.show(
            after,
            *unexpected(after, **COLD),
            *unless("<h1>The Renamed Club</h1>" in after.page, "Expected the new name on the page."),
        )
        self.show_hit(OTHER_CLUB)

    def none(self) -> None:
        """Visit a club of which one value is None."""
        self.report.step("None", "where no closure is planned, the answer None is stored and served.")
        first = self.visitor.get(CLUB_WITHOUT_CLOSURE)
        none_planned = '<dd id="closure">none planned</dd>'
        self.report.show(
            first,
            *unexpected(first, **COLD),
            *unless(none_planned in first.page, "Expected a club without a closure."),
        )
        self.show_hit(CLUB_WITHOUT_CLOSURE, page=first.page)

    def many_ids(self) -> None:
        """Visit a city, which asks for a number of each of its clubs, before and after one of them has changed."""
        self.report.step(
            "many ids",
            "a city's page has an entry for each of its clubs; one query computes those that miss, and no other.",
        )
        self.visitor.get(LIST)
        first = self.visitor.get(CITY)
        self.report.show(first, *unexpected(first, queries=1, hit=1, miss=CITY_CLUBS, stored=CITY_CLUBS, error=0))
        moved = first_class(self.visitor.get(CLUB))
        saved = self.staff.submit(f"/admin/clubs/clubclass/{moved.pk}/change/", start_time="07:05", end_time="07:50")
        self.report.show(saved, *unexpected(saved, status=302, lost=0, error=0))
        self.visitor.get(CLUB)
        again = self.visitor.get(CITY)
        self.report.show(again, *unexpected(again, queries=1, hit=CITY_CLUBS, miss=1, stored=1, error=0))

    def asynchronous(self) -> None:
        """Visit a page whose view is async, twice."""
        self.report.step("async", "an async view awaits an async function and a sync one, in one round trip.")
        self.visitor.get(LIST)
        first = self.visitor.get(CLOSURES)
        self.report.show(first, *unexpected(first, queries=1, hit=1, miss=1, stored=1, error=0))
        again = self.visitor.get(CLOSURES)
        self.report.show(
            again,
            *unexpected(again, queries=0, hit=2, miss=0, error=0),
            *unless(again.page == first.page, "Expected the page to be what it was before."),
        )

    def stale(self, first: Answer, age: float) -> None:
        """Visit the ranking when its value, so many seconds old, is not fresh any more."""
        self.report.step(
            "stale-while-revalidate",
            f"past its {FRESH_SECONDS} seconds the old ranking is served at once, while a thread computes the new one.",
        )
        self.report.note(f"the first visit, at the beginning, computed: {first.milliseconds:.0f} ms")
        sleep(max(0, FRESH_SECONDS + PAUSE_SECONDS - age))
        old = self.visitor.get(RANKING)
        self.report.show(
            old,
            *unexpected(old, queries=0, stale=1, hit=0, miss=0, error=0),
            *unless(old.computed_at == first.computed_at, "Expected the old ranking."),
            *unless(old.milliseconds < first.milliseconds, "Expected it at once."),
        )
        began = perf_counter()
        new = old
        while not new.cache.get("hit") and perf_counter() - began < REFRESH_SECONDS:
            sleep(PAUSE_SECONDS)
            new = self.visitor.get(RANKING)
        self.report.note(f"refreshed in the background: {perf_counter() - began:.1f} s")
        self.report.show(
            new,
            *unexpected(new, queries=0, stale=0, hit=1, miss=0, error=0),
            *unless(new.computed_at > old.computed_at, "Expected a newer ranking."),
        )

    def bypass(self) -> None:
        """Go past the cache."""
        self.report.step("bypass", "?bypass=1 computes all three, stores nothing, and leaves what is stored alone.")
        stored = self.visitor.get(CLUB)
        answer = self.visitor.get(f"{CLUB}?bypass=1")
        self.report.show(
            answer,
            *unexpected(answer, queries=OWN + HELPERS, bypassed=HELPERS, hit=0, miss=0, stored=0, error=0),
            *unless(answer.page == stored.page, "Expected the same page as from the cache."),
        )
        self.show_hit(CLUB, page=stored.page)

    def rolled_back(self) -> None:
        """Move a class to an hour at which its trainer is taken."""
        self.report.step(
            "rolled-back transaction",
            "a move refused after its save has changed and invalidated nothing.",
        )
        before = self.visitor.get(CLUB)
        moved, taken = two_classes_of_one_trainer(before)
        refused = self.staff.submit(
            f"/classes/{moved.pk}/move/",
            weekday=taken.weekday,
            start_time=taken.start,
            end_time=taken.end,
        )
        self.report.show(
            refused,
            *unexpected(refused, status=409, invalidated=0, lost=0, error=0),
            *unless("gives another class at that hour" in refused.page, "Expected the page to say why."),
        )
        self.show_hit(CLUB, page=before.page)

    def show_new_names(self, after: Answer, name: str) -> None:
        """Compare the page of a club and the timetable with what they should be once all trainers have new names."""
        self.report.show(
            after,
            *unexpected(after, queries=OWN + 1, hit=2, miss=1, stored=1, error=0),
            *self.unexpected_calls(after, club_classes="miss", club_statistics="hit", next_closure="hit"),
            *unless(name in after.page, "Expected the trainers' new names on the page."),
        )
        timetable = self.visitor.get(TIMETABLE)
        self.report.show(
            timetable,
            *unexpected(timetable, hit=1, miss=1, error=0),
            *unless(name in timetable.page, "Expected the trainers' new names in the timetable."),
        )
        self.visitor.get(OTHER_CLUB)

    def show_hit(self, path: str, page: str | None = None) -> None:
        """Fetch a page of which everything should be stored, and compare it with what it was before."""
        answer = self.visitor.get(path)
        self.report.show(
            answer,
            *unexpected(answer, **HIT),
            *unless(page in {None, answer.page}, "Expected the page to be what it was before."),
        )

    @staticmethod
    def unexpected_calls(answer: Answer, **calls: str) -> list[str]:
        """Compare what became of each helper with what should have."""
        return unless(answer.calls == calls, f"Expected {calls}, got {dict(answer.calls)}.")


def is_in_memory() -> bool:
    """Tell whether the site's cache is in the memory of its process."""
    return os.environ.get("CACHE_URL", "").startswith("locmem:")


def first_class(answer: Answer) -> ClassRow:
    """Return the first class on a page."""
    for row in answer.classes.values():
        return row
    msg = f"No class at {answer.request}."
    raise StoryError(msg)


def two_classes_of_one_trainer(answer: Answer) -> tuple[ClassRow, ClassRow]:
    """Find two classes on a page that the same trainer gives."""
    seen: dict[int, ClassRow] = {}
    for row in answer.classes.values():
        if row.trainer in seen:
            return seen[row.trainer], row
        seen[row.trainer] = row
    msg = f"No trainer has two classes at {answer.request}."
    raise StoryError(msg)


def tell(site: Site, report: Report) -> None:
    """Tell the story, and show what the server has logged if anything was not as it should be."""
    # Without the user's name and password, which an address may hold.
    cache = urlsplit(site.environment["CACHE_URL"])
    server = cache.netloc.rpartition("@")[2]
    database = "PostgreSQL" if is_postgresql(site.environment["CLUBSITE_DB"]) else "SQLite"
    report.begin(f"The club site, 300 clubs and 6000 classes, on {database} and {cache.scheme} {server}".rstrip())
    try:
        Story(site, report).tell()
    except (StoryError, OSError, HTTPException) as error:
        report.break_off(f"The story broke off: {error}")
    if report.faults:
        sys.stderr.write(f"\nThe end of the server's log:\n{site.last_log_lines()}\n")


def main() -> int:
    """Run the site, tell the story, return the exit code."""
    # A process that is asked to end runs its finally clauses only if that is an exception.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    report = Report(sys.stdout)
    try:
        with running_site() as site:
            tell(site, report)
    except (StoryError, OSError, TimeoutExpired) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("\nInterrupted.\n")
        return 130
    return 0 if report.end() else 1


if __name__ == "__main__":
    sys.exit(main())
