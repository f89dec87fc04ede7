"""Move a class, or refuse to: all of it or nothing of it reaches the database and the cache."""

from django.core.exceptions import ValidationError
from django.db import transaction

from clubs.models import ClubClass


class DoubleBookingError(ValidationError):
    """The trainer gives another class at that hour: the caller's choice of hour is at fault."""


def move_class(club_class: ClubClass) -> None:
    """
    Save *club_class* at the day and hour that it has been given.

    The check comes after the save, as a check of many rows must: then it sees them as they would
    be. By that time an invalidation waits for the commit; the error takes back both.

    Raises:
        DoubleBookingError: If its trainer gives another class at that hour.
    """
    with transaction.atomic():
        club_class.save()
        clash = other_class_at_that_hour(club_class)
        if clash is not None:
            msg = f"{club_class.trainer} gives another class at that hour: {clash}."
            raise DoubleBookingError(msg, code="double_booking")


def other_class_at_that_hour(club_class: ClubClass) -> ClubClass | None:
    """Return a class of the same trainer that overlaps; asks the database, never a cached copy."""
    others = ClubClass.objects.exclude(pk=club_class.pk).filter(
        trainer=club_class.trainer_id,
        weekday=club_class.weekday,
        start_time__lt=club_class.end_time,
        end_time__gt=club_class.start_time,
    )
    return others.order_by("start_time", "pk").first()


def other_class_of_its_trainer(club_class: ClubClass) -> ClubClass | None:
    """Return a class of the same trainer at another hour, to which a move is refused."""
    others = ClubClass.objects.exclude(pk=club_class.pk).filter(trainer=club_class.trainer_id)
    return others.order_by("weekday", "start_time", "pk").first()
