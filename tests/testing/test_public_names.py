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


def test_package_costs_the_app_nothing() -> None:
    """The app imports the package at each start, in production too, without importing what tests need."""
    source = f"""
import sys
import cachedeco.testing
print(sorted(set({OF_TESTS!r}) & set(sys.modules)))
"""

    assert "[]\n" == output_of(source)


def test_star_import_gives_what_all_says() -> None:
    """The runner is found by the dotted path that settings name."""
    source = "from cachedeco.testing import *; print(IsolatedCacheRunner.__module__)"

    assert "cachedeco.testing.runner\n" == output_of(source)
