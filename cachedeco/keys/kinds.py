"""The type of a value by its encoded text, which is all that remains of an argument: for advice."""

import re
from typing import Final

# The beginnings of the texts of builtins; those of all other types begin with a name.
_BEGINNINGS: Final = (
    ("None", re.compile("None")),
    ("bool", re.compile("True|False")),
    ("int", re.compile(r"-?\d+")),
    ("str", re.compile(r"\d+'.*", re.DOTALL)),
    ("bytes", re.compile(r"\d+b.*", re.DOTALL)),
    ("float", re.compile(r"-?[\d.]+(e[-+]?\d+)?|-?inf|nan")),
    ("tuple", re.compile(r"\(.*", re.DOTALL)),
    ("list", re.compile(r"\[.*", re.DOTALL)),
    ("dict", re.compile(r"\{.*", re.DOTALL)),
)
_NAMED: Final = re.compile(r"[^(:]*")


def kind_of_text(text: str) -> str:
    """Return the type of a value, for advice, by its encoded text; of a row, the label of its model."""
    named = _NAMED.match(text)
    return next((kind for kind, pattern in _BEGINNINGS if pattern.fullmatch(text)), named[0] if named else "")
