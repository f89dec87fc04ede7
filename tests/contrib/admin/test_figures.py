"""The first page: what functions cost and save, why their calls are misses, what is invalidated most."""

from typing import Any

import pytest
from django.test import Client, override_settings

import cachedeco.diagnosis
import cachedeco.management  # noqa: F401 -- the pages need both doors
from cachedeco import Namespace, Statistics, Stats, cached_query, statistics
from cachedeco.contrib.admin import views
from cachedeco.contrib.admin.figures import MOST_SUBJECTS, Bar, figures_of
from tests.contrib.admin.conftest import read, text_of

HOSTILE = 'shop.<script>x</script>"&'
pytestmark = pytest.mark.django_db(databases=["default", "other"])


@cached_query(60, name=HOSTILE, namespace="<b>{club}")
def hostile(club: int) -> int:
    """Return what it was given."""
    return club


def stats(**counts: Any) -> Statistics:
    """Return the statistics of one function."""
    return Statistics({"shop.f": Stats(**counts)}, {}, ("host:1",))


def test_function_has_its_ratio_its_costs_and_its_reasons() -> None:
    """The most expensive one first; bars are parts of the largest."""
    cheap = Stats(hits=1, misses=3, computations=3, seconds_computing=0.5, seconds_saved=4.0)
    dear = Stats(hits=9, misses=1, computations=1, seconds_computing=2.0, reasons={"absent": 1, "invalidated": 3})

    figures = figures_of(Statistics({"cheap": cheap, "dear": dear, "": Stats(errors=1)}, {}, ("a:1",)), ["cheap", "no"])

    first, second = figures["functions"]
    assert ("dear", 10, Bar(90, "90 %"), Bar(100, "2 s"), Bar(0, "0 s")) == (
        first["name"],
        first["calls"],
        first["ratio"],
        first["computing"],
        first["saved"],
    )
    assert [Bar(75, "3 invalidated"), Bar(25, "1 absent")] == first["reasons"]
    assert (Bar(25, "25 %"), Bar(25, "500 ms"), Bar(100, "4 s")) == (
        second["ratio"],
        second["computing"],
        second["saved"],
    )
    assert (["no"], Bar(71, "71 %")) == (figures["silent"], figures["total"]["ratio"])


@pytest.mark.parametrize(
    ("hits", "misses", "percent"), [(1, 999, 2), (999, 1, 98), (1, 0, 100), (0, 1, 0)], ids=["least", "most", "1", "0"]
)
def test_bar_is_full_or_empty_only_if_the_figure_is(hits: int, misses: int, percent: int) -> None:
    """One hit among many misses is seen, and so is one miss among many hits."""
    [row] = figures_of(stats(hits=hits, misses=misses), [])["functions"]

    assert percent == (row["ratio"] and row["ratio"].percent)


@pytest.mark.parametrize(
    ("counts", "note"),
    [
        ({"invalidated": 2}, "2 invalidations"),
        ({"unstored": 1}, "1 value was not stored"),
        ({"unstored": 3, "unstored_reasons": {"a": 1, "b": 2}}, "3 values were not stored: b"),
        ({"errors": 1}, "1 error: see the log"),
        ({"inconsistent": 2}, "2 hits were wrong, says the auditor"),
    ],
)
def test_what_is_worth_a_look_is_a_note(counts: dict[str, Any], note: str) -> None:
    """Beside the name of the function, which may have no calls."""
    [row] = figures_of(stats(**counts), [])["functions"]

    assert ([note], None) == (row["notes"], row["ratio"])


def test_most_invalidated_come_first_and_the_others_are_left_out() -> None:
    """Each with a bar beside that of the first."""
    counts = {f"table t{n:02}": n for n in range(1, 31)}

    found = figures_of(Statistics({}, counts, ()), [])["invalidations"]

    assert (MOST_SUBJECTS, ("table t30", Bar(100, "30"))) == (len(found), found[0])


def test_page_shows_what_has_happened(browser: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls, reasons, subjects; all names are text, and no part of the page."""
    before = statistics()
    monkeypatch.setattr(views, "statistics", lambda **_: statistics() - before)
    for _ in range(3):
        hostile(7)
    Namespace("<b>7").invalidate()
    hostile(7)

    html = read(browser, "")

    text = text_of(html)
    assert f"{HOSTILE} 1 value computed anew was the same 50 % of 4 " in text
    assert "1 absent 1 invalidated" in text
    assert "namespace %3Cb%3E7 1 " in text
    assert "invalidated something that its entry depends on was written or invalidated since" in text
    assert ("&lt;script&gt;" in html, "<script" in html, "<b>" in html) == (True, False, False)
    assert 'width="50"' in html


def test_page_says_that_it_shows_one_process(browser: Client) -> None:
    """Where the setting is not set that would add the others."""
    text = text_of(read(browser, ""))

    assert "Of one process only" in text
    assert "SHARED_STATISTICS" in text


def test_page_shows_all_processes_that_share(browser: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """And says how many they are."""
    shared = Statistics({"shop.f": Stats(hits=1)}, {}, ("a:1", "b:2"), is_shared=True)
    monkeypatch.setattr(views, "statistics", lambda **_: shared)

    text = text_of(read(browser, ""))

    assert "Of 2 processes that share their counts" in text
    assert "No namespace and no table was invalidated yet." in text


def test_page_says_so_if_nothing_was_called(browser: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty table would say less."""
    monkeypatch.setattr(views, "statistics", lambda **_: Statistics(processes=("a:1",)))

    assert "No cached function was called yet." in text_of(read(browser, ""))


def test_settings_that_are_wrong_are_told(browser: Client) -> None:
    """Each call raises, and the page does not."""
    with override_settings(CACHEDECO={"MODE": "of"}):
        text = text_of(read(browser, "")) + text_of(read(browser, "health/"))

    assert 2 == text.count("'of'")
