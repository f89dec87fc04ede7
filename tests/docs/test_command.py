"""The page on `manage.py cachedeco` shows what the command prints on the example site."""

import doctest
import json
import re
import subprocess
import sys
from typing import get_args

import pytest

from cachedeco.diagnosis.findings import State
from cachedeco.management.commands.cachedeco import SUBCOMMANDS
from cachedeco.management.doctoring import MARKS
from tests.support import ROOT

PAGE = ROOT / "docs" / "how-to" / "command.md"
PROMPT = "$ python manage.py "


def shown() -> list[tuple[str, str]]:
    """Return each command of the page with the output that it shows."""
    found: list[tuple[str, str]] = []
    for block in re.findall(r"^```console\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL):
        for part in block.split(PROMPT)[1:]:
            line, _, output = part.partition("\n")
            found.append((line, output))
    return found


@pytest.mark.usefixtures("_unmeasured_processes")
def test_page_shows_what_the_command_prints() -> None:
    """In this order, in one process: `...` stands for what differs from run to run."""
    commands = [line for line, _ in shown()]
    done = subprocess.run(
        [sys.executable, "-W", "error", "tests/docs/command_output.py"],
        input=json.dumps(commands),
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert "" == done.stderr
    checker = doctest.OutputChecker()

    different = [
        f"$ {line}\n{printed}"
        for (line, expected), printed in zip(shown(), json.loads(done.stdout), strict=True)
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
