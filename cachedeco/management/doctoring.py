"""`manage.py cachedeco doctor`: are the caches well, and what to do if not."""

from argparse import ArgumentParser
from time import sleep
from typing import TYPE_CHECKING, Any, Final

from cachedeco.management.printing import Console
from cachedeco.management.subcommands import Subcommand, failure
from cachedeco.runtime.units import counted

if TYPE_CHECKING:
    from cachedeco.diagnosis.findings import Finding


def add_arguments(_parser: ArgumentParser) -> None:
    """Add no options."""


def run(console: Console, _options: dict[str, Any]) -> None:
    """
    Print each finding, as it is found.

    Raises:
        CommandError: Something is wrong.
    """
    from cachedeco.diagnosis.examination import examine

    findings, subject = [], ""
    for each in examine(sleep):
        findings.append(each)
        if not console.as_json:
            if each.subject != subject:
                console.say(f"\n{each.subject}" if subject else each.subject)
                subject = each.subject
            _print(console, each)
    if console.as_json:
        console.json(findings)
    wrong = sum(each.state == "wrong" for each in findings)
    if wrong:
        msg = f"Something is wrong: {wrong} of {counted(len(findings), 'answer')}."
        raise failure(msg)
    if not console.as_json:
        console.say(f"\nNothing is wrong, in {len(findings)} answers.")


def _print(console: Console, finding: "Finding") -> None:
    mark = f"  {finding.mark:<8}"
    console.block(f"{finding.question} {finding.answer}", mark, " " * len(mark))
    if finding.advice:
        arrow = f"{' ' * len(mark)}-> "
        console.block(finding.advice, arrow, " " * len(arrow))


SUBCOMMAND: Final = Subcommand(
    "doctor",
    "Examine settings, caches, databases and the outbox; say what is wrong, and what to do.",
    add_arguments,
    run,
)
