"""`manage.py cachedeco`: its subcommands, and where options may stand."""

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

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
