"""A site with django-debug-toolbar, whose pages do what a test wants, and cached functions for them."""

from collections.abc import Awaitable, Callable

from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse

from cachedeco import AUTO, cached_query, cached_query_many

# What each page does, by its name: the test puts it there.
acts: dict[str, Callable[[], object]] = {}
async_acts: dict[str, Callable[[], Awaitable[object]]] = {}


@cached_query(300, name="site.names", depends_on=[AUTO], namespace="page:{page}")
def names(page: int) -> list[str]:
    """Return what one query reads."""
    return [*User.objects.order_by("username").values_list("username", flat=True)][: page + 9]


@cached_query(300, name="site.title", depends_on=[AUTO])
def title(page: int) -> str:
    """Return what calls another function, and reads once more."""
    return f"{len(names(page))} of {User.objects.count()}"


@cached_query_many(over="ids", name="site.users", timeout=300, depends_on=[AUTO])
def users(ids: list[int]) -> dict[int, str]:
    """Return what depends on many ids."""
    return {each: f"user {each}" for each in ids}


@cached_query(300, name="site.answer", depends_on=())
async def answer(number: int) -> int:
    """Return what async code asks for."""
    return number


@cached_query(300, name="site.callback", depends_on=())
def callback(password: str) -> Callable[[], str]:
    """Return what can't be stored."""
    return lambda: password


@cached_query(300, name="site.countdown", depends_on=())
def countdown(number: int) -> int:
    """Return what calls itself."""
    return countdown(number - 1) if number else User.objects.count()


def page(_request: HttpRequest, name: str) -> HttpResponse | StreamingHttpResponse:
    """Do what the test wants, and return a page into which the toolbar can be put, or what streams."""
    done = acts[name]()
    return done if isinstance(done, StreamingHttpResponse) else HttpResponse("<html><body></body></html>")


async def async_page(_request: HttpRequest, name: str) -> HttpResponse:
    """Do the same in async code."""
    await async_acts[name]()
    return HttpResponse("<html><body></body></html>")
