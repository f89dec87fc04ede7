"""What no entry may hold is an error that says what to return: responses, requests, pages, generators, at any depth."""

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from http.cookies import Morsel, SimpleCookie
from io import BytesIO
from threading import Lock
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock, MagicMock, create_autospec

import pytest
from django.contrib.sessions.backends.signed_cookies import SessionStore
from django.core.paginator import Page, Paginator
from django.db import OperationalError, connection
from django.http import (
    FileResponse,
    HttpRequest,
    HttpResponse,
    HttpResponseNotFound,
    HttpResponseRedirect,
    JsonResponse,
    StreamingHttpResponse,
)
from django.middleware.csrf import get_token
from django.template import Engine, RequestContext
from django.template.response import SimpleTemplateResponse, TemplateResponse
from django.test import RequestFactory
from django.utils.functional import SimpleLazyObject
from django.views import View
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import ModelSerializer
from rest_framework.test import APIRequestFactory

from cachedeco import MISSING, Event, bypass, cached_query, listening, mode
from cachedeco.loading.writing import FAILED_QUERY, NO_MEMORY, UNRESTORABLE, UNSERIALIZABLE, WITH_CSRF
from cachedeco.runtime.validation import ModeName
from tests.models import Club
from tests.support.sides import Side, both

NOT_STORED = {"error", "unstored"}
CACHE_PAGE = "call it in the view; or cache the whole response with Django's cache_page()."
VISITOR = "belongs to one visitor"
PAGE = "return list(page.object_list)"


def request() -> HttpRequest:
    """Return a request."""
    return RequestFactory().get("/")


def with_cookie() -> HttpResponse:
    """Return a response with the cookie of a visitor."""
    response = HttpResponse("Hello Ann")
    response.set_cookie("sessionid", "of Ann")
    return response


def answered() -> SimpleTemplateResponse:
    """Return a response that has its content."""
    response = SimpleTemplateResponse("a.html")
    response.content = b"Hello"
    return response


def form() -> str:
    """Render a form with the token of a visitor."""
    template = Engine().from_string("<form>{% csrf_token %}</form>")
    return template.render(RequestContext(request(), {"csrf_token": get_token(request())}))


def rendered() -> Response:
    """Return a response of Django REST framework, rendered as by a view."""
    response = Response({"clubs": []})
    response.accepted_renderer = JSONRenderer()
    response.accepted_media_type = "application/json"
    response.renderer_context = {}
    return response.render()


def view() -> View:
    """Return a view that handles a request."""
    handling = View()
    handling.setup(request())
    return handling


def generator() -> Iterator[int]:
    """Yield once."""
    yield 1


async def asynchronous() -> AsyncIterator[int]:
    """Yield once."""
    yield 1


def clubs_page() -> Page[Club]:
    """Return a page over a QuerySet."""
    return Paginator(Club.objects.order_by("pk"), 10).get_page(1)


class BaseFilterSet:
    """What django-filter makes of a QuerySet and a form's data, by the name of its class."""

    def __init__(self) -> None:
        """Take all rows, which its `qs` filters when it is asked for."""
        self.queryset = Club.objects.all()


BaseFilterSet.__module__ = "django_filters.filterset"


class Table:
    """A table of django-tables2, by the name of its class."""

    def __init__(self, rows: object) -> None:
        """Take the rows, of which one page is shown."""
        self.data = SimpleNamespace(data=rows)


Table.__module__ = "django_tables2.tables"


class ClubTable(Table):
    """A table of a project."""


class ClubSerializer(ModelSerializer[Club]):
    """A serializer, which has not serialized yet."""

    class Meta:
        """What it shows."""

        model = Club
        fields = ("name",)


# What is refused wherever it lies in a value, and what the error says.
EVERYWHERE: dict[str, tuple[Callable[[], object], str]] = {
    "HttpResponse": (HttpResponse, CACHE_PAGE),
    "with a cookie": (with_cookie, CACHE_PAGE),
    "an error": (HttpResponseNotFound, CACHE_PAGE),
    "JsonResponse": (lambda: JsonResponse({"a": 1}), CACHE_PAGE),
    "redirect": (lambda: HttpResponseRedirect("/"), CACHE_PAGE),
    "StreamingHttpResponse": (lambda: StreamingHttpResponse(["a"]), CACHE_PAGE),
    "FileResponse": (lambda: FileResponse(BytesIO(b"a")), CACHE_PAGE),
    "TemplateResponse": (lambda: TemplateResponse(request(), "a.html"), CACHE_PAGE),
    "TemplateResponse, rendered": (answered, CACHE_PAGE),
    "DRF Response": (lambda: Response({"a": 1}), CACHE_PAGE),
    "DRF Response, rendered": (rendered, CACHE_PAGE),
    "HttpRequest": (HttpRequest, VISITOR),
    "WSGIRequest": (request, VISITOR),
    "DRF Request": (lambda: Request(APIRequestFactory().get("/")), VISITOR),
    "headers of a request": (lambda: request().headers, VISITOR),
    "session": (SessionStore, VISITOR),
    "cookies": (lambda: SimpleCookie({"a": "b"}), VISITOR),
    "a cookie": (Morsel, VISITOR),
    "context of a template": (lambda: RequestContext(request(), {}), VISITOR),
    "view": (view, "from a function outside the class"),
    "page": (clubs_page, PAGE),
    "paginator": (lambda: Paginator(Club.objects.order_by("pk"), 10), PAGE),
    "page over raw()": (lambda: Paginator(Club.objects.raw("SELECT * FROM tests_club"), 10), PAGE),
    "DRF serializer": (lambda: ClubSerializer(Club(name="Rowing")), "return its data"),
    "DRF serializer of many": (lambda: ClubSerializer(Club.objects.all(), many=True), "return its data"),
    "filter set": (BaseFilterSet, "return its qs"),
    "table": (lambda: Table(Club.objects.all()), "return the rows of one page"),
    "raw()": (lambda: Club.objects.raw("SELECT * FROM tests_club"), "return list(...) of it"),
    "manager": (lambda: Club.objects, "return its all()"),
    "related manager": (lambda: Club(pk=1).classes, "return its all()"),  # type: ignore[attr-defined] # by its name
    "cursor": (connection.cursor, "return its rows: cursor.fetchall()"),
    "generator": (generator, "used only once; return a list"),
    "async generator": (asynchronous, "used only once; return a list"),
    "lazily a response": (lambda: SimpleLazyObject(HttpResponse), CACHE_PAGE),
}


@dataclass
class Held:
    """A class with a part."""

    part: object


def row_with(part: object) -> Club:
    """Return a row with an attribute that is no field."""
    club = Club(pk=1, name="Rowing")
    club.part = part  # type: ignore[attr-defined]
    return club


WRAPPERS: dict[str, Callable[[object], object]] = {
    "dict": lambda part: {"part": part},
    "list in a tuple": lambda part: (1, [part]),
    "dataclass": Held,
    "object": lambda part: SimpleNamespace(part=part),
    "row": row_with,
    "lazy object": lambda part: SimpleLazyObject(lambda: {"part": part}),
}


every_value = pytest.mark.parametrize(("make", "says"), EVERYWHERE.values(), ids=EVERYWHERE)


@every_value
@pytest.mark.django_db
def test_refused_value_is_an_error_with_a_remedy(make: Callable[[], object], says: str) -> None:
    """It names the function and what to return; nothing is stored, and each call says it again."""

    @cached_query(ignore=("make",))
    def answer() -> object:
        return make()

    for call in (answer, answer.refresh):
        with pytest.raises(TypeError) as caught:
            call()
        assert f"{answer.__qualname__}() returned " in str(caught.value)
        assert says in str(caught.value)
    assert MISSING is answer.peek()


@every_value
@pytest.mark.django_db
@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
def test_refused_part_is_an_error_with_a_remedy(
    make: Callable[[], object], says: str, wrap: Callable[[object], object]
) -> None:
    """At each depth that pickle reaches; the error names the part, and nothing is stored."""

    @cached_query(ignore=("make", "wrap"))
    def answer() -> object:
        return wrap(make())

    with pytest.raises(TypeError) as caught:
        answer()

    assert " in it, which " in str(caught.value)
    assert says in str(caught.value)
    assert MISSING is answer.peek()


@every_value
@pytest.mark.django_db
def test_refused_value_that_the_caller_gives_is_an_error_about_it(make: Callable[[], object], says: str) -> None:
    """The function has returned nothing: the error names `set()`, and what to pass; a part of a value likewise."""
    answer = cached_query(name="tests.refused.given")(lambda: None)

    for wrap in (lambda part: part, *WRAPPERS.values()):
        value = wrap(make())
        with pytest.raises(TypeError) as caught:
            answer.call().set(value)
        said = str(caught.value)
        assert said.startswith("set() of tests.refused.given() was given ")
        assert says.replace("return ", "pass ") in said
        assert "return" not in said.replace("let a function return", "").replace("whole response", "")


@pytest.mark.parametrize("name", ["on", "bypass", "off"])
def test_missing_is_no_value_that_a_caller_can_give(name: ModeName) -> None:
    """`call.set(other.peek(7))` would serve it to everybody, and `peek()` would not tell it from nothing."""
    answer = cached_query(name="tests.refused.missing")(lambda: None)

    with (
        mode(name),
        pytest.raises(TypeError, match=r"set\(\) of tests\.refused\.missing\(\) was given MISSING, by which"),
    ):
        answer.call().set(MISSING)  # type: ignore[arg-type]


@both
@pytest.mark.parametrize("value", [HttpResponse(), {"response": HttpResponse()}], ids=["value", "part"])
def test_refused_value_is_refused_on_each_way_into_the_cache(side: Side, value: object) -> None:
    """By `set()`, and as the value of one id, from sync and async code."""

    @side.cached(ignore=("value",))
    def answer() -> object:
        return value

    @side.many(over="ids", ignore=("value",))
    def answers(ids: list[int]) -> dict[int, object]:
        return dict.fromkeys(ids, value)

    ways: list[Callable[[], object]] = [
        lambda: side.call(answer),
        lambda: side.call(answer.call().set, value),
        lambda: side.call(answers, [1]),
        lambda: side.call(answers.call([1]).set, {1: value}),
    ]
    for way in ways:
        with pytest.raises(TypeError, match=r"(returned|was given) an? .*which has cookies"):
            way()
    assert (MISSING, {}) == (side.call(answer.peek), side.call(answers.peek, [1]))


class Compared(type):
    """A class of classes that can be compared, and so have no hash."""

    def __eq__(cls, other: object) -> bool:
        """Compare by name."""
        return isinstance(other, Compared) and cls.__name__ == other.__name__

    __hash__ = None  # type: ignore[assignment]


class Plain(metaclass=Compared):
    """A value of such a class."""


class Answer(HttpResponse, metaclass=Compared):
    """A response of such a class."""


def test_value_of_a_class_without_a_hash_is_like_any_other() -> None:
    """It is returned, though pickle does not take it, and a response is refused."""

    @cached_query
    def plain() -> object:
        return Plain()

    @cached_query
    def answer() -> object:
        return Answer()

    assert isinstance(plain(), Plain)
    with pytest.raises(TypeError, match="returned an Answer, which has cookies"):
        answer()


def test_value_of_a_class_without_a_name_is_refused() -> None:
    """No name of a class breaks the error."""

    @cached_query
    def answer() -> object:
        return type("", (HttpResponse,), {})()

    with pytest.raises(TypeError, match="returned a , which has cookies"):
        answer()


def test_refused_part_that_is_not_stored_anyway_is_returned() -> None:
    """The function says by `cache_if` that a value goes to its caller alone."""

    @cached_query(cache_if=lambda value: "response" not in value)
    def answer() -> dict[str, object]:
        return {"response": HttpResponse()}

    assert [*answer()] == [*answer()] == ["response"]


def test_refused_value_is_returned_past_the_cache() -> None:
    """Nothing is stored there, and the function returns what it returns without a cache."""

    @cached_query
    def answer() -> object:
        return HttpResponse()

    with bypass():
        assert HttpResponse is type(answer())


@pytest.mark.django_db
def test_page_over_a_list_is_stored() -> None:
    """It has all its rows already, and needs no query on a hit."""

    @cached_query(depends_on=())
    def page(number: int) -> Page[int]:
        return Paginator(range(25), 10).get_page(number)

    pages = [page(2), page(2)]

    assert [[*range(10, 20)]] * 2 == [[*each.object_list] for each in pages]
    assert (1, 3) == (page.stats().hits, pages[1].paginator.num_pages)


def test_table_over_a_list_is_stored() -> None:
    """As a page over one is: it has no more rows than it was given."""

    @cached_query(depends_on=())
    def table() -> ClubTable:
        return ClubTable(["Judo"])

    tables = [table(), table()]

    assert [["Judo"]] * 2 == [each.data.data for each in tables]
    assert 1 == table.stats().hits


@pytest.mark.django_db
def test_what_the_error_of_a_page_advises_is_stored() -> None:
    """The rows of the page alone, and the numbers beside it."""
    Club.objects.bulk_create(Club(name=f"Club {n}") for n in range(5))

    @cached_query
    def page(number: int) -> dict[str, object]:
        page = Paginator(Club.objects.order_by("pk"), 2).get_page(number)
        return {"rows": list(page.object_list), "pages": page.paginator.num_pages}

    assert page(2) == page(2) == page.peek(2)


@pytest.mark.django_db
@pytest.mark.parametrize(
    "value",
    [
        {"rows": Club.objects.all()},
        SimpleNamespace(rows=Club.objects.none(), more=map(str, [1])),
        '<input type="hidden" name="csrfmiddlewaretoken" value="your token">',
        {"status": 404, "content": b"", "headers": {}},
    ],
    ids=["QuerySet", "object", "text about tokens", "data of a response"],
)
def test_what_is_like_a_refused_value_is_stored(value: object) -> None:
    """QuerySets are fetched, and plain data is data."""

    @cached_query(ignore=("value",))
    def answer() -> object:
        return value

    answer()

    assert answer.peek() is not MISSING


@pytest.mark.parametrize(
    "wrap", [lambda html: html, str, str.encode, lambda html: [{"html": html}], lambda html: {"html": str(html)}]
)
@pytest.mark.parametrize("serializer", ["pickle", "json"])
def test_rendered_csrf_token_is_returned_and_not_stored(wrap: Callable[[str], Any], serializer: Any) -> None:
    """It is of one visitor. A text that another visitor has written may look so: that is no error, but one log line."""
    seen: list[Event] = []

    @cached_query(ignore=("wrap",), serializer=serializer)
    def answer() -> Any:
        return wrap(form())

    with listening(seen.append):
        answers = [answer(), answer()]

    assert answers[0] != answers[1]
    told = [(event.kind, event.reason) for event in seen if event.kind in NOT_STORED]
    problem = WITH_CSRF if told[0][1] == WITH_CSRF else UNSERIALIZABLE
    assert [("error", problem), ("unstored", problem)] == told
    assert serializer == "json" or problem == WITH_CSRF


class Vast:
    """What there is no memory to pickle."""

    def __reduce__(self) -> tuple[object, ...]:
        """Fail as Python does."""
        raise MemoryError


def no_memory(*_: object) -> bytes:
    """Fail as the copy of a large value does."""
    raise MemoryError


@both
@pytest.mark.parametrize("is_serialized", [False, True], ids=["serialized", "entry"])
def test_value_that_there_is_no_memory_to_copy_is_returned(
    side: Side, is_serialized: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An entry is a copy of the value: the caller gets the value all the same, and the log says once what to do."""
    seen: list[Event] = []
    if is_serialized:
        monkeypatch.setattr("cachedeco.loading.writing.encode_entry", no_memory)

    @side.cached(ignore=("is_serialized",))
    def answer() -> object:
        return [7] if is_serialized else [Vast()]

    with listening(seen.append):
        assert [1, 1] == [len(side.call(answer)), len(side.call(answer))]

    told = [(event.kind, event.reason, type(event.error)) for event in seen if event.kind in NOT_STORED]
    assert [("error", NO_MEMORY, MemoryError), ("unstored", NO_MEMORY, MemoryError)] == told


def test_part_that_can_not_be_pickled_is_an_event_and_not_refused() -> None:
    """A lock, a file, a socket: the caller gets its value, and the log says once what to return."""
    seen: list[Event] = []

    @cached_query
    def answer() -> object:
        return {"lock": Lock()}

    with listening(seen.append):
        assert [["lock"]] * 2 == [[*answer()], [*answer()]]

    told = [(event.kind, event.reason) for event in seen if event.kind in NOT_STORED]
    assert [("error", UNSERIALIZABLE), ("unstored", UNSERIALIZABLE)] == told


@pytest.mark.django_db
def test_query_that_the_database_refuses_is_told_of_as_such() -> None:
    """To return plain data would not help: the value has a lazy QuerySet, and its table is gone, say."""
    seen: list[Event] = []

    @cached_query
    def answer() -> object:
        return {"clubs": Club.objects.extra(where=["no_such_column = 1"])}

    with listening(seen.append):
        assert ["clubs"] == [*answer()]

    [told] = [event for event in seen if event.kind in NOT_STORED]
    assert ("error", FAILED_QUERY, OperationalError) == (told.kind, told.reason, type(told.error))


class Lying:
    """Says of its class what is none."""

    @property
    def __class__(self) -> Any:  # type: ignore[override]
        """Return a text."""
        return "no class"

    def __reduce__(self) -> str:
        """Be no value of a module."""
        return "nothing"


ODD: dict[str, Callable[[], object]] = {
    "lazy, raises": lambda: SimpleLazyObject(lambda: Club.objects.get(pk=0)),
    "MagicMock": MagicMock,
    "AsyncMock": AsyncMock,
    "mock of a class": lambda: create_autospec(Club),
    "class that is none": Lying,
}


@both
@pytest.mark.django_db
@pytest.mark.parametrize("wrap", [lambda part: part, lambda part: [part]], ids=["value", "part"])
@pytest.mark.parametrize("make", ODD.values(), ids=ODD)
def test_odd_value_is_returned_as_without_a_cache(
    side: Side, make: Callable[[], object], wrap: Callable[[object], object]
) -> None:
    """What raises when it is looked at, or has every method, is no error of the call, whole or as a part."""
    seen: list[Event] = []
    value = wrap(make())

    @side.cached(ignore=("value",))
    def answer() -> object:
        return value

    with listening(seen.append):
        assert side.call(answer) is value is side.call(answer)

    told = [(event.kind, event.reason) for event in seen if event.kind in NOT_STORED]
    assert [("error", UNSERIALIZABLE), ("unstored", UNSERIALIZABLE)] == told


class Keyworded(Exception):  # noqa: N818 -- only a test's
    """Can't be made anew by its arguments: it pickles, and does not unpickle."""

    def __init__(self, *, code: int) -> None:
        """Keep the code."""
        super().__init__(f"code {code}")


class Made:
    """Can't be made without an argument, and so not be unpickled either."""

    def __new__(cls, name: str) -> "Made":  # noqa: PYI034 -- only a test's
        """Take a name."""
        made = object.__new__(cls)
        made.name = name  # type: ignore[attr-defined]
        return made


@both
@pytest.mark.parametrize("wrap", [lambda part: part, lambda part: {"part": [part]}], ids=["value", "part"])
@pytest.mark.parametrize("make", [lambda: Keyworded(code=7), lambda: Made("a")], ids=["exception", "object"])
def test_value_that_can_not_be_restored_is_told_once(
    side: Side, make: Callable[[], object], wrap: Callable[[object], object]
) -> None:
    """It pickles, and no hit can unpickle it: from the second call on none is stored, and none lies in the cache."""
    seen: list[Event] = []

    @side.cached(ignore=("make", "wrap"))
    def answer(_number: int) -> object:
        return wrap(make())

    with listening(seen.append):
        for number in (1, 1, 1, 2, 1):
            side.call(answer, number)

    told = [event for event in seen if event.kind in {*NOT_STORED, "stored", "miss"}]
    assert [("stored", ""), ("error", UNRESTORABLE), *[("unstored", UNRESTORABLE)] * 3] == [
        (event.kind, event.reason) for event in told if event.kind != "miss" and "unpickled" not in event.reason
    ]
    assert ["absent", "unreadable", "absent", "absent", "absent"] == [
        event.reason.partition(":")[0] for event in told if event.kind == "miss"
    ]
    assert 1 == len([event for event in told if "unpickled" in event.reason])  # though it is looked at twice


@both
def test_values_of_many_ids_that_can_not_be_restored_are_told_once(side: Side) -> None:
    """Those of other ids are stored as ever."""
    seen: list[Event] = []

    @side.many(over="ids")
    def answers(ids: list[int]) -> dict[int, object]:
        return {each: each if each < 9 else Made("a") for each in ids}

    with listening(seen.append):
        for _ in range(4):
            side.call(answers, [1, 9])

    problems = [(event.kind, event.reason) for event in seen if event.reason == UNRESTORABLE]
    assert [("error", UNRESTORABLE), *[("unstored", UNRESTORABLE)] * 2] == problems
    assert {1: 1} == side.call(answers.peek, [1, 9])
