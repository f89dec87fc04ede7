"""Errors say what to do, and who does it is never served what belongs to another caller."""

import ast
import re
from collections.abc import Iterator

import pytest

from tests.house.modules import CORE, tree_of

# What leaves an argument out of the key is right on one condition, and the sentence that advises it names that.
ADVISES = re.compile(r"(?:say|or|in) ignore=")
CONDITION = re.compile(r"ignore=(?:\([^)]*\))? if it (?:does not change the value|changes nothing)")


def texts_of(module: str) -> Iterator[str]:
    """Yield each text of a module; {} stands for what an f-string fills in."""
    tree = tree_of(module)
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)  # type: ignore[misc]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
            yield node.value


def test_advice_to_ignore_names_its_condition() -> None:
    """An argument that changes the value and is ignored gives one caller the value of another."""
    advice = [text for module in CORE for text in texts_of(module) if ADVISES.search(text)]

    assert 2 < len(advice)
    assert [] == [text for text in advice if not CONDITION.search(text)]


@pytest.mark.parametrize("text", ['name it in ignore=("request",)', "say ignore=('self',)."])
def test_advice_without_a_condition_is_found(text: str) -> None:
    """The test sees it: one that finds none would pass."""
    assert ADVISES.search(text)
    assert not CONDITION.search(text)
