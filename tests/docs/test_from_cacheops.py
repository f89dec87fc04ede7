"""The page for users of cacheops: what it says of both libraries holds for both, row by row."""

import asyncio
import json
import re
from collections.abc import Callable
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from threading import Thread
from types import ModuleType
from typing import Any

import pytest
from django.db import connection
from django.utils.translation import get_language, override

from cachedeco import Event, Namespace, bypass, cached_query, listening, rows
from cachedeco.testing import isolated
from tests.conftest import UseCaches
from tests.docs.test_pages import DOCS, tables_under
from tests.models import Club, ClubClass
from tests.support.programs import output_of
from tests.support.servers import Redis

PAGE = DOCS / "migrating" / "cacheops.md"

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.usefixtures("_auto_by_default", "_unmeasured_processes"),
]

_names = count()


@pytest.fixture(scope="module")
def theirs(redis_server: Redis) -> dict[str, Any]:
    """Run cacheops in a process of its own, and give what it did."""
    return dict(json.loads(output_of("-m", "tests.docs.cacheops_side", f"redis://127.0.0.1:{redis_server.port}/7")))


class Counted:
    """A function under our decorator, and how often it has computed."""

    def __init__(self, function: Callable[..., Any] | None = None, **options: Any) -> None:
        """Decorate a function, or one that returns its argument."""
        self.computed: list[Any] = []

        def run(x: Any) -> Any:
            self.computed.append(x)
            return x if function is None else function(x)

        def counted(x: Any = None) -> Any:
            return run(x)

        defaults = {"timeout": 300, "name": f"from_cacheops.{next(_names)}", "ignore": ("run",)}
        self.cached = cached_query(**{**defaults, **options})(counted)

    def computations(self, *calls: Callable[[Any], object]) -> int:
        """Make calls, and count how often they compute."""
        for call in calls:
            call(self.cached)
        return len(self.computed)


def after(write: Callable[[], object], argument: object = "North", **options: Any) -> list[int]:
    """Count what a cached count of the clubs called North gives before and after a write."""
    Club.objects.all().delete()
    Club.objects.create(pk=7, name="North")
    cached = Counted(lambda _: Club.objects.filter(name="North").count(), **options).cached
    return [cached(argument), (write(), cached(argument))[1]]


def written_past() -> None:
    """Rename the club by raw SQL."""
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {Club._meta.db_table} SET name = 'Renamed' WHERE id = 7")  # noqa: S608 -- our own table


def deleted() -> None:
    """Delete the club."""
    Club.objects.get().delete()


# --- each row of the tables: what cacheops did, by its name there, and what we do ---


def extra() -> int:
    """Count the computations of one call in two languages."""
    spoken = Counted(vary=get_language)
    for language in ("en", "nl"):
        with override(language):
            spoken.cached(1)
    return len(spoken.computed)


def set_value() -> object:
    """Store a value, and call."""
    cached = Counted(depends_on=()).cached
    cached.call(1).set(9)
    return cached(1)


def signals() -> list[str]:
    """Return the kinds of events of a call and a save."""
    events: list[Event] = []
    with listening(events.append):
        after(deleted)
    return sorted({event.kind for event in events} & {"hit", "miss", "invalidated"})


def saved_meanwhile() -> list[int]:
    """Save a row while the function computes."""

    def slow(_: object) -> int:
        found = Club.objects.count()
        if not found:
            Club.objects.create(name="North")
        return found

    cached = Counted(slow).cached
    return [cached(1), cached(1)]


def second_caller() -> int:
    """Call from a second thread while the first one computes; count the computations."""
    others: list[Thread] = []

    def call_again(x: int) -> int:
        if not others:
            others.append(Thread(target=counted.cached, args=(x,)))
            others[0].start()
        return x

    counted = Counted(call_again)
    counted.cached(1)
    others[0].join()
    return len(counted.computed)


def switched_off() -> list[int]:
    """Save while the cache is bypassed."""

    def delete_in_bypass() -> None:
        with bypass():
            deleted()

    return after(delete_in_bypass)


async def number(x: int) -> int:
    """Return the number."""
    return x


def coroutine() -> int:
    """Call an async function."""
    return asyncio.run(cached_query(name="from_cacheops.number")(number)(1))


def server_down() -> object:
    """Call where no server listens."""
    return Counted(cache="down").cached(1)


# A call after `set(9)`, what `get()` gives, and what `delete()` gives and a call after it.
VERBS_OF_A_KEY = [9, None, None, 1]

ROWS: dict[str, dict[str, tuple[str, object, Callable[[], object], object]]] = {
    "From `cached`": {
        "`timeout`": (
            "timeouts",
            [1, True, -1, True],
            lambda: Counted().computations(lambda f: f(1), lambda f: f(1)),
            1,
        ),
        "`extra`": ("extra", [2, 2], extra, 2),
        "`f.invalidate(x)`": (
            "invalidate",
            2,
            lambda: Counted().computations(lambda f: f(1), lambda f: f.invalidate(x=1), lambda f: f(1)),
            2,
        ),
        "`f.key(x).set(value)`": ("verbs of a key", VERBS_OF_A_KEY, set_value, 9),
        "`f.key(x).delete()`": (
            "verbs of a key",
            VERBS_OF_A_KEY,
            lambda: Counted().computations(lambda f: f(1), lambda f: f.call(1).invalidate(), lambda f: f(1)) - 1,
            1,
        ),
        "`f.key(x).get()`": (
            "verbs of a key",
            VERBS_OF_A_KEY,
            lambda: [(f := Counted().cached)(1), f.call(1).peek(), f.peek(1)][1:],
            [1, 1],
        ),
    },
    "From `cached_as`": {
        "a model as sample": ("a model as sample", [1, 0], lambda: after(deleted, depends_on=[Club]), [1, 0]),
        "a QuerySet as sample": (
            "a QuerySet as sample",
            [1, 0],
            lambda: after(deleted, depends_on=[rows(Club, name="{x}")]),
            [1, 0],
        ),
        "a row as sample": (
            "a row as sample",
            [1, 0],
            lambda: after(deleted, 7, depends_on=[rows(Club, pk="{x}")]),
            [1, 0],
        ),
        "`timeout`": (
            "timeouts",
            [1, True, -1, True],
            lambda: Counted().computations(lambda f: f(1), lambda f: f(1)),
            1,
        ),
        "`extra`": ("extra", [2, 2], extra, 2),
        "`lock=True`": ("second caller", 2, second_caller, 1),
        "`keep_fresh=True`": ("saved meanwhile", [[0, 0], [0, 1]], saved_meanwhile, [0, 1]),
    },
    "What changes": {
        "`update()` of a QuerySet": (
            "update",
            [1, 1],
            lambda: after(lambda: Club.objects.update(name="South")),
            [1, 0],
        ),
        "raw SQL that writes": ("raw SQL", [1, 1], lambda: after(written_past), [1, 0]),
        "a row is saved while the function computes": ("saved meanwhile", [[0, 0], [0, 1]], saved_meanwhile, [0, 1]),
        "a second caller while the first one computes": ("second caller", 2, second_caller, 1),
        "`f(1)` and `f(x=1)`": ("keyword", 2, lambda: Counted().computations(lambda f: f(1), lambda f: f(x=1)), 1),
        "`f([1])` and `f((1,))`": (
            "list and tuple",
            1,
            lambda: Counted().computations(lambda f: f([1]), lambda f: f((1,))),
            2,
        ),
        "a function under `cached_as` has `invalidate()`": (
            "has invalidate",
            False,
            lambda: hasattr(Counted().cached, "invalidate"),
            True,
        ),
        "a row is saved while caching is switched off, by `CACHEOPS_ENABLED` or by `bypass()`": (
            "switched off",
            [1, 1],
            switched_off,
            [1, 0],
        ),
        "`async def`": ("async", "TypeError", coroutine, 1),
        "Redis does not answer": ("Redis down", "ConnectionError", server_down, 1),
    },
}
AROUND: dict[str, tuple[str, object, Callable[[], object], object]] = {
    "`invalidate_obj(club)`": (
        "invalidate_obj",
        [1, 0],
        lambda: after(lambda: (written_past(), Namespace.for_model(Club, pk=7).invalidate())),
        [1, 0],
    ),
    "`invalidate_model(ClubClass)`": (
        "invalidate_model",
        [1, 0],
        lambda: after(lambda: (written_past(), Namespace.for_model(Club).invalidate())),
        [1, 0],
    ),
    "`ClubClass.objects.invalidated_update(...)`": (
        "invalidated_update",
        [1, 0],
        lambda: after(lambda: Club.objects.update(name="South")),
        [1, 0],
    ),
    "the signals `cache_read` and `cache_invalidated`": (
        "signals",
        ["cache_invalidated", "cache_read"],
        signals,
        ["invalidated", "miss"],
    ),
}


@pytest.mark.parametrize(
    ("heading", "row"), [*((heading, row) for heading in ROWS for row in ROWS[heading]), *(("", row) for row in AROUND)]
)
def test_row_of_the_page_is_what_both_do(
    heading: str, row: str, theirs: dict[str, Any], use_caches: UseCaches, settings: Any
) -> None:
    """What the page says of cacheops, and of cachedeco beside it, is so."""
    use_caches(default="locmem")
    if row == "Redis does not answer":
        down = {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://127.0.0.1:9"}
        settings.CACHES = {**settings.CACHES, "down": down}
        settings.CACHEDECO = {"ALIASES": ["default", "down"]}
    name, expected_of_theirs, ours, expected = (ROWS[heading] if heading else AROUND)[row]

    with isolated():
        assert (expected_of_theirs, expected) == (theirs[name], ours())


@pytest.mark.parametrize("heading", ROWS)
def test_table_has_every_row(heading: str) -> None:
    """Each row of the tables is tried above."""
    [table] = tables_under(PAGE, heading)

    assert list(ROWS[heading]) == [row[0] for row in table]


def test_settings_are_those_of_cacheops() -> None:
    """The table of settings has each setting of cacheops, but those of its files."""
    package = find_spec("cacheops")  # to import it would patch Django
    assert package is not None
    assert package.origin is not None
    source = Path(package.origin).with_name("conf.py").read_text()
    _, table = tables_under(PAGE, "Around the functions")

    assert set(re.findall(r"^    (CACHEOPS\w*) =", source, re.MULTILINE)) == {
        name for row in table for name in re.findall(r"`(CACHEOPS\w*)`", row[0])
    }


def test_after_gives_what_is_there() -> None:
    """The new side of each example gives what the database has, also after a save."""
    side = ModuleType("side_of_cachedeco")
    vars(side).update(Club=Club, ClubClass=ClubClass, cached_query=cached_query, rows=rows)
    for source in re.findall(r"^```diff\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL):
        exec("\n".join(line[1:] for line in source.splitlines() if not line.startswith("-")), vars(side))  # noqa: S102
    club = Club.objects.create(name="North")

    with isolated():
        before = side.number_of_classes(), side.names_of_classes(club.pk)
        ClubClass.objects.create(club=club, name="Judo", start_time="2026-01-01T10:00Z")

        assert ((0, []), (1, ["Judo"])) == (before, (side.number_of_classes(), side.names_of_classes(club.pk)))
