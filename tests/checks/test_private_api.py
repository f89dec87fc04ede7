"""A private name that has gone is an error of the system checks."""

import pytest
from asgiref.sync import SyncToAsync
from django.core.checks import Error, run_checks


def test_system_check_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is found missing after the start is an error of the system checks."""
    monkeypatch.delattr(SyncToAsync, "context_to_thread_executor")

    [error] = [each for each in run_checks() if each.id == "cachedeco.E010"]

    assert isinstance(error, Error)
    assert "asgiref.sync.SyncToAsync.context_to_thread_executor" in error.msg
