"""Findings: a question about the caching of a project, its answer, and what to do about it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

State = Literal[
    "well",
    "notice",  # it works, and may be better otherwise
    "wrong",  # something has to be done
]
#: What stands before a finding, by its state.
MARKS: Final[Mapping[State, str]] = {"well": "ok", "notice": "notice", "wrong": "WRONG"}


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
