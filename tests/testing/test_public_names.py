"""The front door of the test kit: what can be imported from `cachedeco.testing`, and at what cost."""

from typing import Any

import pytest

from cachedeco import testing
from tests.house.test_public_names import output_of

OF_TESTS = ("asgiref", "django", "hypothesis", "pytest", "unittest")


def test_name_that_is_not_there_is_answered_with_the_nearest() -> None:
    """A name that the kit lacks is refused as by any module, as where TEST_RUNNER is misspelt; near ones are named."""
    package: Any = testing

    with pytest.raises(
        AttributeError, match=r"'cachedeco\.testing' has no attribute 'IsolatedRunner'; did you mean Isol"
    ):
        _ = package.IsolatedRunner
    with pytest.raises(AttributeError, match=r"'cachedeco\.testing' has no attribute 'xyz'$"):
        _ = package.xyz
    assert not hasattr(testing, "_isolated")


def test_fresh_prefix_costs_settings_nothing() -> None:
    """Settings, those of production too, can import `fresh_prefix()` without importing what tests need."""
    source = f"""
import sys
from cachedeco.testing import fresh_prefix
print(len(fresh_prefix()), sorted(set({OF_TESTS!r}) & set(sys.modules)))
"""

    assert "20 []\n" == output_of(source)


def test_star_import_gives_what_all_says() -> None:
    """The runner is found by the dotted path that settings name."""
    source = "from cachedeco.testing import *; print(IsolatedCacheRunner.__module__)"

    assert "cachedeco.testing.runner\n" == output_of(source)
