"""The public pages: each asks the cached helpers of queries.py and renders what it got."""

import os
from collections.abc import Callable
from contextlib import nullcontext
from functools import wraps
from http import HTTPStatus
from typing import Concatenate, ParamSpec

from django.contrib.auth.decorators import permission_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from cachedeco import agather, bypass, gather
from clubs import tally
from clubs.booking import DoubleBookingError, move_class, other_class_of_its_trainer
from clubs.forms import MoveForm
from clubs.management.commands.worker import WORKER_CLUB
from clubs.models import Club, ClubClass, Weekday
from clubs.queries import (
    RANKING_SECONDS,
    busiest_trainers,
    class_counts,
    club_classes,
    club_statistics,
    coming_closures,
    directory,
    next_closure,
    timetable,
)

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
    """Show every city, with the number of its clubs."""
    return render(request, "clubs/club_list.html", {"clubs": directory()})


@require_safe
@bypassed_on_request
def city_page(request: HttpRequest, city: str) -> HttpResponse:
    """Show the clubs of one city, with the number of classes of each: many ids at once."""
    clubs = [club for club in directory() if club.city == city]
    if not clubs:
        msg = f"There is no club in {city}."
        raise Http404(msg)
    counts = class_counts([club.pk for club in clubs])
    context = {"city": city, "clubs": [(club, counts[club.pk]) for club in clubs]}
    return render(request, "clubs/city.html", context)


@require_safe
@bypassed_on_request
def club_page(request: HttpRequest, pk: int) -> HttpResponse:
    """Show one club: its classes, its week in numbers, its next closure; all three are read together."""
    club = get_object_or_404(Club, pk=pk)
    classes, statistics, closure = gather(club_classes.call(club), club_statistics.call(club), next_closure.call(club))
    context = {"club": club, "classes": classes, "statistics": statistics, "closure": closure}
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
    # Only a city that there is becomes part of a key: no visitor can fill the cache with made-up ones.
    city = request.GET.get("city") if request.GET.get("city") in cities else None
    context = {
        "weekday": weekday,
        "weekdays": Weekday,
        "city": city,
        "cities": cities,
        "rows": timetable(weekday.value, city),
    }
    return render(request, "clubs/timetable.html", context)


@require_safe
async def closures_page(request: HttpRequest) -> HttpResponse:
    """Show the next closures of all clubs: an async view, whose helpers are read together."""
    closures, clubs = await agather(coming_closures.call(timezone.localdate()), directory.call())
    return render(request, "clubs/closures.html", {"closures": closures, "clubs": clubs})


@require_safe
@bypassed_on_request
def ranking_page(request: HttpRequest) -> HttpResponse:
    """Show the busiest trainers: slow to compute, and served while it is."""
    context = {"ranking": busiest_trainers(), "now": timezone.now(), "seconds": RANKING_SECONDS}
    return render(request, "clubs/ranking.html", context)


@require_safe
def worker_page(request: HttpRequest) -> HttpResponse:
    """Show the class that the worker moves, as this process serves it."""
    club = get_object_or_404(Club, pk=WORKER_CLUB)
    moved = min(club_classes(club), key=lambda each: each.pk, default=None)
    context = {"club": club, "moved": moved, "process": os.getpid(), "is_watching": "watch" in request.GET}
    return render(request, "clubs/worker.html", context)


@require_safe
def why_page(request: HttpRequest) -> HttpResponse:
    """Show what a call would do now, and the last misses of this process, each with its reason."""
    club = Club.objects.order_by("pk").first()
    explanation = club_classes.explain(club) if club else ""
    return render(
        request, "clubs/why.html", {"club": club, "explanation": explanation, "misses": list(tally.last_misses)}
    )


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
    other = other_class_of_its_trainer(club_class)
    context = {"form": form, "club_class": club_class, "other": other}
    return render(request, "clubs/move_class.html", context, status=status)
