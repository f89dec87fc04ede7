"""The form of a subcommand, the values of its options, and what its errors mean to scripts."""

from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable
from math import inf
from typing import Any, Final, NamedTuple

from django.core.management.base import CommandError

from cachedeco.management.printing import Console

# Exit codes: 0 is done, or well.
FAILED: Final = 1  # something is wrong, or not all was done
MISUNDERSTOOD: Final = 2  # as argparse does: nothing was done


class Subcommand(NamedTuple):
    """One subcommand of `manage.py cachedeco`."""

    name: str
    help: str  #: one sentence
    add_arguments: Callable[[ArgumentParser], None]
    run: Callable[[Console, dict[str, Any]], None]
    has_json: bool = True


def failure(text: str) -> CommandError:
    """Return the error of what went wrong."""
    return CommandError(text, returncode=FAILED)


def misunderstanding(text: str) -> CommandError:
    """Return the error of arguments that mean nothing."""
    return CommandError(text, returncode=MISUNDERSTOOD)


def whole_number(text: str) -> int:
    """
    Return how many an option asks for.

    Raises:
        ArgumentTypeError: It is none, or less than 1.
    """
    if not text.isdecimal() or not int(text):
        msg = f"{text!r} is no number; it takes 1 or more."
        raise ArgumentTypeError(msg)
    return int(text)


def seconds(text: str) -> float:
    """
    Return how long an option says.

    Raises:
        ArgumentTypeError: It is no time, or none that ends.
    """
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < inf:
        msg = f"{text!r} is no time; it takes seconds, more than 0."
        raise ArgumentTypeError(msg)
    return number
