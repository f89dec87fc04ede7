"""Builtins that only later versions of Python have are in keys, too."""

from typing import Any

import pytest

from cachedeco.keys.encoders import encode
from tests.support.later_builtins import frozendict, sentinel

MISSING: Any = sentinel("MISSING")
OTHER: Any = sentinel("OTHER")


class Defaults:
    """Has a sentinel of its own."""

    NOT_GIVEN: Any = sentinel("Defaults.NOT_GIVEN")


def test_frozendict_is_known_by_its_items_in_any_order() -> None:
    """It is the same argument as another one with its items, and another one than a dict."""
    given = frozendict({"a": 1, "b": [2]})

    assert encode(given) == encode(frozendict({"b": [2], "a": 1}))
    assert len({encode(each) for each in (given, frozendict({"a": 1}), frozendict({}), dict(given), {})}) == 5


def test_sentinel_is_known_by_what_leads_to_it() -> None:
    """Two of one module are told apart by their names, also by those in a class."""
    assert len({encode(each) for each in (MISSING, OTHER, Defaults.NOT_GIVEN, "MISSING", None)}) == 5
    assert encode(MISSING) == encode(MISSING)


def test_sentinel_to_which_nothing_leads_is_refused() -> None:
    """Another one of its name, as a function makes it, would be the same argument."""
    with pytest.raises(TypeError, match=r"its name does not lead to it: assign it to that name in its module"):
        encode(sentinel("MISSING"))
