"""Who may see the pages, and who may act."""

import pytest
from django.apps import apps
from django.conf import settings
from django.contrib.auth.models import Permission, User
from django.contrib.contenttypes.models import ContentType
from django.core import checks
from django.db import connection
from django.test import Client

import cachedeco.diagnosis
import cachedeco.management  # noqa: F401 -- the pages need both doors
from cachedeco import MISSING
from tests.contrib.admin.conftest import ADMIN, PAGES, browser_of, read
from tests.support import catalogue

FUNCTION = "tests.support.catalogue.positive"
pytestmark = pytest.mark.django_db(databases=["default", "other"])


def statuses(browser: Client) -> list[int]:
    """Return what each page answers, and an invalidation."""
    sent = {"what": "function", "function": FUNCTION, "confirmed": "yes"}
    codes = [browser.get(f"{ADMIN}{page}").status_code for page in PAGES]
    return [*codes, browser.post(f"{ADMIN}invalidate/", sent).status_code]


@pytest.mark.parametrize(
    ("codenames", "flags", "expected"),
    [
        ((), {}, [403, 403, 403, 403, 403]),
        (("view_function",), {}, [200, 200, 403, 200, 403]),
        (("invalidate_function",), {}, [403, 403, 403, 403, 403]),
        (("view_function", "invalidate_function"), {}, [200, 200, 200, 200, 302]),
        ((), {"is_superuser": True}, [200, 200, 200, 200, 302]),
        (("view_function", "invalidate_function"), {"is_staff": False}, [302, 302, 302, 302, 302]),
    ],
    ids=["none", "look", "invalidate alone", "both", "superuser", "no staff"],
)
def test_each_page_asks_for_its_permission(
    codenames: tuple[str, ...], flags: dict[str, bool], expected: list[int]
) -> None:
    """Who may not look gets 403, and so does who may look and not invalidate; who is no staff has to log in."""
    catalogue.positive(7)

    answered = statuses(browser_of(*codenames, **flags))

    assert expected == answered
    is_invalidated = expected == [200, 200, 200, 200, 302]
    assert is_invalidated is (catalogue.positive.peek(7) is MISSING)


def test_anonymous_visitor_is_sent_to_the_login() -> None:
    """With the way back."""
    answers = [Client().get(f"{ADMIN}{page}") for page in PAGES]

    assert [f"/admin/login/?next={ADMIN}{page}" for page in PAGES] == [each["Location"] for each in answers]


def test_post_without_the_token_is_refused() -> None:
    """Another site can't make a browser invalidate, explain or examine."""
    user = User.objects.create(username="ann", is_staff=True, is_superuser=True)
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(user)

    assert [403, 403, 403] == [browser.post(f"{ADMIN}{page}").status_code for page in PAGES[1:]]


def test_index_of_the_admin_leads_to_the_pages(browser: Client) -> None:
    """For those who may look; nothing can be added."""
    index = browser.get("/admin/").content.decode()

    assert f'href="{ADMIN}"' in index
    assert f"{ADMIN}add/" not in index
    assert 404 == browser.get(f"{ADMIN}add/").status_code
    assert 'href="/admin/cachedeco_admin/' not in browser_of(username="bob").get("/admin/").content.decode()  # type: ignore[arg-type] # a name


def test_who_may_only_look_is_offered_no_button() -> None:
    """Nor the page for it."""
    catalogue.positive(7)
    browser = browser_of("view_function")

    html = read(browser, "") + read(browser, "explain/", function=FUNCTION, arguments="7")

    assert "invalidate/" not in html


def test_migrate_makes_two_permissions_and_no_table() -> None:
    """So that they can be given in the admin."""
    from django.contrib.auth.management import create_permissions

    from cachedeco.contrib.admin.models import Function

    create_permissions(apps.get_app_config("cachedeco_admin"), verbosity=0)

    content_type = ContentType.objects.get_for_model(Function)
    names = Permission.objects.filter(content_type=content_type).values_list("codename", flat=True)
    assert ["invalidate_function", "view_function"] == sorted(names)
    assert Function._meta.db_table not in connection.introspection.table_names()


def test_app_passes_the_checks_of_django() -> None:
    """Of models and of the admin."""
    assert "cachedeco.contrib.admin" in settings.INSTALLED_APPS

    assert [] == checks.run_checks([apps.get_app_config("cachedeco_admin")], tags=["models", "admin", "templates"])
