"""The form of a subcommand, and what its errors mean to scripts."""

from argparse import ArgumentParser
from collections.abc import Callable
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


def failed(text: str) -> CommandError:
    """Return the error of what went wrong."""
    return CommandError(text, returncode=FAILED)


def misunderstood(text: str) -> CommandError:
    """Return the error of arguments that mean nothing."""
    return CommandError(text, returncode=MISUNDERSTOOD)
