"""The checks see the functions of views, in whichever order Django runs them, and break at no module of the user's."""

import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
from django.core.checks import CheckMessage, run_checks
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.urls import URLPattern, URLResolver, clear_url_caches, include, path
from pytest_django import Settings

from cachedeco import cached_query, rows
from cachedeco.checks import caches, functions
from tests.models import ClubClass

URLS = "tests.checks.urls_of_a_site"


def decorate() -> list[object]:
    """Decorate what is at fault, as importing a module of views does."""

    @cached_query(cache="nowhere", name="tests.views.of_a_cache")
    def of_a_cache() -> int:
        return 1

    @cached_query(using="nowhere", name="tests.views.of_a_database")
    def of_a_database() -> int:
        return 1

    @cached_query(depends_on=[rows(ClubClass, name="{name}")], name="tests.views.of_rows")
    def of_rows(name: str) -> str:
        return name

    return [of_a_cache, of_a_database, of_rows]


class Urls(ModuleType):
    """A URLconf that imports views when it is imported: here, when its patterns are asked for."""

    views: list[object] = []  # noqa: RUF012 -- one for the test

    @property
    def urlpatterns(self) -> list[URLPattern | URLResolver]:
        """Import the views of a nested URLconf."""
        nested = ModuleType("nested")
        nested.urlpatterns = [path("club/", _view)]  # type: ignore[attr-defined]
        type(self).views = decorate()
        return [path("", include(nested))]


class Broken(ModuleType):
    """A URLconf that can't be imported."""

    @property
    def urlpatterns(self) -> list[URLPattern]:
        """Raise what a module of views raises."""
        msg = "no such view"
        raise LookupError(msg)


def _view(_: object) -> None: ...


Use = Callable[[type[ModuleType]], None]


@pytest.fixture
def use_urls(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Use]:
    """Give the function that makes a module the URLconf."""

    def use(kind: type[ModuleType]) -> None:
        monkeypatch.setitem(sys.modules, URLS, kind(URLS))
        settings.ROOT_URLCONF = URLS
        clear_url_caches()

    yield use
    Urls.views = []
    clear_url_caches()


def of_views(messages: list[CheckMessage]) -> set[str]:
    """Return the ids of what is said of the functions of views."""
    return {each.id or "" for each in messages if "tests.views." in each.msg}


EXPECTED = {"cachedeco.E004", "cachedeco.E005", "cachedeco.W002"}


@pytest.mark.parametrize(
    "check",
    [
        functions.check_functions,
        functions.check_order,
        functions.check_dependencies,
        functions.check_parts,
        caches.check_databases,
        functions.check_languages,
        functions.check_views,
    ],
)
def test_each_check_of_functions_imports_the_views(check: Callable[[], Any], use_urls: Use, settings: Settings) -> None:
    """Django runs checks in any order: each of ours may be the first, also those of nested URLconfs are imported."""
    settings.MIDDLEWARE = ["django.middleware.locale.LocaleMiddleware"]
    use_urls(Urls)

    check()

    assert Urls.views


def test_tag_alone_sees_the_views(use_urls: Use) -> None:
    """`check --tag cachedeco` runs no check of Django's that would import them."""
    use_urls(Urls)

    assert EXPECTED == of_views(run_checks(tags=["cachedeco"]))


@pytest.mark.parametrize("arguments", [["--tag", "cachedeco"], ["--tag", "cachedeco", "--deploy"]], ids=" ".join)
def test_command_tells(arguments: list[str], use_urls: Use) -> None:
    """What is wrong in a view ends `manage.py check` with its name."""
    use_urls(Urls)

    with pytest.raises(SystemCheckError, match=r"tests\.views\.of_a_cache\(\) has cache='nowhere'"):
        call_command("check", *arguments)


def test_urls_that_can_not_be_imported_are_w014(use_urls: Use) -> None:
    """No check of ours raises what a module of the user's raises, and one says that views were not checked."""
    use_urls(Broken)

    [message] = [each for each in run_checks(tags=["cachedeco"]) if each.id == "cachedeco.W014"]

    assert "LookupError: no such view" in message.msg
    assert message.hint


def test_project_without_urls_is_checked(settings: Settings) -> None:
    """A project of workers has no URLconf."""
    del settings.ROOT_URLCONF

    assert "cachedeco.W014" not in {each.id for each in run_checks(tags=["cachedeco"])}
