"""`manage.py cachedeco stats` and `top`: what was counted."""

import pytest

import cachedeco
from cachedeco.management.counting import rank
from cachedeco.runtime.statistics import Statistics, Stats
from tests.management.saying import said

PAGE = Stats(
    hits=90,
    misses=10,
    computations=10,
    stored=9,
    unstored=1,
    invalidated=4,
    unchanged=3,
    seconds_saved=45.0,
    seconds_computing=5.0,
    bytes_stored=9 * 2**20,
    reasons={"absent": 2, "invalidated": 8},
    unstored_reasons={"too large": 1},
)
LIST = Stats(hits=1, misses=99, stale=0, computations=99, seconds_computing=1.0, errors=2, reasons={"expired": 99})
IDLE = Stats()
ALL = Statistics(
    functions={"clubs.queries.page": PAGE, "clubs.queries.idle": IDLE, "clubs.lists.days": LIST, "": Stats(errors=1)},
    invalidations={"namespace club": 40, "table clubs_club": 6, "rows of clubs_club": 6},
    processes=("web1:10", "web1:11"),
    is_shared=True,
)


@pytest.fixture(autouse=True)
def _counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have something counted by two processes."""
    monkeypatch.setenv("COLUMNS", "110")
    counted_by(monkeypatch, ALL)


def counted_by(monkeypatch: pytest.MonkeyPatch, found: Statistics) -> None:
    """Have the statistics that a test says."""

    def statistics(*, shared: bool) -> Statistics:
        assert shared
        return found

    monkeypatch.setattr(cachedeco, "statistics", statistics)


def test_functions_are_a_table_with_their_sum() -> None:
    """How many hits and misses, at which ratio, and what they cost and saved."""
    out, err, code = said("stats")

    assert ("", 0) == (err, code)
    assert [
        "function            hits  misses  ratio  computing  saved  invalidated  errors",
        "clubs.lists.days       1      99  1 %    1 s        0 s              0       2",
        "clubs.queries.idle     0       0         0 s        0 s              0       0",
        "clubs.queries.page    90      10  90 %   5 s        45 s             4       0",
    ] == out.splitlines()[:4]
    assert out.splitlines()[4].startswith("all                   91     109  46 %")
    assert "Counted by 2 processes: web1:10, web1:11." == out.splitlines()[-1]


def test_named_functions_have_all_their_counts() -> None:
    """With the reasons of their misses, and of what was not stored; what is 0 is left out."""
    assert (
        """\
clubs.queries.page()
    hits           90, 90 %
    misses         10
      invalidated  8
      absent       2
    computations   10, 5 s in all
    needless       3
    saved          45 s
    stored         9, 9 MB in all
    unstored       1; 1: too large
    invalidated    4
"""
        in said("stats", "clubs.queries").out
    )


def test_reason_that_is_a_sentence_is_wrapped_beside_the_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Why values are not stored is told in sentences: they leave the table as wide as the terminal."""
    monkeypatch.setenv("COLUMNS", "60")
    reasons = {"a part of it can't be serialized, so that each call computes; return plain data": 1, "too large": 2}
    counted_by(monkeypatch, Statistics({"clubs.f": Stats(unstored=3, unstored_reasons=reasons)}))

    out = said("stats", "clubs.f").out

    assert "unstored      3; 2: too large; 1: a part of it" in out
    assert 60 >= max(map(len, out.splitlines()))


@pytest.mark.parametrize(
    ("problem", "expected"),
    [
        ("", ". Set SHARED_STATISTICS in CACHEDECO"),
        ("the cache does not answer", ": the cache does not answer."),
    ],
)
@pytest.mark.parametrize("name", ["stats", "top"])
def test_counts_of_one_process_are_said_to_be_so(
    monkeypatch: pytest.MonkeyPatch, name: str, problem: str, expected: str
) -> None:
    """That of the command has done nothing: it says what to set, or what is wrong."""
    counted_by(monkeypatch, Statistics(problem=problem))

    out = said(name).out

    assert {"stats": "No cached function was called yet.\n", "top": "nothing yet\n"}[name] in out
    assert f"These are the counts of this process alone{expected}" in " ".join(out.split())


def test_stats_are_json() -> None:
    """All of the functions that are named, and their total; of all without a name, with what belongs to none."""
    named = said("stats", "--json", "clubs.lists").json
    whole = said("stats", "--json").json

    assert (["clubs.lists.days"], True, 99, 99, 2) == (
        list(named["functions"]),
        named["is_shared"],
        named["functions"]["clubs.lists.days"]["misses"],
        named["total"]["misses"],
        named["total"]["errors"],
    )
    assert (["clubs.lists.days", "clubs.queries.idle", "clubs.queries.page"], 109, 3) == (
        sorted(whole["functions"]),
        whole["total"]["misses"],
        whole["total"]["errors"],
    )


def test_name_of_which_nothing_was_counted_is_told() -> None:
    """By the exit code of a misunderstanding."""
    out, err, code = said("stats", "clubs.nothing")

    assert ("", 2) == (out, code)
    assert "Nothing was counted of a name that begins with 'clubs.nothing'; stats without it shows all." == err


def test_top_has_four_rankings() -> None:
    """Cost, misses, invalidations, and computations in vain."""
    out, err, code = said("top")

    assert ("", 0) == (err, code)
    assert [
        ["Functions that compute longest:", "clubs.queries.page  5 s        83 %             10  500 ms  90 %"],
        ["Functions that miss most:", "clubs.lists.days        99  91 %   1 %        expired"],
        ["What is invalidated most:", "namespace club                 40  80 %"],
        [
            "Functions that compute in vain most, the value that their entry had already:",
            "clubs.queries.page         3               10  5 s",
        ],
    ] == [[part.splitlines()[0], part.splitlines()[2]] for part in out.split("\n\n")[:4]]
    assert out.endswith("Counted by 2 processes: web1:10, web1:11.\n")


def test_top_shows_one_ranking_with_some_places() -> None:
    """Those with nothing are left out."""
    misses = said("top", "misses", "--limit", "1").out
    needless = said("top", "needless", "--json").json

    assert (True, False, False) == ("clubs.lists.days" in misses, "clubs.queries.page" in misses, "longest" in misses)
    assert [("clubs.queries.page", 3, 1.0)] == [
        (each["name"], each["amount"], each["share"]) for each in needless["needless"]
    ]


def test_ranking_without_places_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was counted yet."""
    counted_by(monkeypatch, Statistics(functions={"clubs.queries.idle": IDLE}, is_shared=True))

    assert "Functions that compute longest:\nnothing yet\n" in said("top", "cost").out


@pytest.mark.parametrize("options", [["--limit", "0"], ["--limit", "x"], ["size"]], ids=" ".join)
def test_ranking_that_means_nothing_is_refused(options: list[str]) -> None:
    """Another name, and no number of places."""
    assert 0 != said("top", *options).code


def test_shares_are_of_all() -> None:
    """Also of the places that are not shown; equal amounts are sorted by name."""
    ranked = rank(Statistics(functions={name: Stats(misses=2) for name in "cab"}), "misses", 2)

    assert [("a", 2, 1 / 3), ("b", 2, 1 / 3)] == [(each.name, each.amount, each.share) for each in ranked]
