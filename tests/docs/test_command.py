"""The page on `manage.py cachedeco` shows what the command prints on the example site."""

import doctest
import json
import re
from typing import get_args

import pytest

from cachedeco.diagnosis.findings import MARKS, State
from cachedeco.management.commands.cachedeco import SUBCOMMANDS
from tests.support import ROOT
from tests.support.programs import run

PAGE = ROOT / "docs" / "how-to" / "command.md"
PROMPT = re.compile(r"^\$ (?:CACHE_URL=(\S+) )?python manage\.py (.*)\n", re.MULTILINE)


def shown() -> list[tuple[list[str], str]]:
    """Return each command of the page, with the cache that it names, and the output that it shows."""
    found: list[tuple[list[str], str]] = []
    for block in re.findall(r"^```console\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL):
        _, *parts = PROMPT.split(block)
        found += [
            ([cache_url or "", line], output)
            for cache_url, line, output in zip(parts[::3], parts[1::3], parts[2::3], strict=True)
        ]
    return found


@pytest.mark.usefixtures("_unmeasured_processes")
def test_page_shows_what_the_command_prints() -> None:
    """In this order, in one process: `...` stands for what differs from run to run."""
    commands = [command for command, _ in shown()]
    done = run("-W", "error", "tests/docs/command_output.py", given=json.dumps(commands))
    assert "" == done.stderr
    checker = doctest.OutputChecker()

    different = [
        f"$ {command}\n{printed}"
        for (command, expected), printed in zip(shown(), json.loads(done.stdout), strict=True)
        if not checker.check_output(expected, printed, doctest.ELLIPSIS)
    ]

    assert not different, "\n".join(different)


def test_page_names_each_subcommand() -> None:
    """The table at its beginning has all."""
    table = PAGE.read_text().partition("## In scripts")[0]

    assert [] == [name for name in SUBCOMMANDS if f"`{name}`" not in table]


def test_page_explains_each_mark_of_the_doctor() -> None:
    """A state of a finding has a mark, and a sentence says what it means."""
    assert [True] * len(MARKS) == [f"`{MARKS[state]}`" in PAGE.read_text() for state in get_args(State)]
