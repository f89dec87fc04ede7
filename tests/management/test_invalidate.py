"""`manage.py cachedeco invalidate`."""

import builtins
from collections.abc import Callable
from typing import Any

import pytest
from django.db import transaction

from cachedeco import MISSING, mode
from cachedeco.functions.spec import all_specs
from cachedeco.management import invalidating
from tests.conftest import UseCaches
from tests.management.saying import said
from tests.models import Club
from tests.support import catalogue
from tests.support.backends import Commands
from tests.support.faults import faulty

HERE = "tests.support.catalogue"
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("isolated_caches")]


@pytest.fixture
def club() -> Club:
    """Give a club whose values are stored."""
    club = Club.objects.create(name="Ajax")
    other = Club.objects.create(name="Sparta")
    for each in (club, other):
        catalogue.name_of(each.pk)
        catalogue.page_of(each)
        catalogue.page_of(each, 2)
    catalogue.names([club.pk, other.pk])
    return club


def kept(club: Club) -> list[str]:
    """Return what is still stored."""
    other = Club.objects.exclude(pk=club.pk).get()
    return [
        name
        for name, value in {
            "name": catalogue.name_of.peek(club.pk),
            "other name": catalogue.name_of.peek(other.pk),
            "page": catalogue.page_of.peek(club),
            "page 2": catalogue.page_of.peek(club, page=2),
            "other page": catalogue.page_of.peek(other),
            "names": catalogue.names.peek([club.pk]) or MISSING,
            "other names": catalogue.names.peek([other.pk]) or MISSING,
        }.items()
        if value is not MISSING
    ]


@pytest.fixture(autouse=True)
def _few_functions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the project have the functions of the catalogue, and none of other tests."""
    specs = [spec for spec in all_specs() if spec.name.startswith(HERE)]
    monkeypatch.setattr(invalidating, "decorated_functions", lambda: specs)


ALL = ["name", "other name", "page", "page 2", "other page", "names", "other names"]


@pytest.mark.parametrize(
    ("options", "expected", "words"),
    [
        ([f"{HERE}.name_of"], {"name", "other name"}, f"every call of {HERE}.name_of()"),
        ([f"{HERE}.name_of", "{pk}"], {"name"}, f"the call of {HERE}.name_of({{pk}})"),
        ([f"{HERE}.name_of", "pk={pk}"], {"name"}, f"the call of {HERE}.name_of(pk={{pk}})"),
        ([f"{HERE}.page_of", "tests.Club:{pk}"], {"page"}, f"the call of {HERE}.page_of(<Club pk={{pk}}>)"),
        ([f"{HERE}.page_of", "tests.Club:{pk}", "page=2"], {"page 2"}, f"{HERE}.page_of(<Club pk={{pk}}>, page=2)"),
        ([f"{HERE}.names", "[{pk}]"], {"names"}, f"the call of {HERE}.names([{{pk}}])"),
        (["--namespace", "club:{pk}"], {"name"}, "namespace club:{pk}"),
        (["--namespace", "club"], {"name", "other name"}, "namespace club"),
        (["--model", "tests.Club"], {"name", "other name"}, "all that depends on tests.Club"),
        (["--all"], set(ALL), f"every call of {HERE}.page_of()"),
        (["--namespace", "club:{pk}", f"{HERE}.names"], {"name", "names", "other names"}, "namespace club:{pk}"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else "",
)
def test_command_invalidates_what_it_names(club: Club, options: list[str], expected: set[str], words: str) -> None:
    """And nothing else; it says what, and that the cache has acknowledged it."""
    out, err, code = said("invalidate", "--yes", *[each.format(pk=club.pk) for each in options])

    assert [each for each in ALL if each not in expected] == kept(club)
    assert ("", 0) == (err, code)
    assert f"{words.format(pk=club.pk)}" in out
    assert out.startswith("Invalidated ")


def test_dry_run_sends_nothing(club: Club, commands: Commands) -> None:
    """It says what it would do, and which functions a namespace reaches, as far as they are known."""
    commands.clear()

    told = [
        said("invalidate", "--dry-run", "--namespace", each, f"{HERE}.name_of")
        for each in ("club:7", "clubb", "club:a%3Ab")
    ]
    sent, as_json = list(commands), said("invalidate", "--dry-run", "--json", f"{HERE}.name_of").json

    assert ([], ALL) == (sent, kept(club))
    assert f"Would invalidate every call of {HERE}.name_of().\nWould invalidate namespace club:7 (of " in told[0].out
    assert f"{HERE}.name_of" in told[0].out.splitlines()[1]
    assert "namespace clubb (of no function that is known here)." in told[1].out
    assert f"{HERE}.name_of" in told[2].out.splitlines()[1]
    assert [
        {
            "what": f"every call of {HERE}.name_of()",
            "acknowledged": [],
            "delayed": [],
            "is_recorded": False,
            "problem": "",
        }
    ] == as_json


def answering(answer: str | None) -> Callable[[], str]:
    """Return what stands for `input()`; without an answer, standard input has ended."""

    def reply() -> str:
        if answer is None:
            raise EOFError
        return answer

    return reply


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("yes", ""),
        (" Y ", ""),
        ("no", "Nothing was invalidated."),
        ("", "Nothing"),
        (None, "there was no answer. Say --yes"),
    ],
)
def test_command_asks_first(club: Club, monkeypatch: pytest.MonkeyPatch, answer: str | None, expected: str) -> None:
    """On standard error, so that JSON stays JSON; all but a yes leaves everything as it is."""
    monkeypatch.setattr(builtins, "input", answering(answer))

    out, err, code = said("invalidate", "--json", f"{HERE}.name_of")

    assert f"This will invalidate every call of {HERE}.name_of().\nThe next call of each computes. Type yes" in err
    assert (expected in err, int(bool(expected)), not expected) == (True, code, out.startswith("["))
    assert (ALL if expected else ALL[2:]) == kept(club)


def test_question_names_some_of_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is more is counted."""
    monkeypatch.setattr(builtins, "input", answering("no"))
    monkeypatch.setattr(invalidating, "MOST_SHOWN", 2)

    err = said("invalidate", "--all").err

    assert (2, True) == (err.count("This will invalidate"), " more.\n" in err)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], "invalidate takes a function, --namespace, --model, or --all."),
        (["--namespace", "club:"], "The namespace 'club:' has an empty part; write it as club:7."),
        (["--model", "clubs.Nothing"], "names no model"),
        ([f"{HERE}.nameof"], "manage.py cachedeco list shows those that are known."),
        ([f"{HERE}.page_of", "7"], "A row is written app_label.Model:pk."),
    ],
    ids=" ".join,
)
def test_target_that_means_nothing_is_told(options: list[str], expected: str) -> None:
    """Nothing is invalidated, by the exit code of a misunderstanding."""
    out, err, code = said("invalidate", "--yes", *options)

    assert ("", 2) == (out, code)
    assert expected in err


def test_mode_in_which_nothing_is_invalidated_is_told() -> None:
    """A command with the settings of tests would do nothing, in silence."""
    with mode("off"):
        _, err, code = said("invalidate", "--yes", "--all")

    assert ("The mode is 'off' in these settings" in err, 1) == (True, code)


@pytest.mark.usefixtures("club")
def test_invalidation_that_is_not_acknowledged_fails(use_caches: UseCaches) -> None:
    """So that a script knows that old values may be served."""
    use_caches(default="faulty")
    with faulty("set_many", raises=OSError()):
        out, err, code = said("invalidate", "--yes", f"{HERE}.name_of")
        again: Any = said("invalidate", "--yes", "--json", f"{HERE}.name_of")

    as_json = again.json
    assert "Old values may be served; run this again" in again.err
    assert (f"Not acknowledged: every call of {HERE}.name_of().\n", 1) == (out, code)
    assert "Not acknowledged: 1 of 1, by the cache default. Old values may be served; run this again" in err
    assert (["default"], [], False) == tuple(as_json[0][name] for name in ("delayed", "acknowledged", "is_recorded"))


def test_invalidation_in_a_transaction_waits_for_its_commit(transactional_db: None) -> None:
    """Code may call the command, too."""
    assert transactional_db is None
    with transaction.atomic():
        out = said("invalidate", "--yes", f"{HERE}.name_of").out

    assert f"At the commit of the open transaction: every call of {HERE}.name_of().\n" == out


def test_function_that_the_settings_refuse_stops_no_other(club: Club, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are invalidated; the error says what is wrong with it."""
    monkeypatch.setitem(catalogue.by_slug._spec.options, "cache", "nowhere")
    monkeypatch.setattr(catalogue.by_slug._spec, "_resolved", None)

    out, err, code = said("invalidate", "--yes", "--all")

    assert ([], 1) == (kept(club), code)
    assert f"Not invalidated: every call of {HERE}.by_slug().\n" in out
    assert "cache='nowhere'" in err


@pytest.mark.parametrize(("is_recorded", "advice"), [(True, "The outbox has them"), (False, "run this again")])
def test_what_is_delayed_says_who_sends_it(*, is_recorded: bool, advice: str) -> None:
    """A deliverer, where the outbox has it; else the next run of the command."""
    outcome = invalidating.TargetOutcome("club:7", [], ["default"], is_recorded)

    assert advice in invalidating.trouble_of([outcome])


def test_all_of_no_function_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A project that imports none has nothing to invalidate, and the option was given."""
    monkeypatch.setattr(invalidating, "decorated_functions", list)

    out, err, code = said("invalidate", "--yes", "--all")

    assert ("", 1) == (out, code)
    assert err.startswith("Nothing was invalidated. No function is cached, or none is imported")
