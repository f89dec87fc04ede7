"""Findings: a question about the caching of a project, its answer, and what to do about it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import unquote

from cachedeco.runtime.reprs import HIDDEN, is_secret, mask_credentials, shorten, text_of_error

State = Literal[
    "well",
    "notice",  # it works, and may be better otherwise
    "wrong",  # something has to be done
]
#: What stands before a finding, by its state.
MARKS: Final[Mapping[State, str]] = {"well": "ok", "notice": "notice", "wrong": "WRONG"}

_PARAMETER: Final = re.compile(r"(?<=[?&])([^=&\s]+)=([^&\s'\"]*)")


@dataclass(frozen=True, slots=True)
class Finding:
    """The answer to one question."""

    subject: str  #: what is asked about: "cache default", "database default"
    question: str
    state: State
    answer: str
    advice: str = ""  #: what to do; empty if nothing is

    @property
    def mark(self) -> str:
        """The state, for people."""
        return MARKS[self.state]


def describe_error(error: BaseException) -> str:
    """Return an exception as text: short, and without passwords in URLs."""
    # In this order: cut before its "@", a password would not be seen.
    text = shorten(mask_location(text_of_error(error)))
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def mask_location(text: str) -> str:
    """Return a LOCATION, or a text with URLs in it, without user names, passwords and secret parameters."""
    return _PARAMETER.sub(_mask_parameter, mask_credentials(text))


def _mask_parameter(found: re.Match[str]) -> str:
    return f"{found[1]}={HIDDEN}" if is_secret(unquote(found[1])) else found[0]
