"""`manage.py cachedeco`: its subcommands, and where options may stand."""

import json

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import OperationalError, connection

from cachedeco import cached_query
from cachedeco.management.commands.cachedeco import SUBCOMMANDS, Command
from tests.management.saying import said

HERE = "tests.support.catalogue"


@pytest.mark.parametrize(
    "options",
    [
        ["warm", f"{HERE}.later", "7", "--json"],
        ["warm", "--json", f"{HERE}.later", "7"],
        ["warm", f"{HERE}.later", "--json", "7"],
        ["--verbosity", "0", "warm", f"{HERE}.later", "7", "--json"],
        ["warm", f"{HERE}.later", "7", "--json", "--verbosity", "0", "--traceback", "--settings", "tests.settings"],
    ],
    ids=["behind", "before", "between", "Django's before", "Django's behind"],
)
def test_options_may_stand_anywhere(options: list[str]) -> None:
    """Also those of Django, which takes its own only before a subcommand."""
    assert (1, 0) == (said(*options).json["calls"], said(*options).code)


@pytest.mark.parametrize(
    "options",
    [["warm", f"{HERE}.later", "--rows"], ["warm", f"{HERE}.later", "7", "--nothing"], [], ["nothing"]],
    ids=" ".join,
)
def test_what_is_no_option_is_refused(options: list[str]) -> None:
    """Nothing is called."""
    with pytest.raises(CommandError):
        call_command("cachedeco", *options)


def test_negative_number_is_an_argument() -> None:
    """It begins as an option does."""
    assert 0 == said("warm", f"{HERE}.positive", "-1").code


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_each_subcommand_has_help(name: str) -> None:
    """One sentence, in the list of all; `--json`, unless what it prints is no answer."""
    text = Command().create_parser("manage.py", "cachedeco").format_help()

    assert " ".join(SUBCOMMANDS[name].help.split()) in " ".join(text.split())
    assert SUBCOMMANDS[name].help.endswith(".")
    assert (name in {"deliver", "triggers"}) != SUBCOMMANDS[name].has_json


@cached_query(60, name="loud.greeting")
def greeting(word: str) -> str:
    """Print, as a function of a project may."""
    print(word)  # noqa: T201 -- what the test is about
    return word


@pytest.mark.parametrize("subcommand", ["warm", "explain", "invalidate --yes"])
def test_json_is_all_that_is_on_standard_output(subcommand: str, capfd: pytest.CaptureFixture[str]) -> None:
    """What the project prints meanwhile goes to standard error."""
    what, *options = subcommand.split()

    call_command("cachedeco", what, f"{__name__}.greeting", "hello", *options, "--json")

    printed = capfd.readouterr()
    assert json.loads(printed.out)
    assert ("hello\n" if what == "warm" else "") == printed.err


@pytest.mark.parametrize(
    "options",
    [
        ["explain", f"{HERE}.page_of", "tests.Club:7"],
        ["invalidate", "--yes", f"{HERE}.page_of", "tests.Club:7"],
        ["warm", f"{HERE}.name_of", "--ids", "tests.Club"],
        ["warm", f"{HERE}.page_of", "--rows", "tests.Club"],
    ],
    ids=" ".join,
)
@pytest.mark.django_db
def test_database_that_fails_is_told_in_a_line(options: list[str]) -> None:
    """No traceback, and the exit code of what went wrong."""

    def fail(*_: object) -> None:
        msg = "no such table: tests_club"
        raise OperationalError(msg)

    with connection.execute_wrapper(fail):
        out, err, code = said(*options)

    assert ("", 1) == (out, code)
    assert (
        err
        == "The database failed: OperationalError: no such table: tests_club. Start it, or migrate; doctor says more."
    )


@pytest.mark.django_db
def test_settings_that_a_database_refuses_are_told_in_a_line() -> None:
    """As Django says it where DATABASES names no engine: no traceback."""

    def fail(*_: object) -> None:
        msg = "settings.DATABASES is improperly configured."
        raise ImproperlyConfigured(msg)

    with connection.execute_wrapper(fail):
        out, err, code = said("warm", f"{HERE}.name_of", "--ids", "tests.Club")

    assert ("", "settings.DATABASES is improperly configured.", 1) == (out, err.strip(), code)
