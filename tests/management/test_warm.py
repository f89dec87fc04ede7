"""`manage.py cachedeco warm`."""

import sys
from collections.abc import Callable, Iterator
from io import StringIO
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from cachedeco import MISSING, mode
from cachedeco.management import progress, warming
from cachedeco.management.printing import Console
from cachedeco.management.progress import Progress
from tests.conftest import UseCaches
from tests.management.saying import said
from tests.models import Club
from tests.support import catalogue
from tests.support.faults import faulty

HERE = "tests.support.catalogue"
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("isolated_caches")]


@pytest.fixture
def clubs() -> list[Club]:
    """Give three clubs."""
    return [Club.objects.create(name=name) for name in ("Ajax", "Sparta", "Excelsior")]


def typed(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Put a text on standard input."""
    monkeypatch.setattr(sys, "stdin", StringIO(text))


def test_one_call_is_warmed(clubs: list[Club]) -> None:
    """Its value is stored; the second time it is there already, and nothing is computed."""
    key = str(clubs[0].pk)

    first = said("warm", f"{HERE}.name_of", key)
    second = said("warm", f"{HERE}.name_of", f"pk={key}")

    assert ("1 call: 1 computed and stored.\n", "", 0) == first
    assert ("1 call: 1 stored already.\n", "", 0) == second
    assert "Ajax" == catalogue.name_of.peek(clubs[0].pk)


def test_call_for_each_primary_key(clubs: list[Club]) -> None:
    """The key comes before the arguments that are given; what is stored already is not computed."""
    catalogue.name_of(clubs[1].pk)

    told = said("warm", f"{HERE}.name_of", "--ids", "tests.Club")

    assert ("3 calls: 2 computed and stored, 1 stored already.\n", "", 0) == told
    assert ["Ajax", "Sparta", "Excelsior"] == [catalogue.name_of.peek(each.pk) for each in clubs]


def test_call_for_each_row(clubs: list[Club]) -> None:
    """The row is the first argument, and is read when it is its turn: one that is gone by then is counted."""
    club = Club.objects.create(name="gone")
    Club.objects.filter(pk=club.pk).delete()
    later = iter([*clubs, club])

    def keys(*_: object, **__: object) -> list[int]:
        return [each.pk for each in later]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("django.db.models.query.QuerySet.values_list", keys)
        told = said("warm", f"{HERE}.page_of", "--rows", "tests.Club", "2", "language=nl")

    assert ("4 calls: 3 computed and stored, 1 whose row is gone.\n", "", 0) == told
    assert "Sparta 2 nl" == catalogue.page_of.peek(clubs[1], 2, language="nl")


def test_ids_are_warmed_in_chunks(clubs: list[Club], monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a function over many ids a call, and a query, takes several."""
    monkeypatch.setattr(warming, "CHUNK", 2)

    with CaptureQueriesContext(connection) as queries:
        told = said("warm", f"{HERE}.names", "--ids", "tests.Club", "prefix=FC ")

    assert ("2 calls: 2 computed and stored.\n", "", 0, 3) == (*told, len(queries))
    assert {each.pk: f"FC {each.name}" for each in clubs} == catalogue.names.peek([each.pk for each in clubs], "FC ")


def test_call_for_each_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a shell reads it, comments left out; a line that means nothing stops no other."""
    typed(monkeypatch, "judo new\n # two\n'table tennis' page=2\n'open\n")

    out, err, code = said("warm", f"{HERE}.by_slug", "--stdin")

    assert ("3 calls: 2 computed and stored, 1 failed.\n", 1) == (out, code)
    assert (
        "line 4: No closing quotation, in a line that is read as a shell reads it.\n1 of 3 calls stored nothing." == err
    )
    assert MISSING is not catalogue.by_slug.peek("judo", "new")
    assert MISSING is not catalogue.by_slug.peek("table tennis", page=2)


def test_async_function_is_awaited() -> None:
    """The command has no loop of its own."""
    assert ("1 call: 1 computed and stored.\n", "", 0) == said("warm", f"{HERE}.later", "7")
    assert 7 == catalogue.later.peek(7)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["unstorable", "1"], "1: The value can't be stored"),
        (["log_in", "ann", "secret"], "'ann', ***: ValueError: password=***"),
        (["name_of", "999"], "999: DoesNotExist: Club matching query does not exist."),
        (["page_of", "7"], "7: key='{club.pk}:{page}:{language}' of "),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else "",
)
def test_call_that_stores_nothing_is_told(options: list[str], expected: str) -> None:
    """With the reason, without secrets; the exit code says so."""
    out, err, code = said("warm", f"{HERE}.{options[0]}", *options[1:])

    assert ("1 call: 1 failed.\n", 1) == (out, code)
    assert err.startswith(expected)
    assert "secret" not in err


def test_value_that_is_not_to_be_stored_is_no_failure() -> None:
    """As `cache_if` says; the command tells how many there were."""
    assert ("1 call: 1 computed and not to be stored.\n", "", 0) == said("warm", f"{HERE}.positive", "-1")


def test_failures_of_single_calls_stop_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first are printed, and the others counted; as JSON too."""
    typed(monkeypatch, "997\n998\n999\n")
    monkeypatch.setattr(warming, "MOST_SHOWN", 1)

    told = said("warm", f"{HERE}.name_of", "--stdin", "--json")

    assert {
        "function": f"{HERE}.name_of",
        "calls": 3,
        "stored": 0,
        "found": 0,
        "refused": 0,
        "gone": 0,
        "failed": 3,
        "failures": [{"call": "line 1", "reason": "DoesNotExist: Club matching query does not exist."}],
    } == told.json
    assert (True, 1) == ("... and 2 more.\n3 of 3 calls stored nothing." in told.err, told.code)


def test_cache_that_does_not_answer_stops_the_command(clubs: list[Club], use_caches: UseCaches) -> None:
    """To compute what can't be stored is in vain."""
    use_caches(default="faulty")
    with faulty(raises=OSError()):
        out, err, code = said("warm", f"{HERE}.name_of", "--ids", "tests.Club")

    assert (3, 1) == (len(clubs), code)
    assert "failed" in out
    assert "its cache does not answer; manage.py cachedeco doctor says more" in err
    assert "Stopped, as the cache does not answer, " in err


def test_interrupt_ends_the_command_with_a_report(clubs: list[Club], monkeypatch: pytest.MonkeyPatch) -> None:
    """What is done is done; the exit code says that it is not all."""
    left = iter([None, KeyboardInterrupt()])

    def interrupt(_self: Progress, _count: int = 1) -> None:
        error = next(left)
        if error is not None:
            raise error

    monkeypatch.setattr(Progress, "step", interrupt)

    out, err, code = said("warm", f"{HERE}.name_of", "--ids", "tests.Club")

    assert ("2 calls: 2 computed and stored.\n", 1, 3) == (out, code, len(clubs))
    assert "Interrupted, 1 calls before the end." in err


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["nothing"], "There is no cached function"),
        (["name_of"], "missing a required argument"),
        (["name_of", "7", "--stdin"], "leave out those of the command line"),
        (["name_of", "--ids", "tests.Nothing"], "names no model"),
        (["name_of", "7", "--ids", "tests.Club"], "too many positional arguments"),
        (["names", "--rows", "tests.Club"], "takes many ids: say --ids tests.Club."),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else "",
)
def test_plan_that_means_nothing_is_told(options: list[str], expected: str) -> None:
    """Nothing is called, by the exit code of a misunderstanding."""
    out, err, code = said("warm", f"{HERE}.{options[0]}", *options[1:])

    assert ("", 2, True) == (out, code, expected in err)


@pytest.mark.parametrize("name", ["off", "bypass"])
def test_mode_in_which_nothing_is_stored_is_told(name: Any) -> None:
    """A command with the settings of tests would compute in vain."""
    with mode(name):
        _, err, code = said("warm", f"{HERE}.later", "7")

    assert (f"The mode is '{name}' in these settings, so that nothing would be stored.", 1) == (err, code)


class Screen(StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        """Be one."""
        return True


@pytest.mark.parametrize(
    ("stream", "total", "verbosity", "expected"),
    [
        (
            Screen,
            30,
            1,
            "10 of 30 calls, 40 s left    \r20 of 30 calls, 20 s left    \r30 of 30 calls, 0 s left    \r\n",
        ),
        (
            StringIO,
            30,
            1,
            "10 of 30 calls, 40 s left    \n20 of 30 calls, 20 s left    \n30 of 30 calls, 0 s left    \n",
        ),
        (StringIO, None, 1, "10 calls, 20 s\n20 calls, 40 s\n30 calls, 60 s\n"),
        (Screen, 30, 0, ""),
    ],
    ids=["terminal", "file", "unknown total", "quiet"],
)
def test_progress_is_told_now_and_then(
    monkeypatch: pytest.MonkeyPatch, stream: Callable[[], StringIO], total: int | None, verbosity: int, expected: str
) -> None:
    """On a terminal one line is written again; with --verbosity 0 there is none."""
    from django.core.management.base import OutputWrapper

    ticks: Iterator[float] = iter(range(0, 1000, 20))
    monkeypatch.setattr(progress, "monotonic", lambda: float(next(ticks)))
    err = stream()

    told = Progress(Console(OutputWrapper(StringIO()), OutputWrapper(err), as_json=False, verbosity=verbosity), total)
    for _ in range(3):
        told.step(10)
    told.end()

    assert expected == err.getvalue()


def test_cache_that_keeps_nothing_is_told(use_caches: UseCaches) -> None:
    """A command with the settings of development would compute in vain."""
    use_caches(default={"BACKEND": "django.core.cache.backends.dummy.DummyCache"})

    _, err, code = said("warm", f"{HERE}.later", "7")

    assert ("Cache 'default' is a DummyCache, which keeps nothing, so that nothing would be stored.", 1) == (err, code)
