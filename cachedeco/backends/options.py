"""
Options that all our backends take: their defaults, and the numbers that they may have.

A number that is none is refused: each command would fail, as if its server were out of reach.
"""

from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any, Final, NamedTuple

from django.core.exceptions import ImproperlyConfigured

# Seconds, for a connection and for each part of an answer. A server answers in a millisecond; Linux sends a lost packet
# again after 0.2 seconds, which should not count as a failure; users notice a page that takes longer.
TIMEOUT_SECONDS: Final = 0.5
# Idle connections kept for each server, more than a process usually has threads; and the seconds that one is kept.
# Firewalls drop a silent connection after minutes, without notice to either end.
MOST_IDLE: Final = 64
IDLE_SECONDS: Final = 60.0


class Range(NamedTuple):
    """The numbers that an option takes, beside `None`."""

    includes: Callable[[Any], bool]
    words: str


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


TIMEOUT: Final = Range(
    lambda value: _is_number(value) and isfinite(value) and value > 0,
    "a number of seconds, more than 0, or None for no limit",
)
IDLE_TIME: Final = Range(lambda value: _is_number(value) and value >= 0, "a number of seconds, or 0 for no limit")
COUNT: Final = Range(lambda value: isinstance(value, int) and value >= 0, "a whole number, or 0 for the default")


def check_numbers(backend: str, options: Mapping[str, Any], ranges: Mapping[str, Range]) -> None:
    """
    Refuse what is no number, such as the text of an environment variable, and numbers that are out of range.

    Raises:
        ImproperlyConfigured: An option has another value.
    """
    for name, (includes, words) in ranges.items():
        value = options.get(name)
        if value is not None and not includes(value):
            msg = f"{backend} has {name}={value!r:.80}; it takes {words}."
            raise ImproperlyConfigured(msg)
