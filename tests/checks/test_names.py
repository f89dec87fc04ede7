"""Settings whose names are nearly ours are found, and those of other apps left alone."""

import sys
from types import ModuleType
from typing import Any

import pytest
from django.core.checks import CheckMessage
from pytest_django import Settings

from cachedeco.checks.names import check_names

OFF = {"MODE": "off"}


def found(settings: Settings, name: str, value: object) -> list[CheckMessage]:
    """Return what the check finds, with one more setting."""
    setattr(settings, name, value)
    return [*check_names()]


@pytest.mark.parametrize(
    ("name", "value", "right"),
    [
        ("CACHE_DECO", OFF, "CACHEDECO = {'MODE': ...}"),
        ("CACHED_ECO", {"ANYTHING": 1}, "CACHEDECO = {'ANYTHING': ...}"),
        ("CACHE_DECO", {}, "CACHEDECO = {}"),
        ("CACHE_DECORATOR", OFF, "CACHEDECO = {'MODE': ...}"),
        ("CACHDECO", OFF, "CACHEDECO = {'MODE': ...}"),
        ("CASHEDECO", {"TIMEOUT": 60, "JITTER": 0.1}, "CACHEDECO = {'TIMEOUT': ..., 'JITTER': ...}"),
        ("CACHEDECO_SETTINGS", OFF, "CACHEDECO = {'MODE': ...}"),
        ("DJANGO_CACHEDECO", OFF, "CACHEDECO = {'MODE': ...}"),
        ("CACHEDECO_MODE", "off", "CACHEDECO = {'MODE': ...}"),
        ("CACHE_DECO_SIGNING_KEYS", ["hunter2"], "CACHEDECO = {'SIGNING_KEYS': ...}"),
        ("CACHEDECO_DEPENDSON", ["auto"], "CACHEDECO = {'DEPENDS_ON': ...}"),
    ],
)
def test_name_that_is_nearly_ours_is_w015(settings: Settings, name: str, value: object, right: str) -> None:
    """The right form is in the hint, without the values."""
    [message] = found(settings, name, value)

    assert ("cachedeco.W015", f"The settings have {name}, which nothing reads.") == (message.id, message.msg)
    assert f"Write {right};" in (message.hint or "")
    assert "hunter2" not in str(message)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CACHEDECO", OFF),
        ("CACHES_OF_OURS", {"default": {"TIMEOUT": 60}}),
        ("CACHE_MIDDLEWARE_SECONDS", 60),
        ("CACHEOPS", {"auth.user": {"timeout": 60}, "TIMEOUT": 5}),
        ("CACHEOPS_DEFAULTS", {"timeout": 60}),
        ("CACHALOT_TIMEOUT", 60),
        ("CACHE_DECORATOR", {"timeout": 60}),
        ("CACHE_DECORATOR", "shop.cache"),
        ("CACHE_DECO", "shop.cache"),
        ("CACHEDECO_OWN", 60),
    ],
)
def test_names_of_others_are_left_alone(settings: Settings, name: str, value: object) -> None:
    """Neither Django's own settings nor those of other packages are taken for ours."""
    assert [] == found(settings, name, value)


def test_constant_that_the_dict_uses_is_left_alone(settings: Settings) -> None:
    """A name that stands in the dict already is no setting that was missed."""
    settings.CACHEDECO = {"TIMEOUT": 60}

    assert [] == found(settings, "CACHEDECO_TIMEOUT", 60)


def test_near_name_beside_ours_is_left_alone(settings: Settings) -> None:
    """Where the right name is there, a name that is only near belongs to another app; another spelling does not."""
    settings.CACHEDECO = {}

    assert ([], 1) == (found(settings, "CACHE_DECORATOR", OFF), len(found(settings, "CACHE_DECO", OFF)))


@pytest.mark.parametrize(
    ("name", "value", "expected"), [("CacheDeco", OFF, 1), ("cachedeco", OFF, 1), ("cachedeco", sys, 0)]
)
def test_name_that_django_does_not_load_is_found_in_its_module(
    name: str, value: Any, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Django loads names in capitals only; a module that the settings import is no setting."""
    module = ModuleType("tests.settings")
    setattr(module, name, value)
    monkeypatch.setitem(sys.modules, "tests.settings", module)

    assert expected == len(check_names())
