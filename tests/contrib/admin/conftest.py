"""A site with Django's admin and our pages, and its users."""

import re
from collections.abc import Iterator
from html import unescape
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import Permission, User
from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.test import Client, override_settings
from pytest_django import DjangoDbBlocker

ADMIN = "/admin/cachedeco_admin/function/"
PAGES = ("", "explain/", "invalidate/", "health/")
SETTINGS: dict[str, Any] = {
    "ROOT_URLCONF": "tests.contrib.admin.urls",
    "STATIC_URL": "static/",
    "SESSION_ENGINE": "django.contrib.sessions.backends.signed_cookies",
    "MESSAGE_STORAGE": "django.contrib.messages.storage.cookie.CookieStorage",
    "MIDDLEWARE": [
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ],
    "TEMPLATES": [
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "APP_DIRS": True,
            "OPTIONS": {
                "context_processors": [
                    "django.template.context_processors.request",
                    "django.contrib.auth.context_processors.auth",
                    "django.contrib.messages.context_processors.messages",
                ]
            },
        }
    ],
}
APPS = [
    *("django.contrib.admin", "django.contrib.sessions", "django.contrib.messages"),
    *django_settings.INSTALLED_APPS,
    "cachedeco.contrib.admin",
]


@pytest.fixture(scope="module")
def _admin(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:  # noqa: ARG001 -- before it
    """Serve the admin, with the table of its log, which the other tests do without."""
    with override_settings(INSTALLED_APPS=APPS), override_settings(**SETTINGS):
        from django.contrib.admin.models import LogEntry

        with django_db_blocker.unblock(), connection.schema_editor() as editor:
            editor.create_model(LogEntry)
        yield
        with django_db_blocker.unblock(), connection.schema_editor() as editor:
            editor.delete_model(LogEntry)


@pytest.fixture(autouse=True)
def _site(_admin: None, db: None) -> None:  # noqa: ARG001 -- behind them
    """Forget what Django remembers of content types, which was rolled back after the test before."""
    ContentType.objects.clear_cache()


def browser_of(*codenames: str, **flags: bool) -> Client:
    """Return a browser in which a user of the staff has logged in, who has some permissions of ours."""
    from cachedeco.contrib.admin.models import Function

    user = User.objects.create(**{"username": "ann", "is_staff": True, **flags})
    content_type = ContentType.objects.get_for_model(Function)
    for codename in codenames:
        user.user_permissions.add(Permission.objects.get_or_create(content_type=content_type, codename=codename)[0])
    browser = Client()
    browser.force_login(user)
    return browser


@pytest.fixture
def browser(_site: None) -> Client:
    """Give a browser of a user who may do all."""
    return browser_of("view_function", "invalidate_function")


def read(browser: Client, page: str, **fields: str) -> str:
    """Return the HTML of a page below its tabs; by POST, if there are fields."""
    address = f"{ADMIN}{page}"
    answer = browser.post(address, fields, follow=True) if fields else browser.get(address)
    assert 200 == answer.status_code
    html: str = answer.content.decode()
    return html.partition('id="content-start"')[2].partition("<footer")[0]


def text_of(html: str) -> str:
    """Return what a reader of HTML sees, in one line."""
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]*>", " ", html))).strip()
