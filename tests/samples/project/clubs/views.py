"""The pages, cached in every way that Django's caches offer."""

from django.core.cache import cache, caches
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render

from cachedeco import cached_query
from clubs.models import Club, ClubClass

HOUR = 3600

# Kept by the module from its import on, as many a site does.
codec = caches["shelf"]


def club_page(_request: HttpRequest, pk: int) -> HttpResponse:
    """Show a club's classes: the view of the bug report, with one key for all clubs."""
    club = get_object_or_404(Club, pk=pk)
    classes = cache.get("club_page_classes")
    if classes is None:
        classes = ClubClass.objects.filter(club=club).order_by("name")
        cache.set("club_page_classes", classes, HOUR)
    return HttpResponse(", ".join(each.name for each in classes))


def sidebar(request: HttpRequest, pk: int) -> HttpResponse:
    """Show a club's name in a fragment that the template caches."""
    return render(request, "sidebar.html", {"club": get_object_or_404(Club, pk=pk)})


@cached_query(timeout=HOUR)
def class_names(club_pk: int) -> list[str]:
    """Return the names of a club's classes."""
    return list(ClubClass.objects.filter(club=club_pk).order_by("name").values_list("name", flat=True))


def teachers_page(_request: HttpRequest, pk: int) -> HttpResponse:
    """Show what needs a teacher, by way of a cached function."""
    return HttpResponse(", ".join(class_names(pk)))


async def count_page(_request: HttpRequest) -> HttpResponse:
    """Show how many classes there are; an async view."""
    count = await cache.aget("class_count")
    if count is None:
        count = await ClubClass.objects.acount()
        await cache.aset("class_count", count, HOUR)
    return HttpResponse(str(count))


def news_page(_request: HttpRequest) -> HttpResponse:
    """Show the newest class, from the cache that the module keeps."""
    return HttpResponse(codec.get_or_set("news", lambda: ClubClass.objects.latest("pk").name, HOUR))


def visits_page(request: HttpRequest) -> HttpResponse:
    """Show how often this visitor has been here: a session in the cache; and how many have been, counted there too."""
    request.session["visits"] = visits = request.session.get("visits", 0) + 1
    cache.add("visits", 0, HOUR)
    return HttpResponse(f"{visits} of {cache.incr('visits')}")
