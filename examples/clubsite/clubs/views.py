"""The public pages: each asks the cached helpers of queries.py and renders what it got."""

from collections.abc import Callable
from contextlib import nullcontext
from functools import wraps
from http import HTTPStatus
from typing import Concatenate, ParamSpec

from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from cachedeco import bypass
from clubs.booking import DoubleBookingError, move_class
from clubs.forms import MoveForm
from clubs.models import Club, ClubClass, Weekday
from clubs.queries import club_classes, club_statistics, directory, next_closure, timetable

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], HttpResponse]


def bypassed_on_request(view: View[P]) -> View[P]:
    """
    Run *view* without the cache when the address ends in ``?bypass=1``.

    Open to everyone, since this is a site to play with; a real one would ask for a member of staff,
    or a stranger could make it compute at will.
    """

    @wraps(view)
    def wrapper(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        with bypass() if request.GET.get("bypass") == "1" else nullcontext():
            return view(request, *args, **kwargs)

    return wrapper


@require_safe
@bypassed_on_request
def club_list(request: HttpRequest) -> HttpResponse:
    """Show every club, by city."""
    return render(request, "clubs/club_list.html", {"clubs": directory()})


@require_safe
@bypassed_on_request
def club_page(request: HttpRequest, pk: int) -> HttpResponse:
    """Show one club: its week in numbers, its next closure, its classes."""
    club = get_object_or_404(Club, pk=pk)
    context = {
        "club": club,
        "classes": club_classes(club),
        "statistics": club_statistics(club),
        "closure": next_closure(club),
    }
    return render(request, "clubs/club_page.html", context)


@require_safe
def timetable_today(_request: HttpRequest) -> HttpResponse:
    """Send the visitor to the timetable of today."""
    return redirect("timetable", weekday=timezone.localdate().isoweekday())


@require_safe
@bypassed_on_request
def timetable_page(request: HttpRequest, weekday: Weekday) -> HttpResponse:
    """Show what all clubs, or those of one city, give on one day of the week."""
    cities = list(dict.fromkeys(club.city for club in directory()))
    # Only a city that there is becomes part of a key: nobody can fill the cache with made-up ones.
    city = request.GET.get("city") if request.GET.get("city") in cities else None
    context = {
        "weekday": weekday,
        "weekdays": Weekday,
        "city": city,
        "cities": cities,
        "rows": timetable(weekday.value, city),
    }
    return render(request, "clubs/timetable.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@permission_required("clubs.change_clubclass")
def move_class_page(request: HttpRequest, pk: int) -> HttpResponse:
    """Ask where to move a class, and move it unless its trainer is taken at that hour."""
    club_class = get_object_or_404(ClubClass.objects.select_related("club", "trainer"), pk=pk)
    form = MoveForm(request.POST or None, instance=club_class)
    status = HTTPStatus.OK
    if form.is_valid():
        try:
            move_class(club_class)
        except DoubleBookingError as error:
            form.add_error(None, error)
            status = HTTPStatus.CONFLICT
        else:
            return redirect(club_class)
    context = {"form": form, "club_class": club_class}
    return render(request, "clubs/move_class.html", context, status=status)
