"""A check asks the settings, or needs none of them."""

from typing import Any

import pytest
from django.core.checks import Warning, registry  # noqa: A004 -- Django's name for it
from django.core.exceptions import ImproperlyConfigured
from pytest_django import Settings

from cachedeco.checks.registering import Messages, check
from cachedeco.runtime import conf


@pytest.fixture(autouse=True)
def _registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry.registry, "registered_checks", set())


def needs_none(**_: Any) -> Messages:
    """Find something."""
    yield Warning("Found.")


def asks(**_: Any) -> Messages:
    """Find something by a setting."""
    yield Warning(str(conf.settings().WAIT))


def fails(**_: Any) -> Messages:
    """Fail by the settings of another app."""
    if conf.settings().WAIT:
        msg = "DATABASES is wrong."
        raise ImproperlyConfigured(msg)
    yield Warning("Found.")


def test_check_that_asks_wrong_settings_finds_nothing(settings: Settings) -> None:
    """E001 reports them; a check that needs none finds what it finds."""
    settings.CACHEDECO = {"WAIT": "long"}

    assert (1, 0) == (len(check(needs_none)()), len(check(asks)()))


def test_check_that_fails_by_other_settings_raises() -> None:
    """Nothing else would tell of these."""
    with pytest.raises(ImproperlyConfigured, match="DATABASES is wrong"):
        check(fails)()
