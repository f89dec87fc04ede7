"""The tutorial, typed from its page by a newcomer: an empty folder, the wheel, Django, and nothing else."""

import re
from doctest import ELLIPSIS, OutputChecker
from pathlib import Path

import pytest

from tests.package.tutorial import Walk
from tests.support import ROOT
from tests.support.distributions import Environment

pytestmark = pytest.mark.slow

TUTORIAL = ROOT / "docs" / "tutorial.md"


def test_tutorial_does_what_it_says(installed: Environment, tmp_path: Path) -> None:
    """
    Each command and each line at a prompt prints what the page shows under it.

    Between them they make a project, a page, a worker that writes beside the server, and tests that pass with the cache
    on and off.
    """
    same = OutputChecker().check_output  # where the page shows `...`, more is printed, as an age or a size
    walk = Walk(TUTORIAL, tmp_path, installed)

    try:
        outcomes = list(walk.outcomes())
    finally:
        said = walk.stop()

    for outcome in outcomes:
        assert outcome.shown is None or same(outcome.shown, outcome.printed, ELLIPSIS), outcome
    assert ["3", "3"] == [match[1] for each in outcomes if (match := re.search(r"Ran (\d) tests", each.printed))]
    assert 1 == said.count("computing")
