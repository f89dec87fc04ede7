"""A view under the decorator is refused, with what to do: no visitor, and no other view, is served its response."""

import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import wraps
from http.cookies import SimpleCookie
from importlib import import_module
from types import ModuleType
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.backends.signed_cookies import SessionStore
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.test import RequestFactory
from django.utils.decorators import method_decorator
from django.utils.functional import SimpleLazyObject
from django.views import View
from django.views.generic import ListView, TemplateView
from rest_framework.decorators import api_view
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework.viewsets import ViewSet

from cachedeco import bypass, cached_query
from cachedeco.checks.functions import check_views
from tests.models import Club

ADVICE = r"Django's cache_page\(\)"


class Clubs(APIView):
    """A view of Django REST framework."""

    def get(self, _request: Request) -> Response:
        """Answer."""
        return Response([])


class Lessons(ViewSet):
    """A set of views of Django REST framework."""

    def list(self, _request: Request) -> Response:
        """Answer."""
        return Response([])


@api_view(["GET"])
def prices(_request: Request) -> Response:
    """Answer."""
    return Response([])


def annotated(_request: Any) -> HttpResponse:
    """Say that this is a view."""
    return HttpResponse()


def by_name(_request: Any) -> "JsonResponse | None":
    """Say so as text."""
    return None


def takes_a_request(request: HttpRequest, number: int) -> str:
    """Say that this takes a request."""
    return f"{request.method} {number}"


def takes_one_by_name(number: int, request: "django.http.HttpRequest") -> str:  # type: ignore[name-defined] # noqa: F821 -- never evaluated
    """Say so as text, by a name that this module does not have."""
    return f"{request.method} {number}"


def of_a_lazy_module(number: int) -> "lazy.HttpResponse":  # type: ignore[name-defined]
    """Name a class that a module loads when it is asked for it."""
    return number


def fail(name: str) -> object:
    """Fail, as the import of an app before its settings."""
    raise ImproperlyConfigured(name)


lazy = ModuleType("lazy")
lazy.__getattr__ = fail  # type: ignore[method-assign]


def with_globals_of_its_own() -> Callable[..., Any]:
    """Return a function whose annotations are texts, as `from __future__ import annotations` makes them."""
    import django.http

    names: dict[str, Any] = {"django": django, "__name__": __name__}
    source = "def page(request: 'django.http.HttpRequest', number: 'int') -> 'django.http.HttpResponse': ..."
    exec(source, names)  # noqa: S102 -- ours
    return names["page"]  # type: ignore[no-any-return]


async def awaited(_request: Any) -> HttpResponse:
    """Say that this is an async view."""
    return HttpResponse()


@pytest.mark.parametrize(
    "view",
    [
        View.as_view(),
        ListView.as_view(model=Club),
        login_required(TemplateView.as_view(template_name="a.html")),
        Clubs.as_view(),
        Lessons.as_view({"get": "list"}),
        prices,
        annotated,
        by_name,
        awaited,
        with_globals_of_its_own(),
        takes_a_request,
    ],
    ids=lambda view: view.__qualname__,
)
@pytest.mark.parametrize("options", [{}, {"key": None, "timeout": 60}], ids=["bare", "timeout"])
def test_what_is_certainly_a_view_is_refused_at_decoration(view: Callable[..., Any], options: dict[str, Any]) -> None:
    """Made by `as_view()` or `@api_view`, or so annotated: the error names the helper and `cache_page`."""
    with pytest.raises(TypeError, match=f"let a function return the data.*{ADVICE}"):
        cached_query(**options)(view)


@pytest.mark.parametrize(
    ("function", "options"),
    [
        (takes_a_request, {"key": "{request.user.pk}:{number}"}),
        (takes_a_request, {"ignore": ("request",)}),
        (takes_one_by_name, {}),
        (of_a_lazy_module, {}),
        (wraps(annotated)(lambda _request: "<p>"), {"name": "views.wrapped"}),
    ],
    ids=["in a template", "ignored", "unknown name", "lazy module", "under a wrapper"],
)
def test_what_may_be_a_helper_is_decorated(function: Callable[..., Any], options: dict[str, Any]) -> None:
    """What is not certain is left to the first call."""
    assert callable(cached_query(**options)(function))


def test_view_without_annotations_is_refused_at_its_first_call() -> None:
    """By its argument, or, where that is ignored, by its value: the second visitor gets no cookie of the first one."""

    def page(request):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202 -- as many views are
        response = HttpResponse(f"Hello {request.user}")
        response.set_cookie("sessionid", "of the first")
        return response

    request = RequestFactory().get("/")
    request.user = AnonymousUser()

    for options in ({}, {"ignore": ("request",)}):
        view = cached_query(**options)(page)  # type: ignore[call-overload]
        for _ in range(2):
            with pytest.raises(TypeError, match=f"Views are not for this decorator.*{ADVICE}"):
                view(request)


def _whole(request: Any) -> Any:
    return request


def _other(request: Any, n: int) -> Any:
    return request, n


def test_error_of_a_request_never_advises_to_ignore_it() -> None:
    """Who follows the advice stores nothing of one visitor."""
    request = RequestFactory().get("/")

    def inner() -> Any:
        @cached_query
        def page() -> str:
            return str(request)

        return page

    refused: list[Callable[[], Any]] = [
        lambda: cached_query(name="views.whole")(_whole)(request),
        lambda: cached_query(name="views.forgotten", key="{n}")(_other),
        inner,
    ]
    for call in refused:
        with pytest.raises(TypeError, match="request") as caught:
            call()
        assert "ignore=" not in str(caught.value)
        assert "vary=" not in str(caught.value)


@pytest.mark.parametrize("method", ["dispatch", "get", "get_context_data"])
def test_method_decorator_of_ours_on_two_views_is_refused(method: str) -> None:
    """Each call would decorate anew, under one name for all views."""
    ours = cached_query(60, ignore=("self", "request"))

    for view in (type("Prices", (TemplateView,), {}), type("Accounts", (TemplateView,), {})):
        with pytest.raises(TypeError, match=f"needs no method_decorator.*{ADVICE}"):
            method_decorator(ours, name=method)(view)


@pytest.fixture
def views() -> Iterator[ModuleType]:
    """Import the views, which no other test is to find."""
    name = "tests.functions.cached_views"
    yield import_module(name)
    del sys.modules[name]


USES: dict[str, Callable[[Any], Any]] = {
    "call": lambda view: view.get_queryset(),
    "through the class": lambda view: type(view).get_queryset(view),
    "peek": lambda view: view.get_queryset.peek(),
    "refresh": lambda view: view.get_queryset.refresh(),
    "many": lambda view: view.names([1]),
    "awaited": lambda view: async_to_sync(view.get_queryset.apeek)(),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
@pytest.mark.parametrize("past", [False, True], ids=["on", "bypass"])
def test_method_of_two_views_that_ignores_the_view_is_refused(
    views: ModuleType,
    use: Callable[[Any], Any],
    past: bool,
) -> None:
    """Its entry would be of both views, and of each visitor; a test with the cache off finds it, too."""
    for view in (views.Prices(), views.Accounts()):
        with (
            bypass() if past else nullcontext(),
            pytest.raises(TypeError, match=r"ignores 'self', a view.*Cache a function outside the class"),
        ):
            use(view)

    assert (["plain"], {1: "plain"}) == (views.Plain().get_queryset(), views.Plain().names([1]))


def test_method_of_a_view_is_refused_by_its_instance() -> None:
    """A view is in no key, and the advice is not to let it in."""

    class Page(TemplateView):
        @cached_query
        def get_context_data(self, **context: Any) -> dict[str, Any]:
            return context

    with pytest.raises(TypeError, match="function outside of it") as caught:
        Page().get_context_data()

    assert "register_key_type" not in str(caught.value)


def test_two_views_that_are_told_apart_share_nothing() -> None:
    """A static method needs no view, and a template that reads the view has its class in the key."""

    class Shown:
        number = 1

        @cached_query(key="{self.number}")
        def title(self) -> str:
            return type(self).__name__

        @cached_query
        @staticmethod
        def total(number: int) -> int:
            return number

    class First(Shown, View):
        pass

    class Second(Shown, View):
        pass

    titles = [First().title(), Second().title(), First.total(1), Second().total(1)]

    assert ["First", "Second", 1, 1] == titles


def test_check_names_methods_that_ignore_their_view(views: ModuleType) -> None:
    """Before a visitor comes; in a class of its own or in one that views have in common."""
    found = check_views()

    names = [f"{views.__name__}.{name}()" for name in ("Accounts.total", "Rows.get_queryset", "Rows.names")]
    assert ["cachedeco.E011"] * 3 == [each.id for each in found]
    assert names == [each.msg.partition(" ")[0] for each in found]
    assert all("Prices" in each.msg or "Accounts" in each.msg for each in found)


def test_check_is_silent_without_one() -> None:
    """What no view has is no fault."""
    assert [] == check_views()


OF_ONE_VISITOR: dict[str, Callable[[], object]] = {
    "HttpRequest": HttpRequest,
    "WSGIRequest": lambda: RequestFactory().get("/"),
    "DRF Request": lambda: Request(RequestFactory().get("/")),
    "session": SessionStore,
    "cookies": SimpleCookie,
    "response": HttpResponse,
    "view": View,
    "lazily a request": lambda: SimpleLazyObject(lambda: RequestFactory().get("/")),
}
WAYS: dict[str, dict[str, Any]] = {
    "argument": {},
    "template": {"key": "{given}"},
    "key": {"key": lambda given: [given]},
    "vary": {"vary": lambda given: {"part": given}},
    "namespace": {"namespace": "club:{given}", "ignore": ("given",), "key": lambda: 1},
}


@pytest.mark.parametrize("make", OF_ONE_VISITOR.values(), ids=OF_ONE_VISITOR)
@pytest.mark.parametrize("options", WAYS.values(), ids=WAYS)
def test_advice_about_what_belongs_to_one_visitor_leads_to_no_leak(
    make: Callable[[], object], options: dict[str, Any]
) -> None:
    """Who does what the error says never lets it into a key, nor leaves it out of one."""

    @cached_query(**options)
    def answer(given: object) -> int:
        return id(given)

    with pytest.raises(TypeError) as caught:
        answer(make())

    for leak in ("ignore=", "register_key_type", "__cache_key__", "vary="):
        assert leak not in str(caught.value)
