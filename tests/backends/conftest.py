"""What the tests of outages begin with."""

import pytest

from tests.backends.asking import Asked, Clock


@pytest.fixture
def advance(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Give the function that lets time pass; pauses are not shortened at random."""
    now = [1000.0]
    monkeypatch.setattr("cachedeco.backends.server.monotonic", lambda: now[0])
    monkeypatch.setattr("cachedeco.backends.server.uniform", lambda _least, most: most)

    def pass_by(seconds: float) -> None:
        now[0] += seconds

    return pass_by


@pytest.fixture
def asked() -> Asked:
    """Give a server that is well."""
    return Asked()
