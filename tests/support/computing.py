"""What functions under test have computed, in turn; forgotten before each test of a module that imports the fixture."""

from typing import Any

import pytest

computed: list[object] = []


def note(value: Any) -> Any:
    """Note a computation, and return its value."""
    computed.append(value)
    return value


@pytest.fixture(autouse=True)
def nothing_computed() -> None:
    """Forget what other tests have computed."""
    computed.clear()
